// A lane's thread, as the simulation has it: a stack of its own, on which a turn can be stopped in
// the middle, continued, or killed there.
//
// Purpose: others run while a lane computes, and a kill can hit a lane inside its duty cycle.
// Who may call: the simulation's one thread. Ownership: owns its stack (taken from a pool).
// Invariants:
//   1. A turn that is killed is unwound by an exception from the point at which it was stopped, so
//      that what it held in this process (descriptors, mappings) is let go; it writes nothing more.
//   2. Suspend is called only where an exception may pass: in a virtual call or a function that the
//      compiler cannot see through.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <memory>
#include <vector>

namespace millrace::sim {

class Fiber {
 public:
  explicit Fiber(std::function<void()> turn);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Begins a turn, or goes on with the one that was stopped. True: it has ended.
  bool Resume();
  // A stopped turn is unwound. Then nothing may be resumed.
  void Kill();
  // After Resume said false: for how long it wants to be left alone.
  int64_t pause_ns() const { return pause_ns_; }
  bool suspended() const { return suspended_; }

  // From inside a turn; returns at once where nobody's turn runs.
  static void Suspend(int64_t pause_ns);
  static bool InTurn() { return current_ != nullptr; }

 private:
  struct Killed {};
  using Stack = std::vector<char>;

  static void Entry();
  void Loop();
  void SwitchIn();
  void SwitchOut();

  static Fiber* current_;
  static std::vector<std::unique_ptr<Stack>> pool_;

  std::function<void()> turn_;
  std::unique_ptr<Stack> stack_;
  void* inside_ = nullptr;  // stack pointers of who does not run
  void* outside_ = nullptr;
  // Of a sanitizer.
  void* inside_notes_ = nullptr;
  const void* outside_bottom_ = nullptr;
  size_t outside_bytes_ = 0;
  int64_t pause_ns_ = 0;
  bool suspended_ = false;
  bool killed_ = false;
};

}  // namespace millrace::sim
