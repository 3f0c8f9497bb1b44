#include "tools/load/http_connection.h"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <optional>

#include "absl/strings/str_cat.h"
#include "tools/load/endpoints.h"
#include "tools/load/http_json.h"
#include "tools/load/http_stream.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::generic::stream_protocol;
using Error = boost::system::error_code;

constexpr uint64_t kMaxAnswerBytes = uint64_t{1} << 30;

absl::Status Lost(const std::string& address, const Error& error) {
  if (error == beast::error::timeout) {
    return absl::DeadlineExceededError(absl::StrCat(address, ": no answer in time"));
  }
  return absl::UnavailableError(absl::StrCat(address, ": ", error.message()));
}

}  // namespace

class HttpConnection::Impl {
 public:
  Impl(const std::string& address, int64_t timeout_ms, const Identity& identity)
      : address_(address), timeout_(timeout_ms), identity_(identity) {}

  absl::StatusOr<std::string> Call(http::verb verb, const std::string& target,
                                   const std::string& body) {
    if (!stream_.has_value()) {
      if (const absl::Status status = Connect(); !status.ok()) return status;
    }
    http::request<http::string_body> request(verb, target, 11);
    request.set(http::field::host, HostHeader(address_));
    if (verb == http::verb::post) request.set(http::field::content_type, "application/json");
    if (!identity_.api_key.empty()) {
      request.set(http::field::authorization, identity_.Authorization());
    }
    request.body() = body;
    request.prepare_payload();
    Error error = Await([&](auto done) { http::async_write(*stream_, request, done); });
    if (error) return Drop(error);
    http::response_parser<http::string_body> answer;
    answer.body_limit(kMaxAnswerBytes);
    error = Await([&](auto done) { http::async_read(*stream_, buffer_, answer, done); });
    if (error) return Drop(error);
    if (!answer.keep_alive()) stream_.reset();
    const int code = answer.get().result_int();
    if (code != 200) return ParseHttpError(code, answer.get().body());
    return std::move(answer.get().body());
  }

 private:
  // Runs one operation to its end.
  template <typename Start>
  Error Await(Start start) {
    Error result;
    stream_->expires_after(timeout_);
    start([&result](const Error& error, auto...) { result = error; });
    io_.restart();
    io_.run();
    return result;
  }

  absl::Status Connect() {
    const absl::StatusOr<TlsContext> tls = MakeTlsContext(identity_);
    if (!tls.ok()) return tls.status();
    Error error;
    for (const Protocol::endpoint& endpoint : ResolveEndpoints(&io_, address_, &error)) {
      stream_.emplace(&io_, *tls, HostName(address_));
      error = Await([&](auto done) { stream_->Connect(endpoint, done); });
      if (!error) return absl::OkStatus();
    }
    return Drop(error);
  }

  absl::Status Drop(const Error& error) {
    stream_.reset();
    buffer_.clear();
    return Lost(address_, error);
  }

  const std::string address_;
  const std::chrono::milliseconds timeout_;
  asio::io_context io_{1};
  const Identity identity_;
  std::optional<HttpStream> stream_;
  beast::flat_buffer buffer_;
};

HttpConnection::HttpConnection(const std::string& address, int64_t timeout_ms,
                               const Identity& identity)
    : impl_(std::make_unique<Impl>(address, timeout_ms, identity)) {}
HttpConnection::~HttpConnection() = default;

absl::StatusOr<std::string> HttpConnection::Get(const std::string& target) {
  return impl_->Call(http::verb::get, target, "");
}

absl::StatusOr<std::string> HttpConnection::Post(const std::string& target,
                                                 const std::string& body) {
  return impl_->Call(http::verb::post, target, body);
}

}  // namespace millrace
