// Capture of a stream, and graphs.
#include <memory>
#include <utility>

#include "kernels/simt/device_state.h"

using millrace::simt::Api;
using millrace::simt::CallRule;
using millrace::simt::Capture;
using millrace::simt::DeviceState;
using millrace::simt::Nodes;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return Api("cudaStreamBeginCapture", CallRule::kAny, [&](DeviceState& device) {
    if (handle == nullptr) return cudaErrorStreamCaptureUnsupported;  // the legacy stream cannot
    CUstream_st* const stream = device.Stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (mode < cudaStreamCaptureModeGlobal || mode > cudaStreamCaptureModeRelaxed) {
      return cudaErrorInvalidValue;
    }
    if (stream->capture != nullptr) return cudaErrorIllegalState;
    stream->capture = std::make_unique<Capture>();
    stream->capture->mode = mode;
    stream->capture->thread = std::this_thread::get_id();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return Api("cudaStreamEndCapture", CallRule::kAny, [&](DeviceState& device) {
    if (graph == nullptr) return cudaErrorInvalidValue;
    *graph = nullptr;
    CUstream_st* const stream = device.Stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture == nullptr) return cudaErrorIllegalState;
    if (stream->capture->mode != cudaStreamCaptureModeRelaxed &&
        stream->capture->thread != std::this_thread::get_id()) {
      return cudaErrorStreamCaptureWrongThread;
    }
    const std::unique_ptr<Capture> capture = std::move(stream->capture);
    if (capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    auto made = std::make_unique<CUgraph_st>();
    made->nodes = std::move(capture->nodes);
    *graph = made.get();
    device.graphs.emplace(*graph, std::move(made));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return Api("cudaStreamIsCapturing", CallRule::kAny, [&](DeviceState& device) {
    CUstream_st* const stream = device.Stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (status == nullptr) return cudaErrorInvalidValue;
    *status = stream->capture == nullptr     ? cudaStreamCaptureStatusNone
              : stream->capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                             : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags) {
  return Api("cudaGraphInstantiate", CallRule::kAny, [&](DeviceState& device) {
    if (exec == nullptr || flags != 0) return cudaErrorInvalidValue;
    const auto found = device.graphs.find(graph);
    if (found == device.graphs.end()) return cudaErrorInvalidValue;
    auto made = std::make_unique<CUgraphExec_st>();
    made->nodes = std::make_shared<const Nodes>(found->second->nodes);
    *exec = made.get();
    device.execs.emplace(*exec, std::move(made));
    return cudaSuccess;
  });
}

static cudaError_t EnqueueGraph(DeviceState& device, cudaGraphExec_t exec, cudaStream_t handle,
                                bool run) {
  CUstream_st* const stream = device.Stream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  const auto found = device.execs.find(exec);
  if (found == device.execs.end()) return cudaErrorInvalidValue;
  if (stream->capture != nullptr) {  // a graph inside a graph is not modelled
    stream->capture->invalidated = true;
    return run ? cudaErrorNotSupported : cudaErrorStreamCaptureUnsupported;
  }
  if (!run) return cudaSuccess;
  return device.Enqueue(handle, [nodes = found->second->nodes] {
    for (const auto& node : *nodes) {
      const cudaError_t error = node();
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return Api("cudaGraphUpload", CallRule::kAny,
             [&](DeviceState& device) { return EnqueueGraph(device, exec, stream, false); });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return Api("cudaGraphLaunch", CallRule::kAny,
             [&](DeviceState& device) { return EnqueueGraph(device, exec, stream, true); });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return Api("cudaGraphExecDestroy", CallRule::kAny, [&](DeviceState& device) {
    return device.execs.erase(exec) == 1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return Api("cudaGraphDestroy", CallRule::kAny, [&](DeviceState& device) {
    return device.graphs.erase(graph) == 1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}
