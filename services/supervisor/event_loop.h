// One thread that waits for descriptors: epoll with callbacks.
//
// Purpose: all that the supervisor does happens in callbacks of this loop, one at a time.
// Who may call: the thread that runs the loop. Ownership: descriptors stay the caller's and are
//   removed before they are closed. Invariants: 1. after Remove returns, the callback is not called
//   again, not even for an event that was already fetched. 2. A callback may add and remove.
#pragma once

#include <stdint.h>

#include <functional>
#include <map>
#include <memory>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

class EventLoop {
 public:
  using Callback = std::function<void(uint32_t events)>;

  static absl::StatusOr<EventLoop> Create();

  absl::Status Add(int fd, uint32_t events, Callback callback);
  void Change(int fd, uint32_t events);
  void Remove(int fd);

  // Waits once, without limit, and calls back for what is there.
  void RunOnce();

 private:
  struct Entry {
    uint64_t id;
    Callback callback;
  };

  Fd epoll_;
  uint64_t next_id_ = 1;
  std::map<int, std::shared_ptr<Entry>> entries_;
};

}  // namespace millrace
