// The byte side of an HTTP client: a socket with time limits, and TLS over it where that is asked
// for.
//
// Purpose: both HTTP clients of the tools read and write this with Boost's algorithms, whatever is
//   below. Who may call: one thread. Ownership: owns socket and session; the TLS context is shared.
// Invariants: 1. a time limit holds for whatever is under way, also for the handshake.
//   2. Of a secure stream Handshake comes first.
// What fails: each operation, with the error that its handler gets; MakeTlsContext with a sentence.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "tools/load/identity.h"

namespace millrace {

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

// Null without TLS. INVALID_ARGUMENT for files that cannot be used.
absl::StatusOr<TlsContext> MakeTlsContext(const Identity& identity);

class HttpStream {
 public:
  using Lower = boost::beast::basic_stream<boost::asio::generic::stream_protocol>;
  using executor_type = Lower::executor_type;

  // `host`: what the server's certificate must name.
  HttpStream(boost::asio::io_context* io, TlsContext tls, const std::string& host);
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  executor_type get_executor() { return lower_.get_executor(); }
  void expires_after(std::chrono::milliseconds most) { lower_.expires_after(most); }

  // `handler(error)`: connected, and agreed on TLS where that is on.
  template <typename Handler>
  void Connect(const boost::asio::generic::stream_protocol::endpoint& endpoint, Handler handler) {
    lower_.async_connect(endpoint, [this, handler](boost::system::error_code error) mutable {
      if (error) return handler(error);
      SetNoDelay();
      if (tls_ == nullptr) return handler(error);
      tls_->async_handshake(boost::asio::ssl::stream_base::client, handler);
    });
  }

  template <typename Buffers, typename Handler>
  auto async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls_ != nullptr) return tls_->async_read_some(buffers, std::forward<Handler>(handler));
    return lower_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <typename Buffers, typename Handler>
  auto async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls_ != nullptr) return tls_->async_write_some(buffers, std::forward<Handler>(handler));
    return lower_.async_write_some(buffers, std::forward<Handler>(handler));
  }

 private:
  void SetNoDelay();

  Lower lower_;
  const TlsContext context_;
  std::unique_ptr<boost::asio::ssl::stream<Lower&>> tls_;  // null: plain
};

}  // namespace millrace
