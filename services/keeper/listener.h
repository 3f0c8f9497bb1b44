// Opening a listening socket from "host:port", "[address]:port" or "unix:/path".
//
// Purpose: sockets that outlive every other process. Who may call: the keeper, at its start.
// Invariant: what is returned listens, does not block, and is closed on exec. One named "local" is
// a
//   Unix SEQPACKET socket of mode 0600, the others are streams.
// What fails: INVALID_ARGUMENT for an address that is none, UNAVAILABLE where it cannot be had.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

struct Listener {
  std::string name;       // "grpc", "http", "local"
  std::string address;    // as bound: a port of 0 has become the real one
  std::string unix_path;  // to unlink at the end; empty for an internet socket
  Fd socket;
};

absl::StatusOr<Listener> OpenListener(const std::string& name, const std::string& address);

}  // namespace millrace
