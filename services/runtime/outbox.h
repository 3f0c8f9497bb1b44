// Messages of other threads to the supervisor, sent by the control thread.
//
// Purpose: whoever has something to say needs no socket and never waits for one. Who may call: Send
//   any thread; Take the control thread, when wake_fd() is readable.
// Ownership: what was sent is the box's until it is taken. Nothing fails.
#pragma once

#include <mutex>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/fd.h"

namespace millrace {

class Outbox {
 public:
  Outbox();
  struct Item {
    FromProcess message;
    Fd fd;  // sent beside it, where there is one
  };
  void Send(FromProcess message, Fd fd = Fd());
  std::vector<Item> Take();
  int wake_fd() const { return wake_.get(); }

 private:
  Fd wake_;
  std::mutex mutex_;
  std::vector<Item> items_;
};

}  // namespace millrace
