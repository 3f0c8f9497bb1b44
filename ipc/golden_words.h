// The golden words: what an ingress lane's golden requests have shown, as part of its page.
//
// Purpose: the supervisor's status, and whether the server is ready, without a message.
// Who writes: the lane that owns the page. Who reads: anybody, each word alone.
// Invariants:
//   1. Times are CLOCK_MONOTONIC; a golden answer's time is when its request was *sent*, so that an
//      age never makes the last proof look younger than it is.
//   2. A reader that judges by `ready_until_ns` and its own clock is right also while the lane
//      stands still: what is not renewed runs out.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <string_view>

namespace millrace {

// Why a golden request did not do; the low byte of `failure`. An error's code stands above it.
enum class GoldenFailure : uint8_t { kNone = 0, kWrong = 1, kError = 2, kLate = 3 };
inline constexpr std::string_view kGoldenFailureNames[] = {"", "wrong", "error", "late"};

struct GoldenWord {
  std::atomic<uint64_t> word;
  // relaxed: a statistic, read alone.
  uint64_t Get() const { return word.load(std::memory_order_relaxed); }
  // relaxed: one writer, a statistic.
  void Set(uint64_t value) { word.store(value, std::memory_order_relaxed); }
};

struct GoldenWords {
  // Models beyond these are probed, and are not told of here.
  static constexpr size_t kMaxModels = 256;

  struct Model {
    GoldenWord route;
    GoldenWord good_ns;        // the last right golden answer; 0: none yet
    GoldenWord good_until_ns;  // its model is ready until then, if nothing follows
    GoldenWord failure_ns;     // the last failure; 0: none yet
    GoldenWord failure;        // GoldenFailure | absl::StatusCode << 8
  };

  // 0: not an ingress lane that tells; else every model is right until then, if nothing follows.
  GoldenWord ready_until_ns;
  GoldenWord count;  // of `models` in use
  Model models[kMaxModels];
};

}  // namespace millrace
