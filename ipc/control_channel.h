// The socket between the supervisor and a process: one message a packet, descriptors beside it.
//
// Purpose: send and receive the messages of ipc/control.proto with descriptors.
// Who may call: one thread for each end (a control thread), never a lane.
// Ownership: the channel owns its socket; received descriptors belong to the packet's receiver;
//   sent ones stay the sender's. Invariants: 1. a packet is whole or absent; 2. received
//   descriptors are closed on exec; 3. nothing here blocks: wait for fd() by poll or epoll.
// What fails: Send with RESOURCE_EXHAUSTED while the other end does not read, UNAVAILABLE once it
//   is gone; Receive with UNAVAILABLE at its end, INVALID_ARGUMENT for what cannot be parsed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "google/protobuf/message_lite.h"
#include "ipc/fd.h"

namespace millrace {

class ControlChannel {
 public:
  static constexpr size_t kMaxBytes = 192 * 1024;
  static constexpr size_t kMaxFds = 250;

  ControlChannel() = default;
  explicit ControlChannel(Fd socket) : socket_(std::move(socket)) {}

  // Both ends, closed on exec, non-blocking.
  static absl::StatusOr<std::pair<Fd, Fd>> MakePair();

  int fd() const { return socket_.get(); }
  bool valid() const { return socket_.valid(); }

  absl::Status Send(const google::protobuf::MessageLite& message, absl::Span<const int> fds = {});

  // True: `message` and `fds` are filled. False: nothing there now.
  absl::StatusOr<bool> Receive(google::protobuf::MessageLite* message, std::vector<Fd>* fds);

 private:
  Fd socket_;
  std::string buffer_;
};

}  // namespace millrace
