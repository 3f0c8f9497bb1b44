// Fuzz target: whatever bytes come over a connection, heads and bodies, whole requests and parts.
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "services/ingress/http/http_client_for_test.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using millrace::http::TestServer;
  static auto* const server = [] {
    millrace::HttpOptions options;
    options.linger_ms = 1;
    options.max_body_bytes = 64 << 10;
    return new TestServer(options, /*unix_socket=*/true);
  }();
  const int fd = server->Connect();
  server->Send(fd, {reinterpret_cast<const char*>(data), size});
  server->Settle();
  close(fd);
  server->Settle();
  // Behind more than is read ahead its end is seen by a sweep.
  const int64_t until_ns = millrace::MonotonicNanos() + 10 * millrace::kNanosPerSecond;
  while (server->server().connections() > 0 && millrace::MonotonicNanos() < until_ns) {
    server->Settle();
  }
  server->frontend().Forget();
  MR_CHECK(server->server().active_requests() == 0 && server->server().connections() == 0,
           "a client that went away leaves nothing behind");
  return 0;
}
