// The machine as the bench sees it: processors, ticks, shared memory for two forked processes.
//
// Purpose: pin a process, read the time stamp counter and know its rate, poll politely.
// Who may call: any thread. Ownership: a SharedArea owns its mapping; it has no name and goes with
//   the last process that has it. Invariants: 1. ticks are of one rate on all processors (the
//   kernel's `constant_tsc`); NsPerTick is measured once, against CLOCK_MONOTONIC.
// What fails: a machine that refuses to pin or has no memory ends the process with a sentence.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

#include <cstddef>
#include <string>

namespace millrace::bench {

inline uint64_t ReadTicks() { return __rdtsc(); }
// One pause between two polls: without it a poller takes the line away from its writer.
inline void Pause() { _mm_pause(); }

// Nanoseconds of a tick. The first call takes 20 ms; call it before forking.
double NsPerTick();

// Prints the sentence and what errno says, and ends the process.
[[noreturn]] void Die(const char* sentence);

// The calling process runs on this processor alone from here on.
void PinTo(int cpu);
// Real-time priority for the calling process, so that whatever else the machine does preempts it
// only where the kernel insists. Needs the right to ask for it.
void RunFirst();

std::string CpuName();

// Zeroed memory that processes forked from this one share.
class SharedArea {
 public:
  explicit SharedArea(size_t bytes);
  ~SharedArea();
  SharedArea(const SharedArea&) = delete;
  SharedArea& operator=(const SharedArea&) = delete;
  std::byte* data() const { return data_; }
  template <typename T>
  T* as(size_t offset = 0) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  std::byte* data_;
  size_t bytes_;
};

}  // namespace millrace::bench
