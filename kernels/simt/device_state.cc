#include "kernels/simt/device_state.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "kernels/simt/faults.h"

namespace millrace::simt {
namespace {

constexpr std::size_t kDefaultMemoryBytes = std::size_t{256} << 20;
constexpr std::uint64_t kEverything = ~std::uint64_t{0};

struct ThreadError {
  cudaError_t error = cudaSuccess;
  std::uint64_t generation = 0;
};
thread_local ThreadError thread_error;

}  // namespace

cudaError_t& LastError() {
  const std::uint64_t generation = DeviceState::Get().generation;
  if (thread_error.generation != generation) thread_error = {cudaSuccess, generation};
  return thread_error.error;
}

DeviceState& DeviceState::Get() {
  static DeviceState* const state = [] {
    auto* made = new DeviceState;  // outlives every thread
    const char* text = std::getenv("MILLRACE_SIMT_FAULTS");
    if (text != nullptr) ParseFaults(made, text);
    return made;
  }();
  return *state;
}

DeviceState::DeviceState() { memory.Reset(kDefaultMemoryBytes); }

void DeviceState::Reset() {
  streams.clear();
  legacy.work.clear();
  legacy.capture.reset();
  events.clear();
  graphs.clear();
  execs.clear();
  dynamic_shared_limits.clear();
  sticky = cudaSuccess;
  orders.clear();
  calls.clear();
  total_calls = 0;
  ++generation;
  driver_version = CUDART_VERSION;
  devices = 1;
  eager = false;
  memory.Reset(kDefaultMemoryBytes);
}

const DeviceState::Order* DeviceState::FaultFor(const std::string& function, std::uint64_t number,
                                                std::uint64_t total) const {
  for (const Order& order : orders) {
    if (!order.function.empty() && order.function != function) continue;
    const std::uint64_t now = order.function.empty() ? total : number;
    if (now == order.number || (order.and_all_after && now > order.number)) return &order;
  }
  return nullptr;
}

cudaError_t DeviceState::Admit(const char* function, CallRule rule) {
  const std::uint64_t number = ++calls[function];
  const std::uint64_t total = ++total_calls;
  if (const Order* order = FaultFor(function, number, total)) {
    if (Faults::IsSticky(order->error)) sticky = order->error;
    return order->error;
  }
  if (rule == CallRule::kVersion) return cudaSuccess;
  if (driver_version / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
  if (devices == 0) return cudaErrorNoDevice;
  if (sticky != cudaSuccess) return sticky;
  if (rule != CallRule::kUnsafe) return cudaSuccess;
  bool forbidden = false;
  for (auto& [handle, stream] : streams) {
    Capture* const capture = stream->capture.get();
    if (capture == nullptr || capture->mode == cudaStreamCaptureModeRelaxed) continue;
    if (capture->mode == cudaStreamCaptureModeThreadLocal &&
        capture->thread != std::this_thread::get_id()) {
      continue;
    }
    capture->invalidated = true;
    forbidden = true;
  }
  return forbidden ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t DeviceState::Record(cudaError_t error) {
  if (error != cudaSuccess) LastError() = error;
  return error;
}

CUstream_st* DeviceState::Stream(cudaStream_t handle) {
  if (handle == nullptr) return &legacy;
  const auto found = streams.find(handle);
  return found == streams.end() ? nullptr : found->second.get();
}

CUevent_st* DeviceState::Event(cudaEvent_t handle) {
  const auto found = events.find(handle);
  return found == events.end() ? nullptr : found->second.get();
}

bool DeviceState::AnyCapture() const {
  for (const auto& [handle, stream] : streams) {
    if (stream->capture != nullptr) return true;
  }
  return false;
}

void DeviceState::InvalidateAll() {
  for (auto& [handle, stream] : streams) {
    if (stream->capture != nullptr) stream->capture->invalidated = true;
  }
}

cudaError_t DeviceState::Enqueue(cudaStream_t handle, std::function<cudaError_t()> run,
                                 std::shared_ptr<EventMark> after) {
  CUstream_st* const stream = Stream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    if (stream->capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    stream->capture->nodes.push_back(std::move(run));
    return cudaSuccess;
  }
  if (stream == &legacy) {
    // The legacy stream would have to wait for a blocking stream that only records.
    bool implicit = false;
    for (auto& [other_handle, other] : streams) {
      if (other->capture == nullptr || !other->blocking) continue;
      other->capture->invalidated = true;
      implicit = true;
    }
    if (implicit) return cudaErrorStreamCaptureImplicit;
  }
  stream->work.push_back({++last_sequence, std::move(after), std::move(run)});
  if (eager) RunStream(stream, kEverything);
  return cudaSuccess;
}

void DeviceState::RunStream(CUstream_st* stream, std::uint64_t last) {
  memory.Open();
  while (!stream->work.empty() && stream->work.front().sequence <= last) {
    const Work work = std::move(stream->work.front());
    stream->work.pop_front();
    if (stream == &legacy) {
      for (auto& [handle, other] : streams) {
        if (other->blocking) RunStream(other.get(), work.sequence - 1);
      }
    } else if (stream->blocking) {
      RunStream(&legacy, work.sequence - 1);
    }
    if (work.after != nullptr && !work.after->done) {
      RunStream(work.after->stream, work.after->sequence);
    }
    if (sticky == cudaSuccess) sticky = work.run();
  }
  memory.Close();
}

void DeviceState::RunAll() {
  for (auto& [handle, stream] : streams) RunStream(stream.get(), kEverything);
  RunStream(&legacy, kEverything);
}

bool DeviceState::RunSome(CUstream_st* stream) {
  if (stream->work.empty()) return false;
  RunStream(stream, stream->work.front().sequence);
  return true;
}

cudaError_t DeviceState::CheckLaunch(const KernelCall& call) {
  const dim3& grid = call.grid.grid;
  const dim3& block = call.grid.block;
  const auto within = [](const dim3& size, unsigned x, unsigned y, unsigned z) {
    return size.x >= 1 && size.y >= 1 && size.z >= 1 && size.x <= x && size.y <= y && size.z <= z;
  };
  if (!within(grid, 0x7fffffff, 65535, 65535) || !within(block, 1024, 1024, 64) ||
      std::uint64_t{block.x} * block.y * block.z > kMaxThreads) {
    return cudaErrorInvalidConfiguration;
  }
  const auto limit = dynamic_shared_limits.find(call.function);
  const std::size_t allowed =
      limit == dynamic_shared_limits.end()
          ? kDefaultSharedBytes
          : std::max(kDefaultSharedBytes, static_cast<std::size_t>(limit->second));
  return call.grid.dynamic_shared_bytes > allowed ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t DeviceState::RunKernel(const KernelCall& call) {
  const std::uint64_t number = ++calls["kernel"];
  for (const Order& order : orders) {
    if (order.function == "kernel" &&
        (order.number == number || (order.and_all_after && number > order.number))) {
      return order.error;
    }
  }
  for (std::size_t i = 0; i < call.pointers.size(); ++i) {
    if (call.pointers[i] == nullptr || memory.DeviceSees(call.pointers[i])) continue;
    Deliver({Check::kHostPointer,
             call.grid.name,
             {},
             {},
             "pointer argument " + std::to_string(i + 1) +
                 " names memory that is neither the device's (any more) nor pinned and mapped"});
    return cudaErrorIllegalAddress;
  }
  const GridResult result = RunGrid(call.grid);
  if (result.reports == 0) return cudaSuccess;
  if (result.illegal_address) return cudaErrorIllegalAddress;
  return result.misaligned ? cudaErrorMisalignedAddress : cudaErrorLaunchFailure;
}

void EnqueueKernel(KernelCall call, cudaStream_t stream) {
  Api("cudaLaunchKernel", CallRule::kAny, [&](DeviceState& device) -> cudaError_t {
    const cudaError_t wrong = device.CheckLaunch(call);
    if (wrong != cudaSuccess) return wrong;
    if (device.dynamic_shared_limits.contains(call.function)) {
      call.grid.shared_limit_bytes = kMaxSharedBytes;
    }
    const auto shared = std::make_shared<const KernelCall>(std::move(call));
    return device.Enqueue(stream, [shared, &device] { return device.RunKernel(*shared); });
  });
}

}  // namespace millrace::simt
