#include "tools/load/driver.h"

#include <algorithm>
#include <optional>

#include "common/check.h"

namespace millrace {
namespace {

constexpr int64_t kTickNs = 200 * kNanosPerMilli;
// A backlog at the end may still be sent for so long: what is due just before it is no loss.
constexpr int64_t kGraceNs = 100 * kNanosPerMilli;
// So many sends at most before answers are looked for again.
constexpr int kBurst = 16;

struct Shot {
  size_t request = 0;
  int64_t number = 0;
  int64_t due_ns = 0;
  int64_t sent_ns = 0;
  int retries_left = 0;
  bool measured = false;
};

class Driver {
 public:
  Driver(Transport* transport, LoadClock* clock, size_t request_count, const DriveOptions& options,
         const DriveWatch& watch)
      : transport_(*transport),
        clock_(*clock),
        request_count_(request_count),
        options_(options),
        watch_(watch),
        shots_(options.in_flight) {
    MR_CHECK(request_count > 0 && options.in_flight > 0, "a load has requests and a slot");
    for (int slot = options.in_flight - 1; slot >= 0; --slot) free_.push_back(slot);
  }

  DriveResult Run() {
    begin_ns_ = clock_.NowNs();
    measured_from_ns_ = begin_ns_ + options_.warm_up_ns;
    if (options_.duration_ns > 0) end_ns_ = measured_from_ns_ + options_.duration_ns;
    if (options_.rate_per_s > 0) {
      arrivals_.emplace(options_.arrivals, options_.rate_per_s, begin_ns_, options_.seed);
    }
    next_tick_ns_ = begin_ns_ + kTickNs;
    for (;;) {
      const bool more = SendDue();
      if (!more && Busy() == 0) break;
      Receive(WakeNs(more));
      Tick();
    }
    Conclude();
    return std::move(result_);
  }

 private:
  size_t Busy() const { return shots_.size() - free_.size(); }

  // Whether one more request, due at `due_ns`, belongs to the load.
  bool Belongs(int64_t due_ns) const {
    if (options_.requests > 0 && result_.sent >= options_.requests) return false;
    return due_ns < end_ns_;
  }

  // Sends what is due; false when nothing will follow.
  bool SendDue() {
    for (int i = 0; i < kBurst; ++i) {
      // relaxed: a flag that nothing else depends on.
      if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) {
        result_.stopped = true;
        return false;
      }
      const int64_t now_ns = clock_.NowNs();
      if (now_ns >= measured_from_ns_) SkipWarmUp();
      const int64_t due_ns = arrivals_ ? arrivals_->next_ns() : now_ns;
      if (!Belongs(due_ns) || now_ns - kGraceNs >= end_ns_) return false;
      if (due_ns > now_ns) return true;
      if (free_.empty()) return true;
      Send(due_ns, now_ns);
      if (arrivals_) arrivals_->Advance();
    }
    return true;
  }

  // A backlog that the warm-up leaves must not take the place of what is measured.
  void SkipWarmUp() {
    if (!arrivals_) return;
    while (arrivals_->next_ns() < measured_from_ns_) arrivals_->Advance();
  }

  void Send(int64_t due_ns, int64_t now_ns) {
    const int slot = free_.back();
    free_.pop_back();
    Shot& shot = shots_[slot];
    shot.number = next_request_++;
    shot.request = static_cast<size_t>(shot.number % static_cast<int64_t>(request_count_));
    shot.due_ns = due_ns;
    shot.sent_ns = now_ns;
    shot.retries_left = options_.retries;
    shot.measured = due_ns >= measured_from_ns_;
    if (shot.measured) {
      ++result_.sent;
      CountLateness(due_ns, now_ns);
    } else {
      ++result_.warm_up_sent;
    }
    Tell(DriveEvent::Kind::kSent, shot, now_ns, "");
    transport_.Send(slot, shot.request, false);
  }

  // What was due while all slots were in use is held back, though it may be sent some time after
  // one was free again: the backlog is not this program's.
  void CountLateness(int64_t due_ns, int64_t now_ns) {
    if (!arrivals_) return;
    if (due_ns <= held_until_ns_) {
      ++result_.held_back;
    } else if (now_ns - due_ns > kLateNs) {
      ++result_.late;
      result_.worst_late_ns = std::max(result_.worst_late_ns, now_ns - due_ns);
    }
  }

  int64_t WakeNs(bool more) const {
    if (!more || free_.empty()) return next_tick_ns_;
    return arrivals_ ? std::min(arrivals_->next_ns(), next_tick_ns_) : 0;
  }

  // The first end of a call that comes until `until_ns`, and all that are there then.
  void Receive(int64_t until_ns) {
    std::optional<Done> done = transport_.Wait(until_ns);
    for (int i = 0; done.has_value(); ++i) {
      Finish(*done);
      // In a closed loop the slot is used again at once; a request that is due does not wait long.
      if (!arrivals_ || i >= kBurst) break;
      done = transport_.Wait(0);
    }
  }

