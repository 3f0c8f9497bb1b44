#include "services/ingress/grpc/listening_socket_for_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"

namespace millrace {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

sockaddr_un PathAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  MR_CHECK(path.size() < sizeof address.sun_path, "the path of a socket is short");
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace

ListeningSocket::ListeningSocket(SocketKind kind, int backlog) : kind_(kind) {
  if (kind_ == SocketKind::kTcp) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    MR_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bound");
    socklen_t size = sizeof address;
    MR_CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "named");
    port_ = ntohs(address.sin_port);
    target_ = "127.0.0.1:" + std::to_string(port_);
  } else {
    // A folder of its own: tests in sandboxes share /tmp, and may have the same process id.
    char folder[] = "/tmp/millrace_grpc_XXXXXX";
    MR_CHECK(mkdtemp(folder) != nullptr, "a folder for the socket");
    path_ = std::string(folder) + "/socket";
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_un address = PathAddress(path_);
    MR_CHECK(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bound");
    target_ = "unix:" + path_;
  }
  MR_CHECK(listen(fd_, backlog) == 0, "listening");
}

ListeningSocket::~ListeningSocket() {
  close(fd_);
  if (path_.empty()) return;
  unlink(path_.c_str());
  rmdir(path_.substr(0, path_.rfind('/')).c_str());
}

int ListeningSocket::Connect() const {
  const int fd = socket(kind_ == SocketKind::kTcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
  int connected;
  if (kind_ == SocketKind::kTcp) {
    const sockaddr_in address = Loopback(port_);
    connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } else {
    const sockaddr_un address = PathAddress(path_);
    connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  MR_CHECK(connected == 0, "connected");
  return fd;
}

}  // namespace millrace
