// Seeing a death before the kernel has taken the process apart.
//
// Purpose: one thread for each worker sleeps on the robust futex word in its page; the kernel wakes
//   it when the worker's main thread ends, long before the memory is gone and the pidfd fires. A
//   worker's fatal-signal handler wakes it too, having set the state to kDying.
// Who may call: make and destroy: the supervisor's main thread. Board::Post: watcher threads.
// Ownership: the page stays mapped until its watcher is destroyed (the caller sees to it).
// Invariants: 1. a death is posted once. 2. The word is a peer's: whatever it holds, a watcher
// costs
//   no more than a short sleep for each wake-up. 3. A missed wake-up costs kRecheck and no more.
#pragma once

#include <stdint.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/fd.h"
#include "ipc/page.h"

namespace millrace {

struct DeathSeen {
  uint32_t key = 0;
  int64_t at_ns = 0;
};

class DeathBoard {
 public:
  static absl::StatusOr<std::unique_ptr<DeathBoard>> Create();
  int fd() const { return eventfd_.get(); }  // readable while something is posted
  void Post(const DeathSeen& seen);
  std::vector<DeathSeen> Take();

 private:
  Fd eventfd_;
  std::mutex mutex_;
  std::vector<DeathSeen> seen_;
};

class Watcher {
 public:
  Watcher(DeathBoard* board, uint32_t key, const Page* page);
  ~Watcher();

 private:
  void Run();

  DeathBoard* const board_;
  const uint32_t key_;
  const Page* const page_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Whether the word and the state of a page say that its process is dead or dying.
bool SaysDead(uint32_t liveness, uint32_t state);

}  // namespace millrace
