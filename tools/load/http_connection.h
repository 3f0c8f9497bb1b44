// One HTTP/1.1 connection that asks and waits.
//
// Purpose: a plain client, kept alive between calls. Who may call: one thread.
// Invariants: 1. a call ends within the timeout. 2. After a failed call the next one connects anew.
// What fails: UNAVAILABLE (no connection, or lost), DEADLINE_EXCEEDED, or the server's status.
#pragma once

#include <stdint.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tools/load/identity.h"

namespace millrace {

class HttpConnection {
 public:
  // `address`: host:port or unix:/path. Connects at the first call.
  HttpConnection(const std::string& address, int64_t timeout_ms, const Identity& identity = {});
  ~HttpConnection();

  // The body of an answer 200.
  absl::StatusOr<std::string> Get(const std::string& target);
  absl::StatusOr<std::string> Post(const std::string& target, const std::string& body);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
