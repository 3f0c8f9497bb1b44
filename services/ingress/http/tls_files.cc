#include "services/ingress/http/tls_files.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace millrace {
namespace {

using boost::asio::ssl::context;

int64_t Nanos(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

// Without this OpenSSL asks at the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

// Ours where the client offers it; a client that offers only others is told so.
int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_bytes,
                   const unsigned char* offered, unsigned int bytes, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_bytes, kOurs, sizeof(kOurs) - 1, offered, bytes) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

absl::Status Fault(std::string_view what, const std::string& path) {
  char text[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) {  // NOLINT: OpenSSL's type
    ERR_error_string_n(code, text, sizeof(text));
  }
  ERR_clear_error();
  return absl::InvalidArgumentError(
      absl::StrCat("TLS: ", absl::string_view(what.data(), what.size()), " ", path, ": ", text));
}

absl::Status Fill(const TlsPaths& paths, SSL_CTX* tls) {
  ERR_clear_error();
  SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
  SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(tls, 0);
  SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_default_passwd_cb(tls, NoPassphrase);
  SSL_CTX_set_alpn_select_cb(tls, ChooseProtocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(tls, paths.certificate.c_str()) != 1) {
    return Fault("no certificate in", paths.certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(tls, paths.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(tls) != 1) {
    return Fault("no key of that certificate in", paths.key);
  }
  if (paths.client_ca.empty()) return absl::OkStatus();
  if (SSL_CTX_load_verify_file(tls, paths.client_ca.c_str()) != 1) {
    return Fault("no authority in", paths.client_ca);
  }
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(paths.client_ca.c_str());
  if (names == nullptr) return Fault("no authority in", paths.client_ca);
  SSL_CTX_set_client_CA_list(tls, names);  // takes them
  SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<context>> MakeContext(const TlsPaths& paths) {
  auto made = std::make_unique<context>(context::tls_server);
  if (absl::Status status = Fill(paths, made->native_handle()); !status.ok()) return status;
  return made;
}

}  // namespace

TlsFiles::TlsFiles(const TlsPaths& paths, int64_t now_ns)
    : paths_(paths), marks_(ReadMarks()), next_look_ns_(now_ns + kLookNanos) {}

TlsFiles::Marks TlsFiles::ReadMarks() const {
  Marks marks;
  const std::array<const std::string*, 3> names = {&paths_.certificate, &paths_.key,
                                                   &paths_.client_ca};
  for (size_t i = 0; i < marks.size(); ++i) {
    struct stat file;
    if (stat(names[i]->c_str(), &file) != 0) continue;
    marks[i] = {file.st_ino, file.st_size, Nanos(file.st_mtim), Nanos(file.st_ctim)};
  }
  return marks;
}

absl::StatusOr<std::unique_ptr<TlsFiles>> TlsFiles::Load(const TlsPaths& paths, int64_t now_ns) {
  // The marks are taken before the files are read: a change in between is seen at the next look.
  std::unique_ptr<TlsFiles> files(new TlsFiles(paths, now_ns));
  absl::StatusOr<std::unique_ptr<context>> made = MakeContext(paths);
  if (!made.ok()) return made.status();
  files->context_ = *std::move(made);
  return files;
}

void TlsFiles::Look(int64_t now_ns) {
  if (now_ns < next_look_ns_) return;
  next_look_ns_ = now_ns + kLookNanos;
  const Marks marks = ReadMarks();
  if (marks == marks_) return;
  marks_ = marks;
  absl::StatusOr<std::unique_ptr<context>> made = MakeContext(paths_);
  if (!made.ok()) {
    ++faults_;
    Log(LogLevel::kError, "tls_files_not_taken", {{"why", made.status().ToString()}});
    return;
  }
  ++rotations_;
  context_ = *std::move(made);
  Log(LogLevel::kInfo, "tls_files_taken", {{"certificate", paths_.certificate}});
}

}  // namespace millrace
