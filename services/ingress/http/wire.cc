#include "services/ingress/http/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/socket.h>

namespace millrace::http {

Wire::Wire(Socket socket, boost::asio::ssl::context* tls) : socket_(std::move(socket)) {
  if (tls == nullptr) return;
  tls_ = std::make_unique<boost::asio::ssl::stream<Socket&>>(socket_, *tls);
  // What is written or read outside a handler must not wait.
  socket_.non_blocking(true);
}

bool Wire::PeerLeft() {
  pollfd end = {socket_.native_handle(), POLLRDHUP, 0};
  return poll(&end, 1, 0) > 0;
}

bool Wire::WriteNow(std::string_view text) {
  if (secure()) {
    boost::system::error_code error;
    return tls_->write_some(boost::asio::buffer(text), error) == text.size() && !error;
  }
  return send(socket_.native_handle(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(text.size());
}

std::string Wire::PeerName() const {
  if (!secure()) return "";
  SSL* const ssl = tls_->native_handle();
  const X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return "";
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return "";
  unsigned char* text = nullptr;
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  const int size = ASN1_STRING_to_UTF8(&text, value);
  if (size < 0) return "";
  std::string name(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name;
}

std::string Wire::PeerAddress() const {
  const int fd = const_cast<Socket&>(socket_).native_handle();
  sockaddr_storage peer = {};
  socklen_t size = sizeof peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return "gone";
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&peer)->sin_addr, text, sizeof text);
  } else if (peer.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&peer)->sin6_addr, text, sizeof text);
  } else {
    ucred user = {};
    size = sizeof user;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size) != 0) return "gone";
    return "uid:" + std::to_string(user.uid);
  }
  return text;
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
