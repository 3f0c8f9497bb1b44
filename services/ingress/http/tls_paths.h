// The PEM files of TLS, as the configuration names them.
//
// Purpose: a type that options can hold without OpenSSL's headers. Who may call: anyone.
// Invariants: 1. certificate and key: both or neither; client_ca only with them (common/config.h).
#pragma once

#include <string>

namespace millrace {

struct TlsPaths {
  std::string certificate;  // the server's own first, then those above it
  std::string key;
  std::string client_ca;  // where set, each client must show a certificate of these

  bool on() const { return !certificate.empty(); }
};

}  // namespace millrace
