#include "tools/load/identity.h"

#include <algorithm>
#include <boost/asio/ssl/context.hpp>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "tools/load/http_stream.h"

namespace millrace {
namespace {

absl::Status ReadFile(const char* flag, const std::string& path, std::string* out) {
  if (path.empty()) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  out->assign(std::istreambuf_iterator<char>(file), {});
  if (file.good() && !out->empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(flag, ": ", path, " cannot be read or is empty"));
}

}  // namespace

absl::StatusOr<IdentityPem> ReadPem(const Identity& identity) {
  IdentityPem pem;
  absl::Status status = ReadFile("--tls-ca", identity.tls_ca, &pem.ca);
  if (status.ok()) status = ReadFile("--tls-cert", identity.tls_cert, &pem.cert);
  if (status.ok()) status = ReadFile("--tls-key", identity.tls_key, &pem.key);
  if (!status.ok()) return status;
  return pem;
}

absl::Status CheckIdentity(const Identity& identity) {
  const bool plain = std::all_of(identity.api_key.begin(), identity.api_key.end(),
                                 [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain) return absl::InvalidArgumentError("--api-key: must be printable, without spaces");
  if (identity.tls_cert.empty() != identity.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key: both or neither");
  }
  if (!identity.tls() && !identity.tls_cert.empty()) {
    return absl::InvalidArgumentError("--tls-cert: needs --tls-ca");
  }
  if (!identity.tls()) return absl::OkStatus();
  const auto context = MakeTlsContext(identity);
  return context.ok() ? absl::OkStatus() : context.status();
}

}  // namespace millrace
