#include "services/keeper/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr int kFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;
// Clients that share memory with ingress: packets, for this user alone.
constexpr char kLocalName[] = "local";
constexpr mode_t kLocalMask = 0177;

int TypeOf(const Listener& listener) {
  return listener.name == kLocalName ? SOCK_SEQPACKET : SOCK_STREAM;
}
constexpr int kBacklog = 4096;

absl::Status CannotListen(const std::string& address, const char* why) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", why));
}

absl::Status Bind(Listener* listener, int family, const void* name, socklen_t size) {
  const auto* generic = static_cast<const sockaddr*>(name);
  listener->socket = Fd(socket(family, TypeOf(*listener) | kFlags, 0));
  const int fd = listener->socket.get(), on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      bind(fd, generic, size) == 0 && listen(fd, kBacklog) == 0) {
    return absl::OkStatus();
  }
  return CannotListen(listener->address, strerror(errno));
}

absl::Status BindUnix(Listener* listener) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  const std::string& path = listener->unix_path;
  if (path.empty() || path.size() >= sizeof name.sun_path) {
    return absl::InvalidArgumentError(listener->address + ": a path has from 1 to 107 bytes");
  }
  memcpy(name.sun_path, path.data(), path.size());
  const Fd probe(socket(AF_UNIX, TypeOf(*listener) | kFlags, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&name);
  if (connect(probe.get(), generic, sizeof name) == 0 || errno == EAGAIN) {
    return CannotListen(listener->address, "another server answers there");
  }
  if (errno == ECONNREFUSED) unlink(path.c_str());  // left by a server that was killed
  if (listener->name != kLocalName) return Bind(listener, AF_UNIX, &name, sizeof name);
  const mode_t before = umask(kLocalMask);
  const absl::Status bound = Bind(listener, AF_UNIX, &name, sizeof name);
  umask(before);
  return bound;
}

absl::Status BindInternet(Listener* listener, std::string host, const std::string& port) {
  const std::string shown = host;
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found)) {
    return absl::InvalidArgumentError(absl::StrCat(shown, ":", port, ": ", gai_strerror(error)));
  }
  const absl::Status bound = Bind(listener, found->ai_family, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  sockaddr_in6 name = {};  // the port lies at the same place in both families
  socklen_t size = sizeof name;
  if (!bound.ok()) return bound;
  getsockname(listener->socket.get(), reinterpret_cast<sockaddr*>(&name), &size);
  listener->address = absl::StrCat(shown, ":", ntohs(name.sin6_port));
  return bound;
}

}  // namespace

absl::StatusOr<Listener> OpenListener(const std::string& name, const std::string& address) {
  Listener listener{name, address, "", Fd()};
  absl::Status status = absl::InvalidArgumentError(address + ": must be host:port or unix:/path");
  const size_t colon = address.rfind(':');
  if (address.rfind("unix:", 0) == 0) {
    listener.unix_path = address.substr(strlen("unix:"));
    status = BindUnix(&listener);
  } else if (name == kLocalName) {
    status = absl::InvalidArgumentError(address + ": must be unix:/path");
  } else if (uint32_t port; colon != std::string::npos && colon > 0 &&
                            absl::SimpleAtoi(address.substr(colon + 1), &port) && port <= 65535) {
    status = BindInternet(&listener, address.substr(0, colon), address.substr(colon + 1));
  }
  if (!status.ok()) return status;
  return listener;
}

}  // namespace millrace
