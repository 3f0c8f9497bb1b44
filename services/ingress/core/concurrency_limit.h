// How many requests the lane lets in at a time: it falls while answers come too near their
// deadlines.
//
// Purpose: bounds the queues by what clients can wait for, whatever the model costs. Who may call:
//   the ingress lane.
// Invariants: 1. `floor` <= limit <= `most`; it begins at `most`. 2. It does not fall while answers
//   take less than half of the time they were given: work of a server that keeps its deadlines is
//   never refused. 3. It does not grow while fewer than half of it are in flight, but goes back to
//   `most` where answers take less than an eighth of their time, and when nothing is in flight.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>

namespace millrace {

class ConcurrencyLimit {
 public:
  ConcurrencyLimit(size_t floor, size_t most)
      : floor_(static_cast<double>(std::min(floor, most))),
        most_(static_cast<double>(most)),
        limit_(most_) {}

  // Half of the time that requests are given, on the average; 0: not known.
  int64_t bearable_ns() const { return static_cast<int64_t>(bearable_ns_); }
  size_t limit() const { return static_cast<size_t>(limit_); }

  // An answer, or a deadline that passed: `took_ns` of the `given_ns` it had.
  void Ended(int64_t took_ns, int64_t given_ns, size_t in_flight) {
    const auto took = static_cast<double>(took_ns);
    const double bearable = static_cast<double>(given_ns) / 2;
    Approach(&short_ns_, took, kShort);
    Approach(&long_ns_, took, kLong);
    Approach(&bearable_ns_, bearable, kShort);
    if (++seen_ < kUpdateEvery) return;
    seen_ = 0;
    Update(static_cast<double>(in_flight));
  }

  // Nothing is in flight: no queue, and no overload.
  void Emptied() {
    limit_ = most_;
    short_ns_ = long_ns_ = bearable_ns_ = 0;
    seen_ = 0;
  }

 private:
  static constexpr double kTolerance = 1.5;
  static constexpr double kHeadroom = 4;
  static constexpr double kSmoothing = 0.2;
  static constexpr double kShort = 0.1;
  static constexpr double kLong = 0.002;
  static constexpr int kUpdateEvery = 16;  // the delay follows the limit no faster

  static void Approach(double* average, double value, double share) {
    *average = *average == 0 ? value : *average + (value - *average) * share;
  }
  void Update(double in_flight) {
    const bool harms = short_ns_ > bearable_ns_;
    // Far from harm there is nothing to be careful of, whatever the load.
    if (short_ns_ < bearable_ns_ / 4) {
      limit_ = most_;
      return;
    }
    if (!harms && in_flight < limit_ / 2) return;
    // What is usual is no excuse where it is more than clients can bear.
    const double usual = std::min(kTolerance * long_ns_, bearable_ns_);
    const double gradient = harms ? std::clamp(usual / short_ns_, 0.5, 1.0) : 1;
    const double wanted = std::min(limit_ * gradient + (harms ? 0 : kHeadroom), most_);
    limit_ = std::clamp(limit_ + (wanted - limit_) * kSmoothing, floor_, most_);
  }

  const double floor_, most_;
  double limit_;
  double short_ns_ = 0, long_ns_ = 0, bearable_ns_ = 0;
  int seen_ = 0;
};

}  // namespace millrace
