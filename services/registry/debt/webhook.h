// One POST of JSON, and what the other side said.
//
// Purpose: notices to people's systems. Who may call: a thread that may wait for `patience_ms`.
// Invariants: 1. Nothing is sent beyond this machine and private networks, whatever a name leads
// to.
//   2. The whole of it ends within patience_ms and the time of a look-up by name, or at once after
//   Cancel. What fails: every kind of failure is an outcome with a sentence.
#pragma once

#include <stdint.h>

#include <atomic>
#include <string>

#include "common/otlp_endpoint.h"

namespace millrace {

class Webhook {
 public:
  enum class Outcome { kTaken, kAgain, kRefused };

  Webhook(OtlpEndpoint endpoint, int64_t patience_ms)
      : endpoint_(std::move(endpoint)), patience_ms_(patience_ms) {}

  Outcome Post(const std::string& json, std::string* why);
  // From any thread: a Post that waits ends, and every later one fails.
  void Cancel();

 private:
  // The answer's code; 0: there was none.
  unsigned Exchange(int fd, const std::string& request, int64_t end_ns, std::string* why);

  const OtlpEndpoint endpoint_;
  const int64_t patience_ms_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace millrace
