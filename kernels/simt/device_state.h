// The fake device: its memory, its streams and what waits in them, its errors.
//
// Purpose: what the functions of runtime.h have in common.
// Who may call: the runtime's files, through Api(), which holds the lock.
// Invariants:
//   1. Work has a sequence number. A stream's work runs in order; the legacy stream and the
//   blocking
//      streams also wait for each other's earlier work.
//   2. Once sticky_ is set no work runs any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernels/simt/launch.h"
#include "kernels/simt/memory_table.h"
#include "kernels/simt/runtime.h"

namespace millrace::simt {

// What an event stands for once it has been recorded.
struct EventMark {
  CUstream_st* stream = nullptr;
  std::uint64_t sequence = 0;
  bool done = false;
  std::int64_t time_ns = 0;
};

struct Work {
  std::uint64_t sequence = 0;
  std::shared_ptr<EventMark> after;  // of another stream, or null
  std::function<cudaError_t()> run;
};

using Nodes = std::vector<std::function<cudaError_t()>>;

struct Capture {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool invalidated = false;
  Nodes nodes;
};

}  // namespace millrace::simt

struct CUstream_st {
  bool blocking = true;  // waits for the legacy stream, and it for this one
  std::deque<millrace::simt::Work> work;
  std::unique_ptr<millrace::simt::Capture> capture;
};

struct CUevent_st {
  bool timing = true;
  std::shared_ptr<millrace::simt::EventMark> mark;  // null: never recorded
  const millrace::simt::Capture* captured = nullptr;
};

struct CUgraph_st {
  millrace::simt::Nodes nodes;
};

struct CUgraphExec_st {
  std::shared_ptr<const millrace::simt::Nodes> nodes;
};

namespace millrace::simt {

// What a call does to a capture that is going on.
enum class CallRule {
  kVersion,  // works without a driver too
  kAny,
  kUnsafe,  // allocates or waits: invalidates a capture that does not allow it
};

class DeviceState {
 public:
  static DeviceState& Get();

  std::mutex mutex;

  // Counts the call, plays the faults, and says whether it may be made.
  cudaError_t Admit(const char* function, CallRule rule);
  cudaError_t Record(cudaError_t error);

  CUstream_st* Stream(cudaStream_t handle);  // null: no such stream
  CUevent_st* Event(cudaEvent_t handle);

  // Hands work to a stream, or to the graph that it captures.
  cudaError_t Enqueue(cudaStream_t handle, std::function<cudaError_t()> run,
                      std::shared_ptr<EventMark> after = nullptr);
  void RunStream(CUstream_st* stream, std::uint64_t last_sequence);
  void RunAll();
  // One piece of work, as a device gets on while the host asks.
  bool RunSome(CUstream_st* stream);
  bool AnyCapture() const;
  void InvalidateAll();
  cudaError_t RunKernel(const KernelCall& call);
  cudaError_t CheckLaunch(const KernelCall& call);
  void Reset();

  struct Order {           // a fault on order
    std::string function;  // empty: any
    std::uint64_t number;
    bool and_all_after;
    cudaError_t error;
  };

  MemoryTable memory;
  CUstream_st legacy;
  std::map<cudaStream_t, std::unique_ptr<CUstream_st>> streams;
  std::map<cudaEvent_t, std::unique_ptr<CUevent_st>> events;
  std::map<cudaGraph_t, std::unique_ptr<CUgraph_st>> graphs;
  std::map<cudaGraphExec_t, std::unique_ptr<CUgraphExec_st>> execs;
  std::map<const void*, int> dynamic_shared_limits;
  std::uint64_t last_sequence = 0;
  cudaError_t sticky = cudaSuccess;

  std::vector<Order> orders;
  std::map<std::string, std::uint64_t> calls;
  std::uint64_t total_calls = 0;
  std::uint64_t generation = 0;  // of Reset: last errors from before are void
  int driver_version = CUDART_VERSION;
  int devices = 1;
  bool eager = false;

 private:
  DeviceState();
  const Order* FaultFor(const std::string& function, std::uint64_t number,
                        std::uint64_t total) const;
};

// Faults::Parse, for a lock holder.
void ParseFaults(DeviceState* device, const std::string& text);

// What the calling thread's cudaGetLastError gives.
cudaError_t& LastError();

// One call of the API: `body(DeviceState&)` runs under the lock if the call may be made.
template <class F>
cudaError_t Api(const char* function, CallRule rule, F body) {
  DeviceState& device = DeviceState::Get();
  const std::lock_guard lock(device.mutex);
  cudaError_t error = device.Admit(function, rule);
  if (error == cudaSuccess) error = body(device);
  return device.Record(error);
}

}  // namespace millrace::simt
