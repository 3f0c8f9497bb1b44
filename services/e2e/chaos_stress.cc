// Random faults on a whole server under load, from a seed: what each client was told of each of its
// requests is held against what it was promised (history.h), and nothing is left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/clock.h"
#include "services/e2e/history.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

using nlohmann::json;

// MILLRACE_STRESS=long: as many as a night's work is held to.
bool IsLong() { return getenv("MILLRACE_STRESS") != nullptr; }
int Faults() { return IsLong() ? 500 : 30; }

uint32_t Seed() {
  const char* given = getenv("MILLRACE_CHAOS_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(atoll(given)) : 20'261'126;
  printf("MILLRACE_CHAOS_SEED=%u\n", seed);
  return seed;
}

// An ingress that is stopped just when a deadline of its own passes answers late by hang_ms and
// what seeing it and ending it takes: together less than what is promised (history.h).
constexpr char kConfig[] =
    "features: {workers: 2}\n"
    "execution: {workers: 2}\n"
    "aggregation: {workers: 2}\n"
    "supervisor: {hang_ms: 300}\n";
// Beside the faults from outside: some are slow, some are lost.
constexpr char kFaultPlan[] =
    "faults:\n"
    "  rules:\n"
    "    - {stage: features, kind: delay, delay_ms: 20, fraction: 0.01}\n"
    "    - {stage: execution, kind: loss, fraction: 0.001}\n";
constexpr int64_t kDeadlineMs = 5000;  // that the server is told: a hang and a restart fit in
constexpr int64_t kPatienceMs = 10'000;
constexpr uintmax_t kSomeLines = 16 << 10;  // bytes of history
constexpr int kLeastWorkers = 1, kMostWorkers = 3;

uint64_t Counter(const json& process, const char* name) {
  return process["counters"].value(name, uint64_t{0});
}

bool Quiescent(Tree& tree) {
  const json status = tree.Status();
  for (const json& process : status["processes"]) {
    if (process["state"] != "ready") return false;
    if (Counter(process, "blocks_taken") + Counter(process, "limbo") +
            Counter(process, "in_flight") >
        0) {
      return false;
    }
  }
  return true;
}

void Reload(Tree& tree) {
  const uint64_t before = tree.Status()["catalog"]["live_generation"];
  EXPECT_EQ(tree.Admin({{"verb", "reload"}})["ok"], true);
  tree.WaitUntil("the new catalog is live", [&] {
    return tree.Status()["catalog"]["live_generation"].get<uint64_t>() > before;
  });
}

// Three loads at once, each of which writes down what became of each request; `third`: the
// listener of the last one.
class Clients {
 public:
  Clients(Tree& tree, int retries, const std::string& third) {
    Add(tree, "randhie", true, "grpc", retries);
    Add(tree, "breast_cancer", false, "http", retries);
    Add(tree, "digits", false, third, retries);
    // Each of them: one that only connects when the first fault strikes has no history.
    tree.WaitUntil("the loads run", [&] {
      for (size_t i = 0; i < loads_.size(); ++i) {
        std::error_code error;
        if (std::filesystem::file_size(Path(i), error) < kSomeLines || error) return false;
      }
      return true;
    });
  }

  // What the checker says of each history. Times are held against the promise where the run is
  // long, on a machine of its own; they are told always.
  void EndAndCheck(const HistoryRules& rules) {
    for (size_t i = 0; i < loads_.size(); ++i) {
      const json said = loads_[i]->End();
      ASSERT_TRUE(said.is_object());
      const HistoryReport report = CheckHistoryFile(Path(i), rules);
      printf(
          "client %zu: %lld requests, %lld OK, %lld tries, %lld late, the latest %.1f ms after "
          "its deadline; %s\n",
          i, static_cast<long long>(report.requests), static_cast<long long>(report.ok),
          static_cast<long long>(report.tries), static_cast<long long>(report.late),
          static_cast<double>(report.worst_late_ns) / 1e6, said["failures"].dump().c_str());
      EXPECT_THAT(report.violations, ::testing::IsEmpty()) << i;
      if (IsLong()) {
        EXPECT_THAT(report.late_violations, ::testing::IsEmpty()) << i;
      }
      EXPECT_GT(report.requests, 1000) << i;
      EXPECT_EQ(said["sent"].get<int64_t>(), report.requests);
    }
  }

 private:
  static std::string Path(size_t client) {
    const char* folder = getenv("TEST_TMPDIR");
    return std::string(folder == nullptr ? "/tmp" : folder) + "/history" + std::to_string(client);
  }

  void Add(Tree& tree, const std::string& model, bool raw, const std::string& listener,
           int retries) {
    std::filesystem::remove(Path(loads_.size()));  // another tree's
    const std::vector<std::string> flags = {
        "--in_flight=16",
        "--duration_ms=0",
        "--retries=" + std::to_string(retries),
        "--told_ms=" + std::to_string(kDeadlineMs),
        "--deadline_ms=" + std::to_string(kPatienceMs),
        "--history=" + Path(loads_.size()),
    };
    loads_.push_back(std::make_unique<GoldenLoad>(tree, model, raw, flags, listener));
  }

  std::vector<std::unique_ptr<GoldenLoad>> loads_;
};

class Chaos {
 public:
  Chaos(Tree& tree, uint32_t seed) : tree_(tree), random_(seed) {}

  // A worker dies, hangs, or comes or goes; or all models are read again.
  void HurtWorkers() { Strike(Below(kOfWorkers)); }
  // Any process, the supervisor included; `round`: the first ones go through every kind.
  void HurtAny(int round) { Strike(round < kKinds ? round : Below(kKinds)); }

 private:
  static constexpr int kOfWorkers = 6, kKinds = 13;

  void Strike(int kind) {
    static const char* const kStages[] = {"features", "execution", "aggregation"};
    const std::string stage = kStages[Below(3)];
    switch (kind) {
      case 0:
      case 1:
        return tree_.Hurt(Worker(stage), SIGKILL);
      case 2:
        return tree_.Hurt(Worker(stage), SIGSEGV);
      case 3:
        return tree_.Hurt(Worker(stage), SIGSTOP);
      case 4:
        return Scale(stage, kLeastWorkers + Below(kMostWorkers - kLeastWorkers + 1));
      case 5:
        return Reload(tree_);
      case 6:
        return tree_.Hurt("ingress0", SIGKILL);
      case 7:
        return tree_.Hurt("ingress0", SIGSTOP);
      case 8:
        return tree_.Hurt("registry0", SIGKILL);
      case 9:
        return static_cast<void>(tree_.KillSupervisor());
      case 10:
        return static_cast<void>(tree_.KillSupervisor(SIGSTOP));
      case 11:
        return BothAtOnce(Worker(stage));
      default:
        return BothAtOnce("ingress0");
    }
  }

  int Below(int count) { return std::uniform_int_distribution<int>(0, count - 1)(random_); }

  std::string Worker(const std::string& stage) {
    std::vector<std::string> names;
    for (const std::string& name : tree_.ProcessNames()) {
      if (name.rfind(stage, 0) == 0) names.push_back(name);
    }
    return names[static_cast<size_t>(Below(static_cast<int>(names.size())))];
  }

  // A process dies while nobody supervises it.
  void BothAtOnce(const std::string& name) {
    const json before = tree_.Process(name);
    ASSERT_TRUE(before.is_object()) << name;
    kill(before["pid"].get<int>(), SIGKILL);
    tree_.KillSupervisor();
    tree_.WaitUntil("the next incarnation is ready", [&] {
      const json now = tree_.Process(name);
      return now.is_object() && now["incarnation"] != before["incarnation"] &&
             now["state"] == "ready";
    });
  }

  void Scale(const std::string& stage, int count) {
    EXPECT_EQ(tree_.Admin({{"verb", "scale"}, {"stage", stage}, {"count", count}})["ok"], true);
    tree_.WaitUntil("the scale is done", [&] {
      int ready = 0, other = 0;
      const json status = tree_.Status();
      for (const json& process : status["processes"]) {
        if (process["stage"] != stage) continue;
        (process["state"] == "ready" ? ready : other) += 1;
      }
      return ready == count && other == 0;
    });
  }

  Tree& tree_;
  std::mt19937 random_;
};

void ExpectNothingLeft(Tree& tree, size_t keeper_descriptors) {
  for (const char* stage : {"features", "execution", "aggregation"}) {
    EXPECT_EQ(tree.Admin({{"verb", "scale"}, {"stage", stage}, {"count", 2}})["ok"], true);
  }
  tree.WaitUntil("quiescence", [&] { return Quiescent(tree); });
  tree.WaitUntil("the keeper holds as many descriptors as before",
                 [&] { return OpenDescriptors(tree.keeper().pid()) == keeper_descriptors; });
}

TEST(Chaos, FaultsOfWorkersFailNoRequest) {
  auto tree = Tree::Start({.config = kConfig});
  Reload(*tree);  // from now on the keeper holds two catalogs: the newest and the one before
  tree->WaitUntil("quiescence before", [&] { return Quiescent(*tree); });
  const size_t descriptors = OpenDescriptors(tree->keeper().pid());
  Chaos chaos(*tree, Seed());
  Clients clients(*tree, /*retries=*/0, "local");
  for (int i = 0; i < Faults(); ++i) chaos.HurtWorkers();
  HistoryRules rules;  // each is answered OK, at once
  rules.deadline_ns = kDeadlineMs * kNanosPerMilli;
  clients.EndAndCheck(rules);
  ExpectNothingLeft(*tree, descriptors);
  EXPECT_EQ(tree->Stop(), 0);
}

// A connection that breaks is for its client to make again, and with it what it had in hand. What
// the plan of faults loses is answered at its deadline.
TEST(Chaos, FaultsOfEveryProcessGiveDocumentedCodesAndRightAnswers) {
  auto tree = Tree::Start({.config = std::string(kConfig) + kFaultPlan, .enable_faults = true});
  Reload(*tree);
  tree->WaitUntil("quiescence before", [&] { return Quiescent(*tree); });
  const size_t descriptors = OpenDescriptors(tree->keeper().pid());
  Chaos chaos(*tree, Seed() + 1);
  Clients clients(*tree, /*retries=*/50, "grpc");
  for (int i = 0; i < Faults(); ++i) chaos.HurtAny(i);
  HistoryRules rules;
  rules.deadline_ns = kDeadlineMs * kNanosPerMilli;
  rules.documented = {"OK", "UNAVAILABLE", "HTTP 503", "DEADLINE_EXCEEDED", "HTTP 504"};
  rules.repeatable = {"UNAVAILABLE", "HTTP 503", "CONNECT", "LOST"};
  clients.EndAndCheck(rules);
  ExpectNothingLeft(*tree, descriptors);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
