#include "tools/load/http_stream.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

namespace ssl = boost::asio::ssl;
using Error = boost::system::error_code;

}  // namespace

absl::StatusOr<TlsContext> MakeTlsContext(const Identity& identity) {
  if (!identity.tls()) return TlsContext();
  const absl::StatusOr<IdentityPem> pem = ReadPem(identity);
  if (!pem.ok()) return pem.status();
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  Error error;
  const auto bad = [&](const char* flag) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", error.message()));
  };
  context->set_verify_mode(ssl::verify_peer, error);
  if (!error) context->add_certificate_authority(boost::asio::buffer(pem->ca), error);
  if (error) return bad("--tls-ca");
  if (pem->cert.empty()) return context;
  context->use_certificate_chain(boost::asio::buffer(pem->cert), error);
  if (error) return bad("--tls-cert");
  context->use_private_key(boost::asio::buffer(pem->key), ssl::context::pem, error);
  if (error) return bad("--tls-key");
  return context;
}

HttpStream::HttpStream(boost::asio::io_context* io, TlsContext tls, const std::string& host)
    : lower_(*io), context_(std::move(tls)) {
  if (context_ == nullptr) return;
  tls_ = std::make_unique<ssl::stream<Lower&>>(lower_, *context_);
  Error ignored;
  tls_->set_verify_callback(ssl::host_name_verification(host), ignored);
  boost::asio::ip::make_address(host, ignored);
  // TLS names hosts to each other, not addresses.
  if (ignored) SSL_set_tlsext_host_name(tls_->native_handle(), host.c_str());
}

void HttpStream::SetNoDelay() {
  Error ignored;  // a Unix socket has no such option
  lower_.socket().set_option(boost::asio::ip::tcp::no_delay(true), ignored);
}

}  // namespace millrace
