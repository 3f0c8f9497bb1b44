// How many connections are open that were handed to gRPC, which does not tell when one ends.
//
// Purpose: the cap on connections, and to tell when all have gone. Who may call: one thread, the
//   acceptor's; once that has ended, another.
// How: a socket has an inode number that no other open one has. A descriptor that is closed, or
// names
//   another inode by now, is a connection that ended. It is looked at only when the count would
//   reach the cap, so a server far below it pays nothing.
// Invariant: never less than the connections of Add that are open. Nothing fails.
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

namespace millrace {

class ConnectionCount {
 public:
  explicit ConnectionCount(size_t most) : most_(most) {}

  // Whether one more would be too many.
  bool Full() { return open_.size() >= most_ && Open() >= most_; }
  // How many are open now.
  size_t Open() {
    std::erase_if(open_, [](const Socket& socket) { return socket.inode != InodeOf(socket.fd); });
    return open_.size();
  }
  // A connection that is about to be handed over.
  void Add(int fd) { open_.push_back({fd, InodeOf(fd)}); }

 private:
  struct Socket {
    int fd;
    ino_t inode;
  };
  static ino_t InodeOf(int fd) {
    struct stat is = {};
    return fstat(fd, &is) == 0 && S_ISSOCK(is.st_mode) ? is.st_ino : 0;
  }

  const size_t most_;
  std::vector<Socket> open_;  // or ended, and not looked at since
};

}  // namespace millrace
