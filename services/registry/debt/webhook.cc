#include "services/registry/debt/webhook.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "ipc/fd.h"

namespace millrace {
namespace {

namespace http = boost::beast::http;

constexpr uint64_t kMaxAnswer = 64 << 10;
constexpr int kLookMs = 50;  // between two looks whether it was cancelled

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

// A socket on its way to the first address that may be asked.
Fd StartConnect(const OtlpEndpoint& endpoint, std::string* why) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, FreeAddresses> list(found);
  if (error != 0) {
    *why = absl::StrCat("the host cannot be found: ", gai_strerror(error));
    return Fd();
  }
  for (const addrinfo* each = list.get(); each != nullptr; each = each->ai_next) {
    if (!IsPrivate(*each->ai_addr)) continue;
    Fd socket(::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) break;
    if (connect(socket.get(), each->ai_addr, each->ai_addrlen) == 0 || errno == EINPROGRESS) {
      return socket;
    }
    *why = absl::StrCat("cannot be reached: ", strerror(errno));
    return Fd();
  }
  *why = "the host is neither this machine nor in a private network";
  return Fd();
}

}  // namespace

unsigned Webhook::Exchange(int fd, const std::string& request, int64_t end_ns, std::string* why) {
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxAnswer);
  std::string kept;
  std::array<char, 4096> chunk;
  size_t sent = 0;
  while (!parser.is_done()) {
    // relaxed: a flag alone, nothing is read through it
    const bool cancelled = cancelled_.load(std::memory_order_relaxed);
    if (MonotonicNanos() >= end_ns || cancelled) {
      *why = cancelled ? "the server is stopping" : "did not answer in time";
      return 0;
    }
    pollfd socket = {fd, static_cast<short>(sent < request.size() ? POLLOUT : POLLIN), 0};
    if (poll(&socket, 1, kLookMs) <= 0) continue;
    if (sent < request.size()) {
      const ssize_t n = send(fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN && errno != EINTR) {
        *why = absl::StrCat("cannot be reached: ", strerror(errno));
        return 0;
      }
      sent += n > 0 ? static_cast<size_t>(n) : 0;
      continue;
    }
    const ssize_t n = recv(fd, chunk.data(), chunk.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    boost::beast::error_code error;
    if (n <= 0) {
      if (parser.is_header_done()) parser.put_eof(error);
      break;
    }
    kept.append(chunk.data(), static_cast<size_t>(n));
    kept.erase(0, parser.put(boost::asio::buffer(kept), error));
    if (error && error != http::error::need_more) break;
  }
  if (parser.is_header_done()) return parser.get().result_int();
  *why = "closed the connection, or answered something else than HTTP";
  return 0;
}

Webhook::Outcome Webhook::Post(const std::string& json, std::string* why) {
  const int64_t end_ns = MonotonicNanos() + patience_ms_ * kNanosPerMilli;
  const Fd socket = StartConnect(endpoint_, why);
  if (!socket.valid()) return Outcome::kAgain;
  const bool v6 = endpoint_.host.find(':') != std::string::npos;
  const std::string request = absl::StrCat(
      "POST ", endpoint_.path, " HTTP/1.1\r\nHost: ", v6 ? "[" : "", endpoint_.host, v6 ? "]" : "",
      ":", endpoint_.port,
      "\r\nUser-Agent: millrace\r\nContent-Type: application/json\r\nContent-Length: ", json.size(),
      "\r\nConnection: close\r\n\r\n", json);
  const unsigned code = Exchange(socket.get(), request, end_ns, why);
  if (code / 100 == 2) return Outcome::kTaken;
  if (code != 0) *why = absl::StrCat("answered ", code);
  const bool later = code == 0 || code == 408 || code == 429 || code / 100 == 5;
  return later ? Outcome::kAgain : Outcome::kRefused;
}

void Webhook::Cancel() {
  // relaxed: a flag alone, nothing is read through it
  cancelled_.store(true, std::memory_order_relaxed);
}

}  // namespace millrace
