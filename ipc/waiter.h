// Parking: a lane with nothing to do sleeps on its eventfd until a producer wakes it.
//
// Purpose: no wake-up is lost, and a producer pays a system call only when the consumer sleeps.
// Who may call: Waiter its own lane; Waker a lane that publishes to it.
// Protocol (the pair of fences is what makes it right):
//   consumer: parked = odd (relaxed); fence F1; look at the links again; nothing: wait on eventfd
//   producer: publish (release); fence F2; read parked; odd and not woken yet: write the eventfd
//   If the consumer's look missed the message, F1 stood before F2 in the one order of all fences,
//   so the producer's read of `parked`, behind F2, sees the odd value and wakes.
// Invariants:
//   1. Each odd value is used once, so that a producer that woke epoch e wakes no sleeper twice and
//      misses none that parks later.
//   2. A sleep ends after kMaxSleep at the latest, so that an idle lane still beats; one that ends
//      so although something was there is counted as a rescue (must stay 0).
// Nothing fails but Create.
#pragma once

#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include <atomic>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "ipc/fd.h"

namespace millrace {

class Waiter {
 public:
  static constexpr int kMaxSleepMs = 50;

  Waiter() = default;
  // `parked` lies in the lane's page.
  Waiter(std::atomic<uint64_t>* parked, Fd eventfd)
      : parked_(parked), eventfd_(std::move(eventfd)) {}
  int fd() const { return eventfd_.get(); }

  // From here on producers wake. The caller looks at its links once more, then waits on fd() (here
  // or in an epoll of its own), then calls Unpark.
  void Arm() {
    epoch_ += 1;  // odd
    // relaxed: ordered by the fence.
    parked_->store(epoch_, std::memory_order_relaxed);
    // fence F1: meets F2 in Waker::Wake.
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

  // True: woken. False: the time was up.
  bool Sleep(int timeout_ms) {
    pollfd p = {eventfd_.get(), POLLIN, 0};
    return poll(&p, 1, timeout_ms) > 0;
  }

  void Unpark() {
    epoch_ += 1;  // even
    // relaxed: a producer that sees it late writes the eventfd once in vain.
    parked_->store(epoch_, std::memory_order_relaxed);
    eventfd_t ignored;
    eventfd_read(eventfd_.get(), &ignored);
  }

 private:
  std::atomic<uint64_t>* parked_ = nullptr;
  Fd eventfd_;
  uint64_t epoch_ = 0;
};

class Waker {
 public:
  Waker() = default;
  // `parked` lies in the peer's page, mapped read-only.
  Waker(const std::atomic<uint64_t>* parked, Fd eventfd)
      : parked_(parked), eventfd_(std::move(eventfd)) {}

  // After a batch was published. Wakes the peer if it sleeps and was not woken from this sleep.
  void Wake() {
    // fence F2: meets F1 in Waiter::Arm.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // relaxed: ordered by the fence.
    const uint64_t epoch = parked_->load(std::memory_order_relaxed);
    if ((epoch & 1) == 0 || epoch == woken_) return;
    woken_ = epoch;
    eventfd_write(eventfd_.get(), 1);
  }

 private:
  const std::atomic<uint64_t>* parked_ = nullptr;
  Fd eventfd_;
  uint64_t woken_ = 0;
};

}  // namespace millrace
