// Capture and replay, and what may not be done meanwhile.
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "kernels/simt/cuda.h"
#include "kernels/simt/faults.h"

namespace millrace::simt {
namespace {

__global__ void Scale(int* values, int factor) { values[threadIdx.x] *= factor; }

class Graph : public testing::Test {
 protected:
  Graph() {
    Faults::Reset();
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaMalloc(&device_, 128), cudaSuccess);
    EXPECT_EQ(cudaHostAlloc(&host_, 128, cudaHostAllocMapped), cudaSuccess);
  }
  ~Graph() override { Faults::Reset(); }

  void Begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, mode), cudaSuccess);
  }
  // Ends a capture that must have been invalidated.
  void EndInvalid() {
    cudaGraph_t graph = nullptr;
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  }
  cudaGraphExec_t CaptureScale(int factor) {
    Begin();
    EXPECT_EQ(cudaMemcpyAsync(device_, host_, 128, cudaMemcpyHostToDevice, stream_), cudaSuccess);
    MR_LAUNCH(Scale, 1, 32, 0, stream_, device_, factor);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(cudaMemcpyAsync(host_, device_, 128, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    cudaGraphExec_t exec = nullptr;
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return exec;
  }

  cudaStream_t stream_ = nullptr;
  int* device_ = nullptr;
  int* host_ = nullptr;
};

TEST_F(Graph, RunsWhatWasCapturedEachTime) {
  std::iota(host_, host_ + 32, 1);
  const cudaGraphExec_t exec = CaptureScale(3);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host_[9], 10) << "a capture runs nothing";
  EXPECT_EQ(cudaGraphUpload(exec, stream_), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_EQ(host_[9], 10);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host_[9], 30);
  host_[9] = 7;  // the next replay sees what lies there then
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);  // what was launched still runs
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host_[9], 21);
  EXPECT_EQ(host_[0], 9);
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaErrorInvalidValue);
}

TEST_F(Graph, ArgumentsAreCopiedWhenTheyAreCaptured) {
  int factor = 2;
  host_[0] = 5;
  Begin();
  MR_LAUNCH(Scale, 1, 1, 0, stream_, host_, factor);
  factor = 100;
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  cudaGraphExec_t exec = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(host_[0], 10);
}

TEST_F(Graph, AReplayOnFreedMemoryIsAnIllegalAddress) {
  host_[0] = 1;
  const cudaGraphExec_t exec = CaptureScale(3);
  EXPECT_EQ(cudaFree(device_), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
}

TEST_F(Graph, AllocatingInvalidatesACapture) {
  void* pointer = nullptr;
  Begin();
  EXPECT_EQ(cudaMalloc(&pointer, 16), cudaErrorStreamCaptureUnsupported);
  MR_LAUNCH(Scale, 1, 32, 0, stream_, device_, 1);
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
  EndInvalid();
  Begin();
  EXPECT_EQ(cudaFree(device_), cudaErrorStreamCaptureUnsupported);
  EndInvalid();
  Begin();
  EXPECT_EQ(cudaHostAlloc(&pointer, 16, 0), cudaErrorStreamCaptureUnsupported);
  EndInvalid();
  Begin();
  EXPECT_EQ(cudaMemcpy(device_, host_, 16, cudaMemcpyHostToDevice),
            cudaErrorStreamCaptureUnsupported);
  EndInvalid();
}

TEST_F(Graph, WaitingInvalidatesACapture) {
  Begin();
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorStreamCaptureUnsupported);
  EndInvalid();
  Begin(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
  EndInvalid();
  Begin();
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorStreamCaptureUnsupported);
  EndInvalid();
}

TEST_F(Graph, ModesSayWhoMayAllocate) {
  void* pointer = nullptr;
  Begin(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaMalloc(&pointer, 16), cudaSuccess);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);

  const auto elsewhere = [&] {
    cudaError_t error = cudaSuccess;
    std::thread([&] { error = cudaMalloc(&pointer, 16); }).join();
    return error;
  };
  Begin(cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(elsewhere(), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&pointer, 16), cudaErrorStreamCaptureUnsupported);
  EndInvalid();
  Begin(cudaStreamCaptureModeGlobal);
  EXPECT_EQ(elsewhere(), cudaErrorStreamCaptureUnsupported);
  EndInvalid();
}

TEST_F(Graph, BeginAndEndBelongTogether) {
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorIllegalState);
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal),
            cudaErrorStreamCaptureUnsupported);
  Begin();
  EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaErrorIllegalState);
  cudaError_t error = cudaSuccess;
  std::thread([&] { error = cudaStreamEndCapture(stream_, &graph); }).join();
  EXPECT_EQ(error, cudaErrorStreamCaptureWrongThread);
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaErrorInvalidValue);
}

TEST_F(Graph, TheLegacyStreamBreaksABlockingStreamsCapture) {
  EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamCreate(&stream_), cudaSuccess);
  Begin(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaMemsetAsync(device_, 0, 4), cudaErrorStreamCaptureImplicit);
  EndInvalid();
}

TEST_F(Graph, EventsOfACaptureStandForNothingElse) {
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreate(&event), cudaSuccess);
  Begin();
  EXPECT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  Begin();
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event), cudaErrorStreamCaptureIsolation);
  EndInvalid();
}

}  // namespace
}  // namespace millrace::simt
