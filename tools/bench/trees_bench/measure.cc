#include "tools/bench/trees_bench/measure.h"

#include <time.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "tools/bench/trees_bench/shared_library.h"

namespace millrace::bench {
namespace {

int64_t Nanos(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}

// Processor time that other threads of this process have used since it was made. What passes
// between reading two clocks is taken for ours: it may say too little, by that, and never too much.
class OtherThreads {
 public:
  OtherThreads() {
    const int64_t mine = Nanos(CLOCK_THREAD_CPUTIME_ID);
    start_ns_ = Nanos(CLOCK_PROCESS_CPUTIME_ID) - mine;
  }
  int64_t SpentNanos() const {
    const int64_t all = Nanos(CLOCK_PROCESS_CPUTIME_ID);
    return all - Nanos(CLOCK_THREAD_CPUTIME_ID) - start_ns_;
  }

 private:
  int64_t start_ns_;
};

// A sleeping thread may wake now and then, and the kernel's clocks are not read at one instant.
constexpr int64_t kOthersAllowedNs = 100'000;
constexpr int64_t kOthersAllowedPart = 100;  // one in so many
// ONNX Runtime keeps a thread that sleeps, and wakes now and then for a moment.
constexpr int kTries = 5;

// One subject at one batch.
class Lane {
 public:
  Lane(Subject* subject, const Rows& rows, const Truth& truth, size_t batch)
      : subject_(subject), rows_(rows), truth_(truth), batch_(batch), chunks_(rows.rows / batch) {
    timing_.subject = subject->name();
    timing_.exact = subject->exact();
  }

  // Asks for every chunk once, compares it, and learns how long a call takes.
  absl::Status Begin(int64_t loop_ns) {
    MR_BENCH_RETURN_IF_ERROR(subject_->Prepare(batch_));
    subject_->Poison();
    int64_t spent_ns = 0;
    for (size_t chunk = 0; chunk < chunks_; ++chunk) {
      const int64_t start_ns = MonotonicNanos();
      if (!subject_->Call(chunk)) return Failed();
      spent_ns += MonotonicNanos() - start_ns;
      MR_BENCH_RETURN_IF_ERROR(Compare(chunk, &timing_.distances));
    }
    const int64_t call_ns = std::max<int64_t>(1, spent_ns / static_cast<int64_t>(chunks_));
    calls_ = static_cast<size_t>((loop_ns + call_ns - 1) / call_ns);
    return absl::OkStatus();
  }

  // One round. A loop beside which another thread ran does not count, and is run again.
  absl::Status Round() {
    int64_t elsewhere_ns = 0;
    for (int tries = 0; tries < kTries; ++tries) {
      int64_t spent_ns = 0;
      MR_BENCH_RETURN_IF_ERROR(TimedLoop(&spent_ns, &elsewhere_ns));
      if (elsewhere_ns > kOthersAllowedNs + spent_ns / kOthersAllowedPart) continue;
      timing_.call_ns.push_back(static_cast<double>(spent_ns) / static_cast<double>(calls_));
      return absl::OkStatus();
    }
    return absl::InternalError(absl::StrCat(
        "batch ", batch_, ", ", timing_.subject, ": other threads of this process ran for ",
        elsewhere_ns / kNanosPerMicro, " us of a timed loop, and of those before it"));
  }

  Timing& timing() { return timing_; }

 private:
  // It begins where the last one ended, so that all rows have their turn.
  absl::Status TimedLoop(int64_t* spent_ns, int64_t* elsewhere_ns) {
    // What the subjects before left in the caches and predictors is not ours to pay for.
    // A call that takes as long as a loop outlasts it by itself.
    for (size_t i = 0; calls_ > 1 && i < calls_ / 10 + 1; ++i) {
      if (!subject_->Call(Next())) return Failed();
    }
    subject_->Poison();
    const size_t first = next_;
    const OtherThreads others;
    const int64_t start_ns = MonotonicNanos();
    for (size_t i = 0; i < calls_; ++i) {
      if (!subject_->Call(Next())) return Failed();
    }
    *spent_ns = MonotonicNanos() - start_ns;
    *elsewhere_ns = others.SpentNanos();
    const size_t kept = subject_->keeps_margins() ? std::min(calls_, chunks_) : 1;
    const size_t begin = subject_->keeps_margins() ? first : (next_ + chunks_ - 1) % chunks_;
    Distances again;  // the same rows as in Begin(), not counted twice
    for (size_t i = 0; i < kept; ++i) {
      MR_BENCH_RETURN_IF_ERROR(Compare((begin + i) % chunks_, &again));
    }
    timing_.distances.Widen(again);
    return absl::OkStatus();
  }

  size_t Next() {
    const size_t chunk = next_;
    next_ = next_ + 1 == chunks_ ? 0 : next_ + 1;
    return chunk;
  }

  absl::Status Failed() const {
    return absl::InternalError(
        absl::StrCat("batch ", batch_, ", ", timing_.subject, ": ", subject_->fault()));
  }

  absl::Status Compare(size_t chunk, Distances* distances) const {
    const size_t elements = batch_ * rows_.groups, first = chunk * elements;
    const std::byte* wanted = truth_.margins + first * DataTypeSize(truth_.type);
    const std::byte* found = subject_->margins(chunk);
    if (!timing_.exact) {
      AddDistances(wanted, truth_.type, found, elements, distances);
      return absl::OkStatus();
    }
    if (subject_->margin_type() != truth_.type) {
      return absl::InternalError(absl::StrCat(timing_.subject, " has margins of another type"));
    }
    const auto difference = FirstDifference(wanted, found, elements, truth_.type);
    if (!difference.has_value()) return absl::OkStatus();
    const size_t element = first + difference->element;
    return absl::DataLossError(
        absl::StrCat("batch ", batch_, ", row ", element / rows_.groups, ", group ",
                     element % rows_.groups, ": ", timing_.subject, " gives ", difference->found,
                     ", and the library that trained the model gives ", difference->wanted));
  }

  Subject* const subject_;
  const Rows rows_;
  const Truth truth_;
  const size_t batch_, chunks_;
  size_t calls_ = 1, next_ = 0;
  Timing timing_;
};

}  // namespace

absl::StatusOr<std::vector<Timing>> Measure(const std::vector<Subject*>& subjects, const Rows& rows,
                                            const Truth& truth, size_t batch,
                                            const MeasureOptions& options,
                                            std::mt19937_64* random) {
  std::vector<Lane> lanes;
  for (Subject* subject : subjects) lanes.emplace_back(subject, rows, truth, batch);
  for (Lane& lane : lanes) MR_BENCH_RETURN_IF_ERROR(lane.Begin(options.loop_ns));
  std::vector<size_t> order(lanes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (int round = 0; round < options.rounds; ++round) {
    std::shuffle(order.begin(), order.end(), *random);
    for (const size_t lane : order) MR_BENCH_RETURN_IF_ERROR(lanes[lane].Round());
  }
  std::vector<Timing> timings;
  for (Lane& lane : lanes) timings.push_back(std::move(lane.timing()));
  return timings;
}

}  // namespace millrace::bench