  void Finish(const Done& done) {
    Shot& shot = shots_[done.slot];
    if (done.outcome == Outcome::kFailed && done.may_retry && shot.retries_left > 0) {
      --shot.retries_left;
      if (shot.measured) ++result_.retried;
      Tell(DriveEvent::Kind::kAgain, shot, done.done_ns, done.code);
      shot.sent_ns = clock_.NowNs();
      Tell(DriveEvent::Kind::kSent, shot, shot.sent_ns, "");
      transport_.Send(done.slot, shot.request, true);
      return;
    }
    Tell(DriveEvent::Kind::kEnded, shot, done.done_ns,
         done.outcome == Outcome::kExpected ? "OK"
         : done.outcome == Outcome::kFailed ? std::string_view(done.code)
                                            : "MISMATCHED");
    if (free_.empty()) held_until_ns_ = clock_.NowNs();
    free_.push_back(done.slot);
    if (!shot.measured) {
      result_.warm_up_failed += done.outcome != Outcome::kExpected;
      return;
    }
    last_ns_ = std::max(last_ns_, done.done_ns);
    if (done.outcome == Outcome::kFailed) {
      ++result_.failed;
      ErrorCount& error = result_.errors[done.code];
      if (error.count++ == 0) error.example = done.sentence;
      return;
    }
    ++(done.outcome == Outcome::kExpected ? result_.answered : result_.mismatched);
    result_.latency.Add(done.done_ns - shot.due_ns);
    result_.service.Add(done.done_ns - shot.sent_ns);
    if (watch_.exact_ns != nullptr) watch_.exact_ns->push_back(done.done_ns - shot.sent_ns);
  }

  void Tell(DriveEvent::Kind kind, const Shot& shot, int64_t at_ns, std::string_view code) {
    if (watch_.event) watch_.event({kind, shot.number, at_ns, code});
  }

  void Tick() {
    const int64_t now_ns = clock_.NowNs();
    if (now_ns < next_tick_ns_) return;
    next_tick_ns_ = now_ns + kTickNs;
    if (!watch_.progress) return;
    DriveProgress progress;
    progress.warming_up = now_ns < measured_from_ns_;
    progress.elapsed_ns = now_ns - begin_ns_;
    progress.result = &result_;
    if (options_.duration_ns > 0) {
      const int64_t whole_ns = options_.warm_up_ns + options_.duration_ns;
      progress.done_share =
          std::min(1.0, static_cast<double>(progress.elapsed_ns) / static_cast<double>(whole_ns));
    }
    if (options_.requests > 0) {
      progress.done_share =
          std::max(progress.done_share,
                   static_cast<double>(result_.sent) / static_cast<double>(options_.requests));
    }
    watch_.progress(progress);
  }

  void Conclude() {
    if (arrivals_ && !result_.stopped && options_.duration_ns > 0) {
      const int64_t left = options_.requests > 0 ? options_.requests - result_.sent : INT64_MAX;
      for (; arrivals_->next_ns() < end_ns_ && result_.unsent < left; arrivals_->Advance()) {
        ++result_.unsent;
      }
    }
    // By time, the answers that came after the end lengthen it; an early end shortens it.
    int64_t until_ns = std::max(last_ns_, measured_from_ns_);
    const bool by_time = options_.duration_ns > 0 && !result_.stopped &&
                         (options_.requests == 0 || result_.sent < options_.requests);
    if (by_time) until_ns = std::max(until_ns, end_ns_);
    result_.seconds = static_cast<double>(until_ns - measured_from_ns_) / kNanosPerSecond;
  }

  Transport& transport_;
  LoadClock& clock_;
  const size_t request_count_;
  const DriveOptions options_;
  const DriveWatch watch_;
  std::vector<Shot> shots_;  // by slot
  std::vector<int> free_;    // slots; the last used is used first
  std::optional<Arrivals> arrivals_;
  int64_t begin_ns_ = 0;
  int64_t measured_from_ns_ = 0;
  int64_t end_ns_ = std::numeric_limits<int64_t>::max();
  int64_t next_tick_ns_ = 0;
  int64_t next_request_ = 0;
  int64_t last_ns_ = 0;
  int64_t held_until_ns_ = 0;  // the last time when all slots were in use
  DriveResult result_;
};

}  // namespace

int64_t MonotonicClock::NowNs() { return MonotonicNanos(); }

double DriveResult::AnswersPerSecond() const {
  return seconds > 0 ? static_cast<double>(answered + mismatched) / seconds : 0;
}

double DriveResult::ErrorRate() const {
  return sent == 0 ? 1 : 1 - static_cast<double>(answered) / static_cast<double>(sent + unsent);
}

DriveResult Drive(Transport* transport, LoadClock* clock, size_t request_count,
                  const DriveOptions& options, const DriveWatch& watch) {
  return Driver(transport, clock, request_count, options, watch).Run();
}

}  // namespace millrace
