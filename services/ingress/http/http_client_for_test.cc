#include "services/ingress/http/http_client_for_test.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "common/check.h"
#include "common/clock.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr int64_t kPatienceNanos = 10 * kNanosPerSecond;

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  MR_CHECK(path.size() < sizeof(address.sun_path), "a test's path is short");
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace

TestServer::TestServer(const HttpOptions& options, bool unix_socket, int wake_fd,
                       FakeFrontend* frontend)
    : frontend_(frontend != nullptr ? frontend : &own_frontend_) {
  if (unix_socket) {
    path_ = Concat("http-test-", getpid(), ".sock");
    unlink(path_.c_str());
    const sockaddr_un address = UnixAddress(path_);
    listening_fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MR_CHECK(bind(listening_fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
             "a socket in the test's folder");
  } else {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listening_fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MR_CHECK(bind(listening_fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
             "a free port");
  }
  MR_CHECK(listen(listening_fd_, 64) == 0, "a bound socket listens");
  auto server = HttpServer::Create(frontend_, options, listening_fd_, wake_fd);
  MR_CHECK(server.ok(), "the server starts");
  server_ = std::move(*server);
}

TestServer::~TestServer() {
  own_frontend_.ReleaseAll();
  Settle();
  server_.reset();
  close(listening_fd_);
  if (!path_.empty()) unlink(path_.c_str());
}

int TestServer::Connect() {
  int fd;
  int result;
  if (!path_.empty()) {
    const sockaddr_un address = UnixAddress(path_);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  } else {
    sockaddr_in address = {};
    socklen_t size = sizeof(address);
    getsockname(listening_fd_, reinterpret_cast<sockaddr*>(&address), &size);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  MR_CHECK(result == 0, "the listening socket has a backlog");
  unread_[fd].clear();
  ended_[fd] = false;
  return fd;
}

void TestServer::Settle() {
  // Loopback delivers at once; a few empty rounds are enough.
  for (int quiet = 0; quiet < 3;) {
    const size_t events = server_->Poll() + frontend_->Poll();
    quiet = events == 0 ? quiet + 1 : 0;
  }
}

void TestServer::Send(int fd, std::string_view text) {
  const int64_t start = MonotonicNanos();
  while (!text.empty() && MonotonicNanos() - start < kPatienceNanos) {
    const ssize_t sent = send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) text.remove_prefix(static_cast<size_t>(sent));
    if (sent < 0 && errno != EAGAIN) return;
    Settle();
  }
}

bool TestServer::Pull(int fd) {
  char chunk[65536];
  while (!ended_[fd]) {
    const ssize_t bytes = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (bytes > 0) {
      unread_[fd].append(chunk, static_cast<size_t>(bytes));
    } else if (bytes == 0 || errno != EAGAIN) {
      ended_[fd] = true;
    } else {
      return true;
    }
  }
  return false;
}

Response TestServer::Receive(int fd, bool head_request) {
  const int64_t start = MonotonicNanos();
  std::string& text = unread_[fd];
  bool open = true;
  while (MonotonicNanos() - start < kPatienceNanos) {
    Settle();
    open = Pull(fd);
    const size_t end = text.find("\r\n\r\n");
    if (end != std::string::npos) {
      Response response;
      response.head = text.substr(0, end + 4);
      std::transform(response.head.begin(), response.head.end(), response.head.begin(), tolower);
      response.code = atoi(response.head.c_str() + 9);
      const size_t at = response.head.find("content-length: ");
      const size_t length =
          at == std::string::npos || head_request ? 0 : atoi(response.head.c_str() + at + 16);
      if (text.size() >= end + 4 + length) {
        response.body = text.substr(end + 4, length);
        text.erase(0, end + 4 + length);
        return response;
      }
    }
    if (!open) break;
    usleep(200);
  }
  return {};
}

Response TestServer::Exchange(int fd, std::string_view text) {
  Send(fd, text);
  return Receive(fd);
}

bool TestServer::Ends(int fd, int most_ms) {
  const int64_t start = MonotonicNanos();
  while (MonotonicNanos() - start < most_ms * kNanosPerMilli) {
    Settle();
    if (!Pull(fd)) return true;
    usleep(1000);
  }
  return false;
}

std::string Post(std::string_view path, std::string_view body, std::string_view fields) {
  return Concat("POST ", path, " HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(), "\r\n",
                fields, "\r\n", body);
}

}  // namespace millrace::http
