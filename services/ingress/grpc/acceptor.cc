#include "services/ingress/grpc/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"

namespace millrace {
namespace {

// How long to leave clients in the backlog when there is no descriptor or memory for them.
constexpr int kShortageMs = 20;

absl::Status CheckListening(int fd) {
  int listening = 0;
  socklen_t size = sizeof listening;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("listening socket: descriptor ", fd, ": ", strerror(errno)));
  }
  if (listening == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("listening socket: descriptor ", fd, " does not listen"));
  }
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return absl::InternalError(absl::StrCat("listening socket: ", strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Start(int listening_fd,
                                                          OnConnection on_connection) {
  if (absl::Status status = CheckListening(listening_fd); !status.ok()) return status;
  const int stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_fd < 0) {
    return absl::ResourceExhaustedError(absl::StrCat("eventfd: ", strerror(errno)));
  }
  return std::unique_ptr<Acceptor>(new Acceptor(listening_fd, stop_fd, std::move(on_connection)));
}

Acceptor::Acceptor(int listening_fd, int stop_fd, OnConnection on_connection)
    : listening_fd_(listening_fd),
      stop_fd_(stop_fd),
      on_connection_(std::move(on_connection)),
      thread_([this] { Run(); }) {}

Acceptor::~Acceptor() {
  MR_CHECK(eventfd_write(stop_fd_, 1) == 0, "an eventfd written once has room");
  thread_.join();
  close(stop_fd_);
}

void Acceptor::Run() {
  bool starved = false;
  // While the machine is short of something, a readable socket would only wake us in vain.
  while (WaitFor(!starved && usable_, starved ? kShortageMs : -1)) {
    if (!usable_) continue;
    const bool was_starved = starved;
    starved = !AcceptAll();
    if (starved && !was_starved) {
      Log(LogLevel::kError, "accept_failed", {{"error", strerror(errno)}});
    }
  }
}

bool Acceptor::WaitFor(bool for_connections, int timeout_ms) {
  pollfd waits[2] = {{stop_fd_, POLLIN, 0}, {listening_fd_, POLLIN, 0}};
  const int count = poll(waits, for_connections ? 2 : 1, timeout_ms);
  MR_CHECK(count >= 0 || errno == EINTR || errno == ENOMEM, "both descriptors are ours to poll");
  return waits[0].revents == 0;
}

bool Acceptor::AcceptAll() {
  while (true) {
    const int fd = accept4(listening_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      const int on = 1;  // refused by a Unix socket, which has no such delay
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      on_connection_(fd);
      continue;
    }
    switch (errno) {
      case EAGAIN:
        return true;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        return false;
      case EBADF:
      case EINVAL:
      case ENOTSOCK:
        // Its owner closed it: this process takes no more clients, those it has are served.
        Log(LogLevel::kError, "accept_ended", {{"error", strerror(errno)}});
        usable_ = false;
        return true;
      default:
        continue;  // this one client is gone already
    }
  }
}

}  // namespace millrace
