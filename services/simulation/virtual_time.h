// The world's clock: what every look at CLOCK_MONOTONIC and at the wall shows while a seed runs.
//
// Purpose: the product reads clock_gettime directly and pays for no seam; the programs of this
//   folder are linked with --wrap=clock_gettime, so that its calls end here, and its clock is told
//   that the kernel does not go by the processor's counter (common/clock.h).
// Who may call: the simulation's one thread. Invariants: 1. the time of the world moves only by
// Set,
//   and never back. 2. While no world stands, calls go to the kernel.
// Nothing fails.
#pragma once

#include <stdint.h>

namespace millrace::sim {

class VirtualTime {
 public:
  static int64_t now_ns() { return now_ns_; }
  static int64_t wall_ns() { return now_ns_ + wall_offset_ns_; }
  // A negative time: the world has ended.
  static void Set(int64_t now_ns);
  static void StepWall(int64_t by_ns) { wall_offset_ns_ += by_ns; }
  static void End() { now_ns_ = -1; }

 private:
  static int64_t now_ns_;
  static int64_t wall_offset_ns_;
};

}  // namespace millrace::sim
