#include "services/ingress/core/golden_probe.h"

#include <algorithm>
#include <string>

#include "common/clock.h"
#include "common/log.h"

namespace millrace {
namespace {

constexpr int64_t kLeastPeriodNs = 20 * kNanosPerMilli;
constexpr int64_t kRunsInAPeriod = 4;
constexpr int kMostDoublings = 6;

int64_t PeriodOf(int64_t asked_ns) {
  return asked_ns <= 0 ? 0 : std::max(asked_ns, kLeastPeriodNs);
}

}  // namespace

class GoldenProbe::Probe final : public Completion {
 public:
  Probe(GoldenProbe* owner, std::shared_ptr<const ModelTable> table, const ServedModel* served,
        const Golden* golden, double tolerance)
      : owner(owner), golden_case(std::move(table), served, golden, tolerance) {}

  void Done(const InferAnswer& answer) override { owner->OnDone(this, answer); }

  // What a case of the same version and the same golden request has shown goes on.
  void GoOnFrom(Probe& other) {
    golden_case.LearnFrom(other.golden_case);
    judged = other.judged;
    bad = other.bad;
    late = other.late;
    good_ns = other.good_ns;
    failure_ns = other.failure_ns;
    failure = other.failure;
    ended_workers = other.ended_workers;
    run_ns = other.run_ns;
    due_ns = other.due_ns;
    strict = other.strict;
    born_ns = other.born_ns;
  }

