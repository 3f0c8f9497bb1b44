// The whole server with the plug-in as it is installed, on this machine's GPU; skipped where there
// is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <set>
#include <string>

#include "services/e2e/device_rig.h"
#include "services/e2e/http_call.h"

namespace millrace {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Why a machine has no GPU that the plug-in can use; everything else is a fault.
const std::set<std::string> kNone = {"no_library", "not_loadable", "no_driver", "old_driver",
                                     "no_device"};
constexpr char kPlugin[] = "kernels/cuda/libmillrace_cuda.so";

std::string Metrics(Tree& tree) {
  return HttpCall(tree.Address("metrics"), "/metrics", "").Finish().body;
}

class Gpu : public testing::Test {
 protected:
  // Null, and the test is skipped, where the server says that there is no GPU.
  std::unique_ptr<Tree> StartOnGpu(const std::string& more) {
    auto tree = Tree::Start(WithPlugin(kPlugin, more));
    const nlohmann::json device = DeviceOf(*tree);
    const std::string state = device.value("state", "");
    if (state == "ready") return tree;
    const bool too_old = device.value("why_not", "").find("the kernels need") != std::string::npos;
    EXPECT_TRUE(too_old || kNone.count(state) > 0) << device.dump();
    ExpectServesRight(*tree, 8);
    EXPECT_EQ(tree->Stop(), 0);
    return nullptr;
  }
};

TEST_F(Gpu, RequestsRunOnItAndAreRight) {
  auto tree = StartOnGpu("");
  if (tree == nullptr) GTEST_SKIP() << "no GPU";
  ExpectServesRight(*tree, 400);
  EXPECT_GT(ExecutionCounter(*tree, "device_batches"), 100u);
  EXPECT_EQ(ExecutionCounter(*tree, "device_fell_back"), 0u);
  EXPECT_EQ(ExecutionCounter(*tree, "device_halved"), 0u);
  EXPECT_EQ(tree->Stop(), 0);
}

// Measured when it is loaded: each model has a side for each size of batch.
TEST_F(Gpu, EachModelGoesWhereItWasMeasuredToBeFaster) {
  auto tree = StartOnGpu("  device_from_rows: 0\n");
  if (tree == nullptr) GTEST_SKIP() << "no GPU";
  ExpectServesRight(*tree, 100);
  const std::string status =
      Child({"tools/millrace/millrace", "status", "--admin-socket=" + tree->admin_socket()}, true)
          .Output();
  EXPECT_THAT(status, HasSubstr("breast_cancer 1: rows 1: cpu "));
  EXPECT_EQ(tree->Stop(), 0);
}

// A worker is killed while the device runs its batches: the next one gets the device.
TEST_F(Gpu, TheNextWorkerHasTheDeviceAgain) {
  auto tree = StartOnGpu("");
  if (tree == nullptr) GTEST_SKIP() << "no GPU";
  for (int kill = 0; kill < 5; ++kill) {
    GoldenLoad load(
        *tree, "digits", false,
        {"--requests=0", "--duration_ms=60000", "--in_flight=16", "--rows_per_request=7"});
    const uint64_t before = ExecutionCounter(*tree, "device_batches");
    tree->WaitUntil("batches run on the device",
                    [&] { return ExecutionCounter(*tree, "device_batches") > before + 20; });
    tree->Hurt("execution0", SIGKILL);
    EXPECT_EQ(DeviceOf(*tree)["state"], "ready") << DeviceOf(*tree).dump();
    tree->WaitUntil("the next worker's batches do",
                    [&] { return ExecutionCounter(*tree, "device_batches") > 20; });
    const nlohmann::json report = load.End();
    EXPECT_GT(report["answered"], 0) << report.dump();
    EXPECT_EQ(report["failed"], 0) << report.dump();
    EXPECT_EQ(report["mismatched"], 0) << report.dump();
    EXPECT_EQ(ExecutionCounter(*tree, "device_fell_back"), 0u);
  }
  EXPECT_EQ(tree->Stop(), 0);
}

TEST_F(Gpu, TracesAndMetricsTellOfIt) {
  auto tree = StartOnGpu("");
  if (tree == nullptr) GTEST_SKIP() << "no GPU";
  std::string row = "0";
  for (int i = 1; i < 64; ++i) row += ",0";
  const std::string body =
      R"({"inputs":[{"name":"input","shape":[1,64],"datatype":"FP32","data":[)" + row + "]}]}";
  std::string spans;
  // The lanes have their rings a moment after they serve.
  tree->WaitUntil("a traced request's steps on the device", [&] {
    const std::string field =
        "traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n";
    HttpCall(tree->Address("http"), "/v2/models/digits/infer", body, field).Finish();
    spans = HttpCall(tree->Address("metrics"), "/api/traces?limit=1", "").Finish().body;
    return spans.find("\"kernel\"") != std::string::npos;
  });
  for (const char* step : {"host to device", "kernel", "synchronize", "device to host"}) {
    EXPECT_THAT(spans, HasSubstr(step));
  }
  std::string metrics;
  tree->WaitUntil("the GPU is in the metrics", [&] {
    metrics = Metrics(*tree);
    return metrics.find("\nnv_gpu_memory_total_bytes{") != std::string::npos &&
           metrics.find("\nmillrace_trace_gpu_seconds_count{") != std::string::npos;
  });
  EXPECT_THAT(metrics, ContainsRegex("nv_gpu_utilization[{]gpu_uuid=\"GPU-"));
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
