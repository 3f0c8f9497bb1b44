#include "kernels/bench/gpu_floors.h"

#include <stdint.h>

#include <algorithm>

#include "kernels/simt/cuda.h"

namespace millrace {
namespace {

__global__ void Nothing(int) {}

__global__ void StoreFlag(volatile uint64_t* flag, const volatile uint64_t* value) {
  *flag = *value;
}

// Remembers the first error; everything after it is skipped.
class Floors {
 public:
  ~Floors() {
    for (cudaGraphExec_t graph : {nothing_, flag_}) {
      if (graph != nullptr) cudaGraphExecDestroy(graph);
    }
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
    if (device_ != nullptr) cudaFree(device_);
    if (pinned_ != nullptr) cudaFreeHost(pinned_);
  }

  std::string Measure(std::span<const size_t> copy_bytes, const FloorSink& sink) {
    const size_t most = *std::max_element(copy_bytes.begin(), copy_bytes.end());
    void* mapped = nullptr;
    Must(cudaSetDevice(0), "cudaSetDevice");
    Must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    Must(cudaMalloc(&device_, most), "cudaMalloc");
    Must(cudaHostAlloc(&pinned_, most + 256, cudaHostAllocMapped), "cudaHostAlloc");
    if (fault_.empty()) Must(cudaHostGetDevicePointer(&mapped, pinned_, 0), "device pointer");
    auto* flag = static_cast<uint64_t*>(mapped);
    nothing_ = Capture([&] { MR_LAUNCH(Nothing, 1, 32, 0, stream_, 0); });
    flag_ = Capture([&] { MR_LAUNCH(StoreFlag, 1, 1, 0, stream_, flag, flag + 8); });
    if (!fault_.empty()) return fault_;

    sink("empty graph, launch and synchronize", [&] {
      Must(cudaGraphLaunch(nothing_, stream_), "cudaGraphLaunch");
      Must(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    });
    auto* words = static_cast<volatile uint64_t*>(static_cast<void*>(pinned_));
    words[0] = 0;
    words[8] = 0;
    sink("graph of one store, launch until the host sees it", [&] {
      words[8] = words[8] + 1;
      Must(cudaGraphLaunch(flag_, stream_), "cudaGraphLaunch");
      for (uint32_t i = 0; words[0] != words[8] && fault_.empty(); ++i) {
        if (i % 256 != 255) continue;
        const cudaError_t answer = cudaStreamQuery(stream_);
        if (answer != cudaErrorNotReady) Must(answer, "cudaStreamQuery");
      }
    });
    for (const size_t bytes : copy_bytes) {
      sink("copy of " + std::to_string(bytes) + " bytes to the device", [&] {
        Must(cudaMemcpyAsync(device_, pinned_, bytes, cudaMemcpyHostToDevice, stream_),
             "cudaMemcpyAsync");
        Must(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
      });
    }
    return fault_;
  }

 private:
  void Must(cudaError_t answer, const char* call) {
    if (answer == cudaSuccess || !fault_.empty()) return;
    fault_ = std::string(call) + ": " + cudaGetErrorString(answer);
  }

  cudaGraphExec_t Capture(const std::function<void()>& launch) {
    if (!fault_.empty()) return nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    Must(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin capture");
    launch();
    Must(cudaStreamEndCapture(stream_, &graph), "end capture");
    if (fault_.empty()) Must(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    if (graph != nullptr) cudaGraphDestroy(graph);
    return executable;
  }

  std::string fault_;
  cudaStream_t stream_ = nullptr;
  char* device_ = nullptr;
  char* pinned_ = nullptr;
  cudaGraphExec_t nothing_ = nullptr;
  cudaGraphExec_t flag_ = nullptr;
};

}  // namespace

std::string MeasureFloors(std::span<const size_t> copy_bytes, const FloorSink& sink) {
  return Floors().Measure(copy_bytes, sink);
}

}  // namespace millrace
