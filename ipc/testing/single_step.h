// A process that is stopped after each of its instructions.
//
// Purpose: what a SIGKILL leaves is what stands in shared memory at that instruction, since only
//   shared memory survives. So a process that is stepped once through an operation shows every
//   state that a kill in it can leave, and nobody has to be killed for each.
// Who may call: a test of one thread on x86-64. Ownership: a SteppedProcess owns its child, which
//   ends with it at the latest.
// Invariants:
//   1. Between two stops the child executes one instruction (of a repeated string instruction: one
//      turn; of a system call: all of it).
//   2. Memory of the child that the parent reads is shared: a SharedBox, or a region whose
//      descriptor the child has shown. Everything else was copied by fork and is lost by a kill.
// What fails: set-up ends the process. A child that dies by itself says so as Stop::kDied.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <new>

#include "common/check.h"
#include "ipc/fd.h"

namespace millrace {

// An object that a child, forked later, shares with its parent. T needs no destructor.
template <typename T>
class SharedBox {
 public:
  SharedBox()
      : map_(mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    MR_CHECK(map_ != MAP_FAILED, "no memory to share with a child");
    new (map_) T();
  }
  ~SharedBox() { munmap(map_, sizeof(T)); }
  SharedBox(const SharedBox&) = delete;

  T* get() const { return static_cast<T*>(map_); }
  T* operator->() const { return get(); }

 private:
  void* map_;
};

enum class Stop : uint32_t {
  kNone,
  kMeet,    // the parent does its part
  kBegin,   // what follows is stepped
  kEnd,     // what was stepped has ended
  kExited,  // in order
  kDied,    // by a signal, its own check, or with a status
};

struct StepBoard {
  static constexpr size_t kShown = 8;
  std::atomic<Stop> stop;
  std::atomic<int> shown[kShown];
  std::atomic<size_t> shown_count;
};

// In the child.
class Markers {
 public:
  explicit Markers(StepBoard* board) : board_(board) {}
  void Meet() { StopAs(Stop::kMeet); }
  void Begin() { StopAs(Stop::kBegin); }
  void End() { board_->stop = Stop::kEnd; }
  // Gives the parent this descriptor (SteppedProcess::Shown), in the order of calls.
  void Show(int fd) {
    const size_t place = board_->shown_count;
    MR_CHECK(place < StepBoard::kShown, "no room to show another descriptor");
    board_->shown[place] = fd;
    board_->shown_count = place + 1;
  }

 private:
  void StopAs(Stop stop) {
    board_->stop = stop;
    asm volatile("int3" ::: "memory");
  }

  StepBoard* board_;
};

class SteppedProcess {
 public:
  // More instructions than any operation has.
  static constexpr uint64_t kMostSteps = 20'000'000;

  // Runs `body` in a child, from the first Run on.
  explicit SteppedProcess(const std::function<void(Markers*)>& body);
  ~SteppedProcess();
  SteppedProcess(const SteppedProcess&) = delete;

  // Lets the child run to its next marker or its end.
  Stop Run();

  // From kBegin: calls `audit` before the first instruction and after each, until the child says
  // kEnd, dies, or has made `at_most` steps. Returns the count of calls.
  uint64_t Step(const std::function<void()>& audit, uint64_t at_most = kMostSteps);
  // How the last Step ended: kEnd, kDied, or kNone where `at_most` ended it.
  Stop stop() const { return stop_; }

  // SIGKILL, in earnest; returns when the child is gone.
  void Kill();

  // A descriptor of the child's by its number there, or an invalid one where it has none such.
  Fd TakeFd(int number) const;
  Fd Shown(size_t place) const;

 private:
  // What waitpid said of the child: kNone for a trap.
  Stop Wait();

  SharedBox<StepBoard> board_;
  pid_t pid_ = -1;
  Fd pidfd_;
  Stop stop_ = Stop::kNone;
};

// Interleavings of a stepped part with something that happens beside it, all at once, at one of its
// instructions: runs `body` anew for each instruction of its stepped part, does `beside` in the
// parent there, lets the child end, then `check`. Where there are more than `most` instructions,
// about `most` of them, evenly spread. Returns how many.
uint64_t InterruptAtEach(const std::function<void(Markers*)>& body,
                         const std::function<void()>& before, const std::function<void()>& beside,
                         const std::function<void(uint64_t at)>& check, uint64_t most);

}  // namespace millrace