  GoldenProbe* const owner;
  GoldenCase golden_case;
  bool in_flight = false;
  bool judged = false;  // had a verdict
  bool bad = false;     // the last verdict
  bool late = false;    // ran out of proofs, and that was noted
  bool strict = false;  // the server waits for it, however young it is
  int64_t born_ns = 0;
  int64_t due_ns = 0;
  int64_t sent_ns = 0;
  int64_t good_ns = 0;  // when the last request was sent that was answered right
  int64_t failure_ns = 0;
  uint64_t failure = 0;   // as GoldenWords has it
  int64_t run_ns = 0;     // the shortest run known
  int ended_workers = 0;  // INTERNAL answers in a row
  RequestId id = 0;
};

GoldenProbe::GoldenProbe(Host host, int64_t period_ns, double tolerance, GoldenWords* words)
    : host_(std::move(host)),
      period_ns_(PeriodOf(period_ns)),
      tolerance_(tolerance),
      words_(words) {
  if (words_ != nullptr) words_->ready_until_ns.Set(1);
}

GoldenProbe::~GoldenProbe() = default;

void GoldenProbe::SetTable(std::shared_ptr<const ModelTable> table) {
  const int64_t now = host_.now_ns();
  const bool first = table_ == nullptr;
  table_ = std::move(table);
  std::vector<std::unique_ptr<Probe>> former = std::move(probes_);
  const std::vector<Proofs> former_proofs = std::move(proofs_);
  probes_.clear();
  proofs_.assign(table_->size(), {});
  for (size_t place = 0; period_ns_ > 0 && place < table_->size(); ++place) {
    const ServedModel& served = table_->at(place);
    for (const Golden& golden : served.model->golden()) {
      auto probe = std::make_unique<Probe>(this, table_, &served, &golden, tolerance_);
      probe->born_ns = probe->due_ns = now;
      probe->strict = first;
      for (const auto& old : former) {
        if (!old->golden_case.SameAs(probe->golden_case)) continue;
        probe->GoOnFrom(*old);
        proofs_[place] = former_proofs[old->golden_case.served().place];
      }
      probes_.push_back(std::move(probe));
    }
  }
  for (auto& old : former) {
    if (!old->in_flight) continue;
    leaving_.push_back(std::move(old));
  }
  Tell(now);
  FindNext();
}

int64_t GoldenProbe::LimitOf(const Probe& probe) const {
  return std::max(period_ns_, kRunsInAPeriod * probe.run_ns);
}

int64_t GoldenProbe::GoodUntil(const Probe& probe) const {
  if (probe.bad || probe.good_ns == 0) return 0;
  const GoldenCase& c = probe.golden_case;
  return std::max(probe.good_ns, proofs_[c.served().place][c.raw_columns()]) + LimitOf(probe);
}

// A model that has just come does not make a server not ready that was.
bool GoldenProbe::Excused(const Probe& probe, int64_t now) const {
  return !probe.strict && !probe.judged && now <= probe.born_ns + period_ns_;
}

bool GoldenProbe::AllReady() const {
  if (table_ == nullptr) return false;
  const int64_t now = host_.now_ns();
  return std::all_of(probes_.begin(), probes_.end(), [&](const auto& probe) {
    return now <= GoodUntil(*probe) || Excused(*probe, now);
  });
}

absl::Status GoldenProbe::ModelReady(size_t place) const {
  const int64_t now = host_.now_ns();
  for (const auto& probe : probes_) {
    if (probe->golden_case.served().place != place || now <= GoodUntil(*probe)) continue;
    if (probe->bad) return absl::UnavailableError("its golden request was not answered right");
    if (probe->good_ns == 0)
      return absl::UnavailableError("its golden request is not answered yet");
    return absl::UnavailableError("its golden request is not answered");
  }
  return absl::OkStatus();
}

std::optional<uint64_t> GoldenProbe::AgeMs(size_t place) const {
  const int64_t now = host_.now_ns();
  int64_t oldest_ns = INT64_MAX;
  for (const auto& probe : probes_) {
    if (probe->golden_case.served().place == place) {
      oldest_ns = std::min(oldest_ns, probe->good_ns);
    }
  }
  if (oldest_ns == 0 || oldest_ns == INT64_MAX) return std::nullopt;
  return static_cast<uint64_t>(now - oldest_ns) / kNanosPerMilli;
}

bool GoldenProbe::Judged() const {
  if (table_ == nullptr) return false;
  const int64_t now = host_.now_ns();
  return std::all_of(probes_.begin(), probes_.end(), [&](const auto& probe) {
    return probe->judged || now > probe->born_ns + period_ns_;
  });
}

void GoldenProbe::Send(Probe* probe, int64_t now) {
  probe->in_flight = true;
  probe->sent_ns = now;
  // Unless a right answer says otherwise.
  probe->due_ns = now + (LimitOf(*probe) / 2 << std::min(probe->ended_workers, kMostDoublings));
  const RequestId id = host_.send(probe->golden_case.request(), probe);
  probe->id = probe->in_flight ? id : 0;
}

void GoldenProbe::Note(Probe* probe, GoldenFailure failure, absl::StatusCode code) {
  probe->failure_ns = host_.now_ns();
  probe->failure = static_cast<uint64_t>(failure) | static_cast<uint64_t>(code) << 8;
}

void GoldenProbe::OnDone(Probe* probe, const InferAnswer& answer) {
  probe->in_flight = false;
  probe->id = 0;
  const auto gone = std::find_if(leaving_.begin(), leaving_.end(),
                                 [&](const auto& other) { return other.get() == probe; });
  if (gone != leaving_.end()) return;  // Step lets it go: nobody may be inside it then
  const Model& model = *probe->golden_case.served().model;
  const GoldenCase::Verdict verdict = probe->golden_case.Judge(answer);
  const bool was_bad = probe->bad;
  switch (verdict) {
    case GoldenCase::Verdict::kNone:
      break;
    case GoldenCase::Verdict::kLearning:
      probe->due_ns = host_.now_ns();
      break;
    case GoldenCase::Verdict::kGood: {
      const int64_t run_ns = host_.run_ns(probe->golden_case.served().place);
      probe->run_ns = probe->good_ns == 0 ? run_ns : std::min(probe->run_ns, run_ns);
      probe->judged = true;
      probe->bad = probe->late = false;
      probe->ended_workers = 0;
      probe->good_ns = probe->sent_ns;
      probe->due_ns = probe->sent_ns + LimitOf(*probe) / 2;
      break;
    }
    case GoldenCase::Verdict::kWrong:
    case GoldenCase::Verdict::kError:
      probe->judged = probe->bad = true;
      probe->ended_workers += absl::IsInternal(answer.status);
      Note(probe,
           verdict == GoldenCase::Verdict::kWrong ? GoldenFailure::kWrong : GoldenFailure::kError,
           answer.status.code());
      if (was_bad) break;
      Log(LogLevel::kError, "golden_failed",
          {{"model", model.name()},
           {"version", model.version()},
           {"why", probe->golden_case.why()}});
      break;
  }
  if (was_bad && !probe->bad) {
    Log(LogLevel::kInfo, "golden_right", {{"model", model.name()}, {"version", model.version()}});
  }
  TellModel(probe->golden_case.served().place);
  TellReady(host_.now_ns());
  FindNext();
}

size_t GoldenProbe::Step() {
  if (next_ns_ == INT64_MAX) return 0;
  const int64_t now = host_.now_ns();
  if (now < next_ns_) return 0;
  std::erase_if(leaving_, [](const auto& probe) { return !probe->in_flight; });
  Probe* first = nullptr;
  for (const auto& probe : probes_) {
    if (probe->in_flight || probe->due_ns > now || stopped_) continue;
    if (first == nullptr || probe->due_ns < first->due_ns) first = probe.get();
  }
  if (first != nullptr) Send(first, now);
  if (now >= tell_ns_) Tell(now);
  FindNext();
  return first != nullptr;
}

// What is in flight has nothing to do; what is told must be told again before it runs out.
void GoldenProbe::FindNext() {
  next_ns_ = probes_.empty() && leaving_.empty() ? INT64_MAX : tell_ns_;
  if (stopped_) return;
  for (const auto& probe : probes_) {
    if (!probe->in_flight) next_ns_ = std::min(next_ns_, probe->due_ns);
  }
}

void GoldenProbe::TellModel(size_t place) {
  if (words_ == nullptr || place >= GoldenWords::kMaxModels) return;
  GoldenWords::Model& out = words_->models[place];
  int64_t good_ns = INT64_MAX, until_ns = INT64_MAX;
  const Probe* failed = nullptr;
  for (const auto& probe : probes_) {
    if (probe->golden_case.served().place != place) continue;
    good_ns = std::min(good_ns, probe->good_ns);
    until_ns = std::min(until_ns, GoodUntil(*probe));
    if (failed == nullptr || probe->failure_ns > failed->failure_ns) failed = probe.get();
  }
  out.route.Set(table_->at(place).model->route());
  out.good_ns.Set(good_ns == INT64_MAX ? 0 : good_ns);
  out.good_until_ns.Set(until_ns);
  out.failure_ns.Set(failed == nullptr ? 0 : failed->failure_ns);
  out.failure.Set(failed == nullptr ? 0 : failed->failure);
}

void GoldenProbe::TellReady(int64_t now) {
  if (words_ == nullptr) return;
  int64_t until_ns = INT64_MAX;
  for (const auto& probe : probes_) {
    const bool excused = Excused(*probe, now);
    until_ns = std::min(until_ns, excused ? probe->born_ns + period_ns_ : GoodUntil(*probe));
  }
  words_->ready_until_ns.Set(std::max<int64_t>(until_ns, 1));
}

void GoldenProbe::Tell(int64_t now) {
  tell_ns_ = now + period_ns_ / 4;
  for (const auto& probe : probes_) {
    if (probe->bad || probe->good_ns == 0 || now <= GoodUntil(*probe) || probe->late) continue;
    probe->late = true;
    Note(probe.get(), GoldenFailure::kLate, absl::StatusCode::kOk);
    const Model& model = *probe->golden_case.served().model;
    Log(LogLevel::kError, "golden_late", {{"model", model.name()}, {"version", model.version()}});
  }
  for (size_t place = 0; place < table_->size(); ++place) TellModel(place);
  if (words_ != nullptr) words_->count.Set(std::min(table_->size(), GoldenWords::kMaxModels));
  TellReady(now);
}

void GoldenProbe::Stop() {
  stopped_ = true;
  for (const auto* probes : {&probes_, &leaving_}) {
    for (const auto& probe : *probes) {
      if (probe->in_flight && probe->id != 0) host_.cancel(probe->id);
    }
  }
}

}  // namespace millrace
