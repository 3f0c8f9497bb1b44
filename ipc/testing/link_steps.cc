#include "ipc/testing/link_steps.h"

#include <ctype.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "ipc/testing/step_world.h"

namespace millrace {
namespace {

// A random letter of `letters`.
char Draw(std::mt19937_64* random, const std::string& letters) {
  return letters[(*random)() % letters.size()];
}

std::string RandomScript(uint64_t seed, int played, int stepped, const std::string& both,
                         const std::string& own) {
  std::mt19937_64 random(seed);
  // Runs of one letter reach the full and the empty link, which single letters hardly do.
  std::string script;
  while (static_cast<int>(script.size()) < played) {
    script += Times(static_cast<int>(1 + random() % 6), std::string(1, Draw(&random, both)));
  }
  script += '|';
  for (int i = 0; i < stepped; ++i) script += Draw(&random, own);
  return script;
}

// One child, played up to its first stepped instruction.
class Course {
 public:
  Course(const StepCase& c, const MakeWorld& make)
      : case_(c), world_(make(c)), process_([this](Markers* markers) { world_->Child(markers); }) {
    MR_CHECK(process_.Run() == Stop::kMeet, "the stepped child did not start");
    world_->Adopt(process_);
    bool met = false;
    for (char letter : case_.script.substr(0, case_.script.find('|'))) {
      if (islower(letter) && !met) {
        MR_CHECK(process_.Run() == Stop::kMeet, "the stepped child did not come to its next stop");
      }
      met = islower(letter);
      if (met) world_->Do(letter);
    }
    MR_CHECK(process_.Run() == Stop::kBegin, "the stepped child did not begin");
  }

  // Audits after each of at most `at_most` instructions.
  void Step(StepReport* report, uint64_t at_most = SteppedProcess::kMostSteps) {
    uint64_t point = 0;
    report->points += process_.Step(
        [&] {
          Audit(report, absl::StrCat("instruction ", point));
          ++point;
        },
        at_most);
    if (at_most == SteppedProcess::kMostSteps && process_.stop() != Stop::kEnd) {
      Violation(report, "the stepped end died of itself", "the end");
    }
  }

  void Kill(StepReport* report) {
    process_.Kill();
    ++report->kills;
    const std::string audited = bytes_;
    Audit(report, "the kill");
    if (bytes_ != audited) {
      Violation(report, "a kill left other bytes than the audit saw", "the kill");
    }
  }

 private:
  void Audit(StepReport* report, const std::string& where) {
    std::string bytes = world_->Bytes();
    report->states += bytes != bytes_;
    bytes_ = std::move(bytes);
    const std::string wrong = world_->Audit(bytes_);
    if (wrong.empty()) return;
    ++report->flagged;
    Violation(report, wrong, where);
  }
  void Violation(StepReport* report, const std::string& what, const std::string& where) {
    if (std::exchange(told_, true)) return;
    report->violations.push_back(
        absl::StrCat(case_.name, " [", case_.script, "], ", where, ": ", what));
  }

  StepCase case_;
  std::unique_ptr<StepWorld> world_;
  SteppedProcess process_;
  std::string bytes_;
  bool told_ = false;
};

}  // namespace

void StepReport::Add(const StepReport& more) {
  points += more.points;
  states += more.states;
  flagged += more.flagged;
  kills += more.kills;
  violations.insert(violations.end(), more.violations.begin(), more.violations.end());
}

void PlayScript(const std::string& script, Markers* markers,
                const std::function<void(char)>& play) {
  bool met = false;
  for (char letter : script) {
    if (islower(letter) && !met) markers->Meet();
    met = islower(letter);
    if (letter == '|') {
      markers->Begin();
    } else if (!met) {
      play(letter);
    }
  }
  markers->End();
}

StepReport StepThrough(const StepCase& c, const MakeWorld& make) {
  StepReport report;
  Course(c, make).Step(&report);
  return report;
}

StepReport KillAtRandom(const StepCase& c, const MakeWorld& make, int kills, uint64_t seed) {
  StepReport report = StepThrough(c, make);
  const uint64_t instructions = report.points - 1;
  std::mt19937_64 random(seed);
  for (int i = 0; i < kills; ++i) {
    Course course(c, make);
    course.Step(&report, random() % instructions);
    course.Kill(&report);
  }
  return report;
}

std::string Times(int count, const std::string& letters) {
  std::string all;
  for (int i = 0; i < count; ++i) all += letters;
  return all;
}

std::string RandomProducerScript(uint64_t seed, int played, int stepped) {
  return RandomScript(seed, played, stepped, "PPPCBttrlcxy", "PPC");
}

std::string RandomConsumerScript(uint64_t seed, int played, int stepped) {
  return RandomScript(seed, played, stepped, "pppcTTRLC", "TTRLC");
}

}  // namespace millrace
