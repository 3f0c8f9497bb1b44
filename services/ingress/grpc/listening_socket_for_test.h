// A listening socket of a test's own, on TCP or on a Unix path. Nothing outside tests uses it.
#pragma once

#include <string>

namespace millrace {

enum class SocketKind { kTcp, kUnix };

class ListeningSocket {
 public:
  explicit ListeningSocket(SocketKind kind, int backlog = 128);
  ~ListeningSocket();
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;

  int fd() const { return fd_; }
  // As gRPC's clients name it.
  const std::string& target() const { return target_; }
  // A connected client socket.
  int Connect() const;

 private:
  const SocketKind kind_;
  int fd_ = -1;
  int port_ = 0;
  std::string path_;
  std::string target_;
};

}  // namespace millrace
