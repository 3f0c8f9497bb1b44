// The order of everything: actions at times of the world, one after the other.
//
// Purpose: the only loop of a simulation. Who may call: its one thread; actions may add actions.
// Ownership: owns the actions until they ran. Invariants: 1. actions run in the order of their
//   times; those of one time in an order that the seed draws. 2. An action runs once.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <functional>
#include <vector>

#include "services/simulation/random.h"

namespace millrace::sim {

class Scheduler {
 public:
  explicit Scheduler(Random* random) : random_(random) {}

  // A time that has passed means now.
  void At(int64_t when_ns, std::function<void()> action);
  void In(int64_t delay_ns, std::function<void()> action);
  // Moves the time of the world to the next action and runs it. False: there is none.
  bool RunNext();

 private:
  struct Entry {
    int64_t when_ns;
    uint64_t tie;
    std::function<void()> action;
  };
  static bool Later(const Entry& a, const Entry& b) {
    return a.when_ns != b.when_ns ? a.when_ns > b.when_ns : a.tie > b.tie;
  }

  Random* const random_;
  std::vector<Entry> heap_;
};

}  // namespace millrace::sim
