// Bounds of the HTTP side, and what it counts.
//
// Purpose: every limit in one place; no client can make this process hold more than their sum.
// Invariants: 1. memory held for clients is at most max_connections * (max_header_bytes + 64 KiB)
//   + 2 * max_buffered_bytes + 2 * max_body_bytes (the one body being unpacked) + the answers being
//   written, which the lane's window bounds. TLS takes up to 96 KiB more of each connection.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <memory>
#include <string>

#include "services/ingress/http/tls_paths.h"

namespace millrace {

class ClientRegions;
class Keys;

struct HttpOptions {
  TlsPaths tls;                          // not on: plain
  ClientRegions* regions = nullptr;      // clients' shared memory, borrowed; null: not allowed
  std::shared_ptr<Keys> keys;            // API keys; null: none, so only this machine is served
  std::string server_version = "0.1.0";  // of GET /v2
  size_t max_connections = 1024;         // one more gets 503 and is closed (TLS: 16 at a time)
  size_t max_header_bytes = 16 << 10;    // of one request: 431
  size_t max_body_bytes = 8 << 20;       // of one request, as it comes and unpacked: 413
  size_t max_buffered_bytes = 64 << 20;  // of all bodies being received: 503
  // Answers of these sizes are packed for who asks; a larger one would hold up the others.
  size_t compress_from_bytes = 1 << 10;
  size_t compress_to_bytes = 1 << 20;
  int64_t header_timeout_ms = 10'000;  // from a request's first byte to its blank line: 408;
                                       // and for TLS to be agreed on: closed
  int64_t body_timeout_ms = 30'000;    // for the body after that, whatever its size: 408
  int64_t idle_timeout_ms = 60'000;    // between requests: closed
  int64_t write_timeout_ms = 30'000;   // for one answer: closed
  int64_t linger_ms = 1'000;           // for a client to read an answer after which we close
  int64_t drain_idle_ms = 500;         // an idle connection's last chance after Drain
};

struct HttpCounters {
  uint64_t connections = 0;                // accepted
  uint64_t refused_connections = 0;        // over max_connections
  uint64_t requests = 0;                   // read whole
  uint64_t cancelled = 0;                  // the client went away while its request was in flight
  uint64_t timeouts = 0;                   // of any kind above
  uint64_t failed_handshakes = 0;          // of TLS: no TLS at all, or a client not trusted
  uint64_t tls_rotations = 0;              // changed files that were taken
  uint64_t tls_faults = 0;                 // changed files that could not be used
  std::array<uint64_t, 6> responses = {};  // by the code's first digit
};

}  // namespace millrace
