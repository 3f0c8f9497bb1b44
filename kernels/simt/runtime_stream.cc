// Streams and events.
#include <chrono>
#include <memory>
#include <utility>

#include "kernels/simt/device_state.h"

using millrace::simt::Api;
using millrace::simt::CallRule;
using millrace::simt::DeviceState;
using millrace::simt::EventMark;

namespace {

constexpr std::uint64_t kEverything = ~std::uint64_t{0};

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

cudaError_t CreateStream(const char* function, cudaStream_t* stream, unsigned flags) {
  return Api(function, CallRule::kAny, [&](DeviceState& device) {
    if (stream == nullptr || (flags & ~cudaStreamNonBlocking) != 0) return cudaErrorInvalidValue;
    auto made = std::make_unique<CUstream_st>();
    made->blocking = (flags & cudaStreamNonBlocking) == 0;
    *stream = made.get();
    device.streams.emplace(*stream, std::move(made));
    return cudaSuccess;
  });
}

// A stream that captures can be neither waited for nor asked.
cudaError_t RefuseCapturing(CUstream_st* stream) {
  if (stream->capture == nullptr) return cudaSuccess;
  stream->capture->invalidated = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t CreateEvent(const char* function, cudaEvent_t* event, unsigned flags) {
  return Api(function, CallRule::kAny, [&](DeviceState& device) {
    constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
    if (event == nullptr || (flags & ~kKnown) != 0) return cudaErrorInvalidValue;
    auto made = std::make_unique<CUevent_st>();
    made->timing = (flags & cudaEventDisableTiming) == 0;
    *event = made.get();
    device.events.emplace(*event, std::move(made));
    return cudaSuccess;
  });
}

}  // namespace

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return CreateStream("cudaStreamCreate", stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return CreateStream("cudaStreamCreateWithFlags", stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return Api("cudaStreamDestroy", CallRule::kAny, [&](DeviceState& device) {
    CUstream_st* const stream = device.Stream(handle);
    if (handle == nullptr || stream == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t capturing = RefuseCapturing(stream);
    if (capturing != cudaSuccess) return capturing;
    device.RunStream(stream, kEverything);
    device.streams.erase(handle);
    return device.sticky;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return Api("cudaStreamSynchronize", CallRule::kAny, [&](DeviceState& device) {
    CUstream_st* const stream = device.Stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t capturing = RefuseCapturing(stream);
    if (capturing != cudaSuccess) return capturing;
    device.RunStream(stream, kEverything);
    return device.sticky;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return Api("cudaStreamQuery", CallRule::kAny, [&](DeviceState& device) {
    CUstream_st* const stream = device.Stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t capturing = RefuseCapturing(stream);
    if (capturing != cudaSuccess) return capturing;
    const bool busy = device.RunSome(stream);
    if (device.sticky != cudaSuccess) return device.sticky;
    return busy ? cudaErrorNotReady : cudaSuccess;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned flags) {
  return Api("cudaStreamWaitEvent", CallRule::kAny, [&](DeviceState& device) {
    CUstream_st* const stream = device.Stream(handle);
    CUevent_st* const event = device.Event(event_handle);
    if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
    if (flags != 0) return cudaErrorInvalidValue;
    if (stream->capture != nullptr) {
      if (event->captured == stream->capture.get()) return cudaSuccess;
      stream->capture->invalidated = true;
      return cudaErrorStreamCaptureIsolation;
    }
    // A second stream in one capture is not modelled.
    if (event->captured != nullptr) return cudaErrorNotSupported;
    if (event->mark == nullptr || event->mark->done) return cudaSuccess;
    return device.Enqueue(
        handle, [] { return cudaSuccess; }, event->mark);
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return CreateEvent("cudaEventCreate", event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return CreateEvent("cudaEventCreateWithFlags", event, flags);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return Api("cudaEventDestroy", CallRule::kAny, [&](DeviceState& device) {
    return device.events.erase(event) == 1 ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event_handle, cudaStream_t handle) {
  return Api("cudaEventRecord", CallRule::kAny, [&](DeviceState& device) {
    CUstream_st* const stream = device.Stream(handle);
    CUevent_st* const event = device.Event(event_handle);
    if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) {
      if (stream->capture->invalidated) return cudaErrorStreamCaptureInvalidated;
      event->captured = stream->capture.get();
      event->mark = nullptr;
      return cudaSuccess;
    }
    auto mark = std::make_shared<EventMark>();
    mark->stream = stream;
    mark->sequence = device.last_sequence + 1;
    const cudaError_t enqueued = device.Enqueue(handle, [mark] {
      mark->done = true;
      mark->time_ns = NowNs();
      return cudaSuccess;
    });
    if (enqueued != cudaSuccess) return enqueued;
    event->captured = nullptr;
    event->mark = std::move(mark);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event_handle) {
  return Api("cudaEventSynchronize", CallRule::kAny, [&](DeviceState& device) {
    CUevent_st* const event = device.Event(event_handle);
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (event->captured != nullptr) return cudaErrorCapturedEvent;
    if (event->mark == nullptr || event->mark->done) return cudaSuccess;
    device.RunStream(event->mark->stream, event->mark->sequence);
    return device.sticky;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event_handle) {
  return Api("cudaEventQuery", CallRule::kAny, [&](DeviceState& device) {
    CUevent_st* const event = device.Event(event_handle);
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (event->captured != nullptr) return cudaErrorCapturedEvent;
    if (event->mark == nullptr || event->mark->done) return cudaSuccess;
    device.RunSome(event->mark->stream);
    return device.sticky != cudaSuccess ? device.sticky : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return Api("cudaEventElapsedTime", CallRule::kAny, [&](DeviceState& device) {
    if (milliseconds == nullptr) return cudaErrorInvalidValue;
    CUevent_st* const first = device.Event(start);
    CUevent_st* const last = device.Event(end);
    for (const CUevent_st* event : {first, last}) {
      if (event == nullptr || event->mark == nullptr || !event->timing) {
        return cudaErrorInvalidResourceHandle;
      }
    }
    if (!first->mark->done || !last->mark->done) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(last->mark->time_ns - first->mark->time_ns) * 1e-6f;
    return cudaSuccess;
  });
}
