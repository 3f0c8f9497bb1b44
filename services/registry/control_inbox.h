// The registry's end of the control socket, read by a thread of its own.
//
// Purpose: what must not wait for a compilation (a change of routes) is handled as it comes; the
// rest
//   waits in a queue for the thread that builds.
// Who may call: Receive the thread that builds; Send any thread; the handler is called on the
//   reader's thread. Ownership: owns the socket and the thread.
// Invariants: 1. Messages that wait come out in the order they came. 2. What the handler takes is
// in
//   no queue. 3. Send waits for a supervisor that does not read, and sends whole messages.
// What fails: Receive, as ControlChannel's does, once everything before was received.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"

namespace millrace {

class ControlInbox {
 public:
  // True: the message is done with.
  using Handler = std::function<bool(const ToProcess& message)>;

  explicit ControlInbox(Fd socket) : channel_(std::move(socket)) {}
  ~ControlInbox() { Stop(); }

  void Start(Handler handler);
  void Stop();  // nothing more is read; Send goes on
  // Readable while something waits.
  int fd() const { return wake_.get(); }
  absl::StatusOr<bool> Receive(ToProcess* message, std::vector<Fd>* fds);
  // False: the supervisor is gone.
  bool Send(const FromProcess& message, absl::Span<const int> fds = {});

 private:
  struct Item {
    ToProcess message;
    std::vector<Fd> fds;
  };
  void Read();
  // False: there is nothing more to read, ever.
  bool ReadAll();

  ControlChannel channel_;
  Handler handler_;
  Fd wake_, stop_;
  std::thread reader_;
  std::mutex send_mutex_;
  std::mutex mutex_;  // guards the two below
  std::deque<Item> queue_;
  absl::Status end_;  // why nothing more comes
};

}  // namespace millrace
