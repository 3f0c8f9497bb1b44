// When the requests of an open load are due.
//
// Purpose: the clock of the open loop, which no answer can slow. Who may call: one thread.
// Invariants: 1. times never go back; 2. they depend on start, rate, kind and seed alone: the same
//   run can be made again; 3. on average there are `rate_per_s` in each second, whatever was late.
// What fails: nothing. `rate_per_s` is above 0.
#pragma once

#include <stdint.h>

#include <random>

namespace millrace {

enum class ArrivalKind { kPoisson, kConstant };

class Arrivals {
 public:
  Arrivals(ArrivalKind kind, double rate_per_s, int64_t begin_ns, uint64_t seed)
      : kind_(kind), gap_ns_(1e9 / rate_per_s), begin_ns_(begin_ns), random_(seed) {
    Advance();
  }

  int64_t next_ns() const { return begin_ns_ + static_cast<int64_t>(after_ns_); }
  void Advance();

 private:
  const ArrivalKind kind_;
  const double gap_ns_;
  const int64_t begin_ns_;
  std::mt19937_64 random_;
  int64_t count_ = 0;
  double after_ns_ = 0;  // since begin: a double keeps less than a nanosecond for a month
};

}  // namespace millrace
