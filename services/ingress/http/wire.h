// The byte side of a connection: its socket, what is read from it and what is written to it.
//
// Purpose: Connection knows requests and states and no socket; TLS lies between the two, here. A
//   plain connection pays one branch for it. Who may call: the lane's thread only.
// Ownership: owns the socket and the TLS session over it; the handlers that are given hold the
// Connection that holds this. Invariants:
//   1. At most one Read and one Write are pending. 2. After Close no byte is read or written, and
//   pending handlers run with an error. 3. What was read stays in received() until the next Read.
//   4. Of a secure wire Handshake comes first and alone.
// What fails: reads and writes, with the error that their handler gets.
#pragma once

#include <stddef.h>

#include <array>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "services/ingress/http/handler_memory.h"

namespace millrace::http {

using Socket = boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol,
                                                boost::asio::io_context::executor_type>;

class Wire {
 public:
  static constexpr size_t kReadBytes = 16 << 10;  // at a time

  // `tls`: what a secure wire is made of; null: the bytes go as they are.
  Wire(Socket socket, boost::asio::ssl::context* tls);
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  bool secure() const { return tls_ != nullptr; }
  // Of a secure wire: `handler(error)`.
  template <typename Handler>
  void Handshake(Handler handler) {
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::move(handler));
  }

  // The common name of the certificate that the client showed and TLS verified; empty: none.
  std::string PeerName() const;

  // Where the client is: its address, or "uid:N" behind a Unix socket.
  std::string PeerAddress() const;

  // `handler(error, bytes)`: that many bytes are in received().
  template <typename Handler>
  void Read(Handler handler) {
    InMemory placed(&read_memory_, std::move(handler));
    if (secure()) {
      tls_->async_read_some(boost::asio::buffer(chunk_), std::move(placed));
    } else {
      socket_.async_read_some(boost::asio::buffer(chunk_), std::move(placed));
    }
  }
  boost::asio::const_buffer received(size_t bytes) const { return {chunk_.data(), bytes}; }

  // `handler(error, bytes)`: all of `parts` was written, or the socket failed.
  template <typename Parts, typename Handler>
  void Write(const Parts& parts, Handler handler) {
    InMemory placed(&write_memory_, std::move(handler));
    if (secure()) {
      boost::asio::async_write(*tls_, parts, std::move(placed));
    } else {
      boost::asio::async_write(socket_, parts, std::move(placed));
    }
  }

  // Whether the client has closed its end, or the socket failed, whatever is still unread.
  bool PeerLeft();

  // Writes `text` if all of it fits now; only while no Write is pending.
  bool WriteNow(std::string_view text);
  // Says that nothing more comes, by TLS too; only while no Write is pending. False where the
  // socket is lost.
  bool EndWriting();
  void Close();

 private:
  HandlerMemory read_memory_;
  HandlerMemory write_memory_;
  Socket socket_;
  std::unique_ptr<boost::asio::ssl::stream<Socket&>> tls_;  // null: plain
  // A pending read writes here, and not into a buffer that may move its bytes meanwhile.
  std::array<char, kReadBytes> chunk_;
};

}  // namespace millrace::http
