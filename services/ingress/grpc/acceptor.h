// Accepts connections on a listening socket that somebody else owns.
//
// Purpose: the keeper holds the listening sockets, so that a restart of ingress loses no client
//   that is still in the backlog; gRPC cannot adopt such a socket.
// Who may call: the constructor's thread also destroys. `on_connection` is called by the acceptor's
//   own thread and must not block.
// Ownership: borrows the listening socket (and makes it non-blocking: several processes may accept
//   on it); each connection becomes `on_connection`'s.
// Invariants: 1. a connection is non-blocking, close-on-exec and without Nagle's delay.
//   2. After the destructor no connection is handed over.
// What fails: Start, for a descriptor that is not a listening socket. Later, a lack of descriptors
//   or memory is logged once and waited out: the clients stay in the backlog.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"

namespace millrace {

class Acceptor {
 public:
  using OnConnection = std::function<void(int fd)>;

  static absl::StatusOr<std::unique_ptr<Acceptor>> Start(int listening_fd,
                                                         OnConnection on_connection);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

 private:
  Acceptor(int listening_fd, int stop_fd, OnConnection on_connection);
  void Run();
  // Sleeps for at most `timeout_ms` (-1: no limit); false once the destructor runs.
  bool WaitFor(bool for_connections, int timeout_ms);
  // Accepts what is there; false when the machine lacks what a connection needs.
  bool AcceptAll();

  const int listening_fd_;
  const int stop_fd_;  // an eventfd, written by the destructor
  const OnConnection on_connection_;
  bool usable_ = true;  // of the thread: the socket still listens
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace millrace
