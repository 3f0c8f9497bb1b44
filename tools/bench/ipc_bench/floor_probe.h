// The floor: how fast one word can go from one processor to the other and back.
//
// Purpose: what the host does to the two processors of a run (it moves them about, near or far from
//   each other) shows here without any of our code; figures of the run are ratios to it.
// Who may call: two pinned processes that share the FloorWords, one each side. Invariants:
//   1. Nothing but one aligned word goes to and fro: no payload, no second line.
//   2. The probe is tried with no pause and with one pause between polls; the floor is the faster.
// Nothing fails; a peer that ended keeps the other waiting (the bench ends both).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

namespace millrace::bench {

// In shared memory, zeroed; one for each probe.
struct FloorWords {
  alignas(128) std::atomic<uint64_t> unpaused;
  alignas(128) std::atomic<uint64_t> paused;
};

struct Floor {
  double unpaused_ns = 0, paused_ns = 0;  // p50, one way
  double ns() const { return unpaused_ns < paused_ns ? unpaused_ns : paused_ns; }
};

inline constexpr uint64_t kFloorBounces = 10'000;

// Both sides of a probe, of the same count of bounces; the one that pings measures.
Floor PingFloor(FloorWords* words, uint64_t bounces = kFloorBounces);
void PongFloor(FloorWords* words, uint64_t bounces = kFloorBounces);

// Forks two processes onto the two processors and probes; for benches that need no more.
Floor ProbeFloor(int cpu_a, int cpu_b);

}  // namespace millrace::bench
