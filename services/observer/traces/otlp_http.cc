// OTLP over HTTP with JSON: one request a connection.
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "absl/strings/str_cat.h"
#include "ipc/fd.h"
#include "services/observer/traces/otlp.h"
#include "services/observer/traces/otlp_export.h"

namespace millrace {
namespace {

namespace http = boost::beast::http;

constexpr size_t kChunk = 4096;
constexpr uint64_t kMaxAnswer = 64 << 10;

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

// The answer's code; 0: there was none.
unsigned ReadCode(int fd) {
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxAnswer);
  std::array<char, kChunk> chunk;
  std::string kept;
  while (!parser.is_done()) {
    const ssize_t got = recv(fd, chunk.data(), chunk.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    boost::beast::error_code error;
    if (got <= 0) {
      if (!parser.is_header_done()) return 0;
      parser.put_eof(error);
      break;
    }
    kept.append(chunk.data(), static_cast<size_t>(got));
    const size_t used = parser.put(boost::asio::buffer(kept), error);
    kept.erase(0, used);
    if (error && error != http::error::need_more) return 0;
  }
  return parser.is_header_done() ? parser.get().result_int() : 0;
}

class HttpSender final : public OtlpSender {
 public:
  explicit HttpSender(const OtlpEndpoint& endpoint) : endpoint_(endpoint) {}

  SendResult Send(const otlp::ExportRequest& request, std::string* why) override {
    const Fd socket = Connect(why);
    if (!socket.valid()) return SendResult::kAgain;
    const std::string body = OtlpJson(request);
    const std::string head = absl::StrCat(
        "POST ", endpoint_.path, " HTTP/1.1\r\nHost: ", Host(), ":", endpoint_.port,
        "\r\nUser-Agent: millrace\r\nContent-Type: application/json\r\nContent-Length: ",
        body.size(), "\r\nConnection: close\r\n\r\n");
    if (!SendAll(socket.get(), head) || !SendAll(socket.get(), body)) {
      *why = "the collector closed the connection";
      return SendResult::kAgain;
    }
    const unsigned code = ReadCode(socket.get());
    // A part that it rejects is rejected for good: that is a success, too.
    if (code / 100 == 2) return SendResult::kSent;
    *why = absl::StrCat("the collector answered ", code);
    const bool later = code == 0 || code == 429 || code == 502 || code == 503 || code == 504;
    return later ? SendResult::kAgain : SendResult::kRefused;
  }

 private:
  std::string Host() const {
    return endpoint_.host.find(':') == std::string::npos ? endpoint_.host
                                                         : "[" + endpoint_.host + "]";
  }

  Fd Connect(std::string* why) const {
    const absl::StatusOr<std::string> address = PrivateAddress(endpoint_);
    if (!address.ok()) {
      *why = std::string(address.status().message());
      return Fd();
    }
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (getaddrinfo(address->c_str(), endpoint_.port.c_str(), &hints, &found) != 0) return Fd();
    Fd socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience = {OtlpExporter::kSendMs / 1000, 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const bool connected = connect(socket.get(), found->ai_addr, found->ai_addrlen) == 0;
    if (!connected) *why = absl::StrCat("cannot reach the collector: ", strerror(errno));
    freeaddrinfo(found);
    return connected ? std::move(socket) : Fd();
  }

  const OtlpEndpoint endpoint_;
};

}  // namespace

std::unique_ptr<OtlpSender> MakeHttpSender(const OtlpEndpoint& endpoint) {
  return std::make_unique<HttpSender>(endpoint);
}

}  // namespace millrace
