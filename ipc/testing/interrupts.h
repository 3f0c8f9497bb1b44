// Runs a writer inside a reader, at any instruction.
//
// Purpose: what a reader sees when a writer overtakes it in the middle, without waiting for two
// cores
//   to meet: a timer's signal handler, in the reader's own thread, does what the other process
//   would.
// Who may call: a test, one object at a time; `write` must be safe in a signal handler (no locks,
// no
//   allocation). Invariants: none. What fails: nothing.
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/time.h>

#include <atomic>

namespace millrace {

class Interrupts {
 public:
  explicit Interrupts(void (*write)()) {
    write_ = write;
    count_ = 0;
    struct sigaction action = {};
    action.sa_handler = OnTimer;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    SetInterval(kIntervalMicros);
  }
  ~Interrupts() {
    SetInterval(0);
    signal(SIGALRM, SIG_DFL);
  }
  Interrupts(const Interrupts&) = delete;

  uint64_t count() const { return count_; }

 private:
  static constexpr int kIntervalMicros = 20;

  static void OnTimer(int) {
    write_();
    count_ = count_ + 1;
  }
  static void SetInterval(int micros) {
    itimerval timer = {{0, micros}, {0, micros}};
    setitimer(ITIMER_REAL, &timer, nullptr);
  }

  static inline void (*write_)() = nullptr;
  static inline std::atomic<uint64_t> count_{0};
};

}  // namespace millrace
