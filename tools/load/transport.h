// How a load reaches the server: the seam between the load's clock and a protocol.
//
// Purpose: gRPC, HTTP and the local client, and in tests a server with a clock of its own.
// Who may call: one thread, the driver's. Ownership: a transport owns its connections and what it
//   needs for each slot; the golden set outlives it.
// Invariants: 1. each Send is followed by exactly one Done with its slot, at the latest some time
//   after the deadline; a slot is not sent again before. 2. `done_ns` is taken when the answer was
//   there, before it is read and compared: the generator's own work is no latency.
// What fails: nothing; what does is a Done.
#pragma once

#include <stdint.h>

#include <memory>
#include <optional>
#include <string>

#include "tools/load/golden.h"
#include "tools/load/identity.h"

namespace millrace {

class LoadClock {
 public:
  virtual ~LoadClock() = default;
  virtual int64_t NowNs() = 0;
};

class MonotonicClock : public LoadClock {
 public:
  int64_t NowNs() override;
};

enum class Outcome {
  kExpected,    // answered, with the expected bytes where some are expected
  kMismatched,  // answered, with other bytes
  kFailed,
};

struct Done {
  int slot = 0;
  Outcome outcome = Outcome::kFailed;
  int64_t done_ns = 0;
  // Of a failure. `code`: "UNAVAILABLE" (gRPC), "HTTP 503", "CONNECT" (no connection), "LOST" (the
  // connection ended within a call), "TIMEOUT" (no HTTP answer by the deadline), "BAD_ANSWER".
  std::string code;
  std::string sentence;
  bool may_retry = false;  // the server was not there, or said that it is not ready
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Sends request `request` of the set. `again`: after a failure that may be retried; waits for the
  // server to come back instead of failing at once.
  virtual void Send(int slot, size_t request, bool again) = 0;
  // The next end of a call; nothing where none came until `until_ns` of the monotonic clock.
  virtual std::optional<Done> Wait(int64_t until_ns) = 0;
};

struct TransportOptions {
  std::string address;  // host:port or unix:/path
  int connections = 1;
  int64_t deadline_ms = 10'000;
  // A shorter one that the server is told, so that an answer which comes late is seen; 0: it is
  // told deadline_ms, over HTTP nothing. gRPC has it from the requests' parameter "timeout".
  int64_t told_ms = 0;
  // Of an open loop: Wait ends at its time to some microseconds, and answers get their time while
  // the driver does other things. Costs a thread and a hand-over for each answer (gRPC).
  bool open_loop = false;
  Identity identity;
};

// Slots are 0 to `slots` - 1. Over HTTP `connections` must be at least `slots`; each is made when a
// request needs it.
std::unique_ptr<Transport> MakeGrpcTransport(const GoldenSet& golden,
                                             const TransportOptions& options, int slots);
// Over ModelStreamInfer, one stream a connection; for closed loops (`open_loop` is not looked at).
// Codes of failures: "STREAMED_ERROR" (the protocol names none), "STREAM_ENDED".
std::unique_ptr<Transport> MakeGrpcStreamTransport(const GoldenSet& golden,
                                                   const TransportOptions& options, int slots);
// INVALID_ARGUMENT where JSON cannot carry a request, or a file of the identity cannot be used.
absl::StatusOr<std::unique_ptr<Transport>> MakeHttpTransport(const GoldenSet& golden,
                                                             const TransportOptions& options,
                                                             int slots);

// `address`: the server's local socket. INVALID_ARGUMENT for more slots than a client may have;
// what connecting and opening the model say.
absl::StatusOr<std::unique_ptr<Transport>> MakeLocalTransport(const GoldenSet& golden,
                                                              const TransportOptions& options,
                                                              int slots);

// Whether the answer's bytes are the expected ones; true where nothing is expected.
bool Matches(const GoldenRequest& golden, const inference::ModelInferResponse& response);

}  // namespace millrace
