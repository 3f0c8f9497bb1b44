// Parking: a lane with nothing to do sleeps on its eventfd until a producer wakes it.
//
// Purpose: ipc/parking_shm.h with the descriptor that a lane sleeps on (one a lane, given to its
//   producers). Who may call: Waiter its own lane; Waker a lane that publishes to it.
// Invariants:
//   1. A sleep ends after kMaxSleepMs at the latest, so that an idle lane still beats; one that
//      ends so although something was there is counted as a rescue (must stay 0).
// Nothing fails.
#pragma once

#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include <atomic>

#include "ipc/fd.h"
#include "ipc/memory_model.h"
#include "ipc/parking_shm.h"

namespace millrace {

class Waiter {
 public:
  static constexpr int kMaxSleepMs = 50;

  Waiter() = default;
  // `parked` lies in the lane's page.
  Waiter(std::atomic<uint64_t>* parked, Fd eventfd) : word_(parked), eventfd_(std::move(eventfd)) {}
  int fd() const { return eventfd_.get(); }

  // From here on producers wake. The caller looks at its links once more, then waits on fd() (here
  // or in an epoll of its own), then calls Unpark.
  void Arm() { word_.Arm(); }

  // True: woken. False: the time was up.
  bool Sleep(int timeout_ms) {
    pollfd p = {eventfd_.get(), POLLIN, 0};
    return poll(&p, 1, timeout_ms) > 0;
  }

  void Unpark() {
    word_.Disarm();
    eventfd_t ignored;
    eventfd_read(eventfd_.get(), &ignored);
  }

 private:
  ParkWord<Hardware> word_;
  Fd eventfd_;
};

class Waker {
 public:
  Waker() = default;
  // `parked` lies in the peer's page, mapped read-only.
  Waker(const std::atomic<uint64_t>* parked, Fd eventfd)
      : gate_(parked), eventfd_(std::move(eventfd)) {}

  // After a batch was published. Wakes the peer if it sleeps and was not woken from this sleep.
  void Wake() {
    if (gate_.ShouldWake()) eventfd_write(eventfd_.get(), 1);
  }

 private:
  WakeGate<Hardware> gate_;
  Fd eventfd_;
};

}  // namespace millrace
