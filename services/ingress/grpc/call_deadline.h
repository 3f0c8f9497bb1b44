// When a request must be answered: what gRPC and the client's parameter say, as one time.
// Who may call: any thread. Nothing is kept, nothing fails.
#pragma once

#include <grpcpp/grpcpp.h>
#include <stdint.h>

namespace millrace {

// gRPC's own deadline of a call on CLOCK_MONOTONIC; 0 for none.
int64_t DeadlineNanos(const grpc::ServerContext& context);

// The earlier of a deadline and now + `timeout_ns`; 0 stands for none in each and in the result.
int64_t RequestDeadlineNanos(int64_t call_deadline_ns, int64_t timeout_ns);

}  // namespace millrace
