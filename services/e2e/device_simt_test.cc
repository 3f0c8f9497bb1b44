// The whole server with the plug-in's own sources and kernels, over the SIMT shim's run-time: what
// would stand on a machine with a GPU, but for the GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "services/e2e/device_rig.h"

namespace millrace {
namespace {

constexpr char kPlugin[] = "kernels/cuda/libmillrace_cuda_simt.so";

// Machines and faults, as kernels/simt/faults.h has them; inherited by every process.
std::unique_ptr<Tree> StartOn(const std::string& machine, const std::string& more = "") {
  setenv("MILLRACE_SIMT_FAULTS", ("streams=eager" + (machine.empty() ? "" : "," + machine)).c_str(),
         1);
  return Tree::Start(WithPlugin(kPlugin, more));
}

TEST(DeviceSimt, RequestsRunThroughTheKernelsAndAreRight) {
  auto tree = StartOn("", "  device: cuda\n");
  EXPECT_EQ(DeviceOf(*tree)["state"], "ready") << DeviceOf(*tree).dump();
  ExpectServesRight(*tree, 24);
  EXPECT_GT(ExecutionCounter(*tree, "device_batches"), 10u);
  EXPECT_EQ(ExecutionCounter(*tree, "device_fell_back"), 0u);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(DeviceSimt, AMachineThatLacksSomethingServesFromTheCpuAndSaysWhat) {
  const struct {
    const char* machine;
    const char* state;
  } cases[] = {
      {"driver=0", "no_driver"}, {"driver=12000", "old_driver"}, {"devices=0", "no_device"}};
  for (const auto& c : cases) {
    auto tree = StartOn(c.machine);
    EXPECT_EQ(DeviceOf(*tree)["state"], c.state) << DeviceOf(*tree).dump();
    EXPECT_NE(DeviceOf(*tree)["why_not"], "");
    ExpectServesRight(*tree, 16);
    EXPECT_EQ(ExecutionCounter(*tree, "device_batches"), 0u);
    EXPECT_EQ(tree->Stop(), 0);
  }
}

TEST(DeviceSimt, AStickyErrorEndsTheWorkerAndEveryRequestIsAnswered) {
  // The first graph that a request launches, some launches after those of the warm-up, in every
  // process: three losses in a row, then the CPU.
  auto tree = StartOn("kernel#60=719");
  ExpectOutlivesLostDevices(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(DeviceSimt, OutOfMemoryAtOpenLeavesThePlanToTheCpu) {
  auto tree = StartOn("cudaMalloc#1+=2");
  EXPECT_EQ(DeviceOf(*tree)["state"], "ready") << DeviceOf(*tree).dump();
  ExpectServesRight(*tree, 16);
  EXPECT_EQ(ExecutionCounter(*tree, "device_batches"), 0u);
  EXPECT_EQ(tree->Status()["deaths"], 0);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
