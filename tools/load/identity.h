// Who a client is and whom it trusts: an API key, and the files of TLS.
//
// Purpose: the same flags for every client of the tools, over gRPC and HTTP; the local socket knows
//   its clients by their user and takes none of it. Who may call: any thread; plain values.
// Invariants: 1. no sentence holds the key. 2. With TLS the server's certificate must be signed by
//   `tls_ca` and name the host that is connected to ("localhost" over a Unix socket).
// What fails: Check and ReadPem with a sentence that names the flag.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace millrace {

struct Identity {
  std::string api_key;            // empty: none is sent
  std::string tls_ca;             // paths of PEM files; no tls_ca: plain
  std::string tls_cert, tls_key;  // the client's own; both or neither

  bool tls() const { return !tls_ca.empty(); }
  // "Bearer KEY"; empty without a key.
  std::string Authorization() const { return api_key.empty() ? "" : "Bearer " + api_key; }
};

// What the files hold; empty where none is named.
struct IdentityPem {
  std::string ca, cert, key;
};

// Whether the flags agree with each other, the key is one that a header can carry and the files can
// be read and used.
absl::Status CheckIdentity(const Identity& identity);
absl::StatusOr<IdentityPem> ReadPem(const Identity& identity);

}  // namespace millrace
