// What one key has used: a rate and a quota, shared by the lanes of a process.
//
// Purpose: count each request of a key once, and say when the next may come.
// Who may call: any thread; each count is one compare-and-swap. Nothing is allocated.
// Invariants:
//   1. The rate is a bucket of `burst` requests that refills at `rate_per_s`; it is kept as the one
//      time at which it will be full again, so that no timer refills it.
//   2. The quota is a count in the current period; periods follow each other from the clock's
//   start.
//   3. A request that the rate refuses takes nothing of the quota, and the other way round.
//   4. With several ingress processes each counts for itself: a key may use its share in each.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <atomic>

namespace millrace {

struct UsageLimits {
  int64_t rate_per_s = 0;  // 0: no rate
  int64_t burst = 1;       // requests at once
  int64_t quota = 0;       // requests in a period; 0: no quota
  int64_t period_s = 86'400;
};

class Usage {
 public:
  // Takes one request. 0: it may run; else the time after which to come again.
  int64_t TakeNanos(const UsageLimits& limits, int64_t now_ns) {
    int64_t wait_ns = TakeQuota(limits, now_ns);
    if (wait_ns != 0) return wait_ns;
    wait_ns = TakeRate(limits, now_ns);
    if (wait_ns != 0 && limits.quota != 0) GiveBackQuota();
    return wait_ns;
  }

 private:
  static constexpr int64_t kSecond = 1'000'000'000;
  static constexpr int kCountBits = 36;
  static constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;

  int64_t TakeRate(const UsageLimits& limits, int64_t now_ns) {
    if (limits.rate_per_s == 0) return 0;
    const int64_t one_ns = kSecond / limits.rate_per_s;
    const int64_t depth_ns = one_ns * limits.burst;
    // relaxed: the time is all there is; the compare-and-swap below decides.
    int64_t full_ns = full_ns_.load(std::memory_order_relaxed);
    while (true) {
      const int64_t next_ns = (full_ns > now_ns ? full_ns : now_ns) + one_ns;
      if (next_ns - now_ns > depth_ns) return next_ns - now_ns - depth_ns;
      // relaxed: nothing but this word depends on it.
      if (full_ns_.compare_exchange_weak(full_ns, next_ns, std::memory_order_relaxed)) return 0;
    }
  }

  // The period's number above, the count in it below.
  int64_t TakeQuota(const UsageLimits& limits, int64_t now_ns) {
    if (limits.quota == 0) return 0;
    const int64_t period_ns = limits.period_s * kSecond;
    const uint64_t mine = static_cast<uint64_t>(now_ns / period_ns) << kCountBits;
    // relaxed: period and count are one word; the compare-and-swap below decides.
    uint64_t word = quota_.load(std::memory_order_relaxed);
    while (true) {
      // A lane whose clock was read just before a period's end counts in the one that has begun.
      const uint64_t period = mine > (word & ~kCountMask) ? mine : word & ~kCountMask;
      const uint64_t used = (word & ~kCountMask) == period ? word & kCountMask : 0;
      if (used >= static_cast<uint64_t>(limits.quota)) return period_ns - now_ns % period_ns;
      // relaxed: nothing but this word depends on it.
      if (quota_.compare_exchange_weak(word, period | (used + 1), std::memory_order_relaxed)) {
        return 0;
      }
    }
  }

  // At a period's end perhaps in the next one, which then counts one less; never below none.
  void GiveBackQuota() {
    // relaxed: the compare-and-swap below decides.
    uint64_t word = quota_.load(std::memory_order_relaxed);
    while ((word & kCountMask) > 0) {
      // relaxed: a count by itself; nothing else is published with it.
      if (quota_.compare_exchange_weak(word, word - 1, std::memory_order_relaxed)) return;
    }
  }

  std::atomic<int64_t> full_ns_{0};
  std::atomic<uint64_t> quota_{0};
};

}  // namespace millrace
