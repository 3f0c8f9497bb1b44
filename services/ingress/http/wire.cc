#include "services/ingress/http/wire.h"

#include <sys/socket.h>

namespace millrace::http {

Wire::Wire(Socket socket, boost::asio::ssl::context* tls) : socket_(std::move(socket)) {
  if (tls == nullptr) return;
  tls_ = std::make_unique<boost::asio::ssl::stream<Socket&>>(socket_, *tls);
  // What is written or read outside a handler must not wait.
  socket_.non_blocking(true);
}

bool Wire::WriteNow(std::string_view text) {
  if (secure()) {
    boost::system::error_code error;
    return tls_->write_some(boost::asio::buffer(text), error) == text.size() && !error;
  }
  return send(socket_.native_handle(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(text.size());
}

bool Wire::EndWriting() {
  boost::system::error_code error;
  // Sends close-notify; that the client's own is not there yet is no fault.
  if (secure()) tls_->shutdown(error);
  error.clear();
  socket_.shutdown(Socket::shutdown_send, error);
  return !error;
}

void Wire::Close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace millrace::http
