// Stacks that are switched by hand: one for each thread of a running block.
//
// Purpose: a CUDA thread is a function call that can stop in the middle; a fibre is that.
// Who may call: the engine, under its lock; one OS thread at a time, and a block stays on its own.
// Ownership: the pool owns stacks and keeps them; a fibre runs one body after another.
// Invariants:
//   1. A stack ends in a guard page: an overflow is a crash at once.
//   2. AddressSanitizer is told of every switch.
//   3. Discard leaves nothing of the abandoned body behind; its destructors do not run.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace millrace::simt {

class Fiber {
 public:
  using Body = void (*)();

  // The calling OS thread's own stack as a fibre: the place to come back to.
  static void AdoptThread(Fiber* fiber);

  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Maps the stack; `body` runs at the first switch and, each time it returns, ends the process:
  // it must loop, switching away where one piece of work ends.
  void Create(Body body, std::size_t index);

  // Leaves `from`, whose stack the caller is on, for `to`.
  static void Switch(Fiber* from, Fiber* to);

  // To be called first in a body.
  static void Entered();

  // From `self`: gives up whatever the fibre was doing; the next switch to it starts the body anew.
  void Discard(Fiber* self);

 private:
  void Prepare();

  void* stack_pointer_ = nullptr;
  char* bottom_ = nullptr;
  std::size_t bytes_ = 0;
  void* fake_stack_ = nullptr;
  Body body_ = nullptr;
  std::size_t color_ = 0;
  bool mapped_ = false;
  bool discard_ = false;
  Fiber* discarder_ = nullptr;
};

}  // namespace millrace::simt
