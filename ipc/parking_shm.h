// The words of parking: how a sleeper and those who wake it miss no message.
//
// Purpose: no wake-up is lost, and a producer pays a system call only when the consumer sleeps.
// Who may call: ParkWord the lane that sleeps, WakeGate a lane that publishes to it.
// Protocol (the pair of fences is what makes it right):
//   consumer: parked = odd (relaxed); fence F1; look at the links again; nothing: sleep
//   producer: publish (release); fence F2; read parked; odd and not woken yet: wake
//   If the consumer's look missed the message, F1 stood before F2 in the one order of all fences,
//   so the producer's read of `parked`, behind F2, sees the odd value and wakes.
// Invariants:
//   1. Each odd value is used once, so that a producer that woke epoch e wakes no sleeper twice and
//      misses none that parks later.
// Nothing fails. ipc/model/parking.pml is this protocol for the model checker.
#pragma once

#include <stdint.h>

#include <atomic>

namespace millrace {

template <typename M>
class ParkWord {
 public:
  using Word = typename M::template Word<uint64_t>;

  ParkWord() = default;
  explicit ParkWord(Word* parked) : parked_(parked) {}

  // From here on producers wake. The caller looks at its links once more before it sleeps.
  void Arm() {
    epoch_ += 1;  // odd
    // relaxed: ordered by the fence.
    parked_->store(epoch_, std::memory_order_relaxed);
    // fence F1: meets F2 in WakeGate::ShouldWake.
    M::Fence();
  }

  void Disarm() {
    epoch_ += 1;  // even
    // relaxed: a producer that sees it late wakes once in vain.
    parked_->store(epoch_, std::memory_order_relaxed);
  }

 private:
  Word* parked_ = nullptr;
  uint64_t epoch_ = 0;
};

template <typename M>
class WakeGate {
 public:
  using Word = typename M::template Word<uint64_t>;

  WakeGate() = default;
  explicit WakeGate(const Word* parked) : parked_(parked) {}

  // After a batch was published: whether the peer sleeps and was not woken from this sleep by us.
  // True is said once a sleep.
  bool ShouldWake() {
    // fence F2: meets F1 in ParkWord::Arm.
    M::Fence();
    // relaxed: ordered by the fence.
    const uint64_t epoch = parked_->load(std::memory_order_relaxed);
    if ((epoch & 1) == 0 || epoch == woken_) return false;
    woken_ = epoch;
    return true;
  }

 private:
  const Word* parked_ = nullptr;
  uint64_t woken_ = 0;
};

}  // namespace millrace
