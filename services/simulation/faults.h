// What goes wrong in a world, and when.
//
// Purpose: a plan of faults drawn from the seed, each done to whatever stands there at its time.
// Who may call: the simulation's one thread. Invariants: 1. after Stop nothing new goes wrong, and
//   what was paused goes on. Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace millrace::sim {

class SimProcess;
class World;

class Faults {
 public:
  explicit Faults(World* world) : world_(world) {}

  // So many, spread over this time.
  void Plan(size_t count, int64_t span_ns);
  void Stop();
  size_t done() const { return done_; }
  size_t left() const { return left_; }

 private:
  void Strike();
  SimProcess* AnyWorker();
  SimProcess* AnyIngress();
  SimProcess* Any();
  void Pause(SimProcess* process);
  void Slow(SimProcess* process);
  void Scale();
  void Rush();
  void Reload();

  World* const world_;
  size_t done_ = 0;
  size_t left_ = 0;
  bool stopped_ = false;
};

}  // namespace millrace::sim
