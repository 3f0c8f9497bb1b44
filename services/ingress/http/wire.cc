#include "services/ingress/http/wire.h"

#include <sys/socket.h>

namespace millrace::http {

bool Wire::WriteNow(std::string_view text) {
  return send(socket_.native_handle(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(text.size());
}

bool Wire::EndWriting() {
  boost::system::error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  return !error;
}

void Wire::Close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace millrace::http
