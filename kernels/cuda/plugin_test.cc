// The plug-in's host code over the fake runtime: what its header promises.
#include "kernels/device/plugin.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/testing/plugin_driver.h"
#include "kernels/plan/format.h"
#include "kernels/simt/cuda.h"
#include "kernels/simt/faults.h"

namespace millrace::cuda {
namespace {

constexpr uint64_t kAlways = uint64_t{1} << 40;
const ForestSpec kSpec = {.features = 6, .trees = 30};

class PluginTest : public testing::Test {
 protected:
  PluginTest() {
    simt::Faults::Reset();
    DeviceError error;
    EXPECT_EQ(millrace_device_plugin()->start(0, &info_, &error), DeviceCode::kOk)
        << error.sentence;
  }
  DeviceInfo info_;
};

TEST_F(PluginTest, SaysWhatTheDeviceIs) {
  EXPECT_EQ(millrace_device_plugin()->abi, kDeviceAbi);
  EXPECT_STRNE(info_.name, "");
  EXPECT_GE(info_.compute_major, 8);
  EXPECT_GT(info_.memory_bytes, 0u);
  EXPECT_GT(info_.multiprocessors, 0);
  EXPECT_EQ(info_.reads_host_memory, 1);
}

TEST_F(PluginTest, EveryBatchInEveryWayIsRight) {
  for (const uint64_t in_place_bytes : {uint64_t{0}, uint64_t{600}, kAlways}) {
    Driver driver(kSpec, 70, in_place_bytes);
    ASSERT_EQ(driver.Open(), DeviceCode::kOk) << driver.error.sentence;
    for (const bool registered : {false, true}) {
      if (registered) {
        ASSERT_EQ(driver.Register(), DeviceCode::kOk) << driver.error.sentence;
      }
      for (size_t n = 0; n <= 70; n += n < 20 ? 1 : 7) {
        for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{5}}) {
          ASSERT_EQ(driver.Run(n, piece), DeviceCode::kOk) << driver.error.sentence;
          EXPECT_STREQ(driver.error.sentence, "");
          EXPECT_TRUE(driver.Right()) << n << " rows, pieces of " << piece;
        }
      }
      if (registered) driver.Unregister();
    }
  }
}

// Large enough that a table is worth reading and a piece is worth a copy of its own.
TEST_F(PluginTest, RegisteredMemoryIsReadWhereItIs) {
  const ForestSpec spec = {.features = 1100, .trees = 9};
  const auto copies = [] { return simt::Faults::Calls("cudaMemcpyAsync"); };
  Driver in_place(spec, 40, kAlways);
  ASSERT_EQ(in_place.Open(), DeviceCode::kOk) << in_place.error.sentence;
  ASSERT_EQ(in_place.Register(), DeviceCode::kOk) << in_place.error.sentence;
  uint64_t before = copies();
  ASSERT_EQ(in_place.Run(40, 13), DeviceCode::kOk) << in_place.error.sentence;
  EXPECT_TRUE(in_place.Right());
  EXPECT_EQ(copies(), before);
  in_place.Unregister();

  Driver copied(spec, 40, 0);
  ASSERT_EQ(copied.Open(), DeviceCode::kOk) << copied.error.sentence;
  before = copies();
  ASSERT_EQ(copied.Run(40, 16), DeviceCode::kOk) << copied.error.sentence;
  EXPECT_EQ(copies(), before + 1) << "through the pinned block, at once";
  EXPECT_TRUE(copied.Right());
  ASSERT_EQ(copied.Register(), DeviceCode::kOk) << copied.error.sentence;
  before = copies();
  ASSERT_EQ(copied.Run(40, 16), DeviceCode::kOk) << copied.error.sentence;
  EXPECT_EQ(copies(), before + 3)
      << "two large pieces from where they are, a small one by the block";
  EXPECT_TRUE(copied.Right());
  copied.Unregister();
}

TEST_F(PluginTest, NothingIsAllocatedAfterOpen) {
  Driver driver(kSpec, 64, 600);
  ASSERT_EQ(driver.Open(), DeviceCode::kOk) << driver.error.sentence;
  const auto allocations = [] {
    uint64_t calls = 0;
    for (const char* name : {"cudaMalloc", "cudaHostAlloc", "cudaMallocHost", "cudaHostRegister",
                             "cudaGraphInstantiate", "cudaStreamCreateWithFlags",
                             "cudaEventCreateWithFlags", "cudaFree", "cudaFreeHost"}) {
      calls += simt::Faults::Calls(name);
    }
    return calls;
  };
  const uint64_t before = allocations();
  const uint64_t launches = simt::Faults::Calls("cudaGraphLaunch");
  for (size_t n = 1; n <= 64; ++n) ASSERT_EQ(driver.Run(n), DeviceCode::kOk);
  EXPECT_EQ(allocations(), before);
  EXPECT_EQ(simt::Faults::Calls("cudaGraphLaunch"), launches + 64) << "one graph for each call";
  EXPECT_EQ(simt::Faults::Calls("cudaGetDeviceCount"), 1u);
}

TEST_F(PluginTest, GivesBackWhatItHeld) {
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  Driver driver(kSpec, 16, 0);
  ASSERT_EQ(driver.Open(), DeviceCode::kOk) << driver.error.sentence;
  const uint64_t held = driver.plugin.device_bytes(driver.model);
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(total_bytes - free_bytes, held);
  driver.Close();
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(free_bytes, total_bytes);
}

TEST_F(PluginTest, WrongArgumentsAreNamed) {
  Driver driver(kSpec, 8, 0);
  DeviceModel* model = nullptr;
  std::vector<std::byte> image = driver.image;
  const auto open = [&](const DeviceOptions& options) {
    return driver.plugin.open(image.data(), image.size(), &options, &model, &driver.error);
  };
  image[offsetof(PlanHeader, format_hash)] ^= std::byte{1};
  EXPECT_EQ(open(driver.options), DeviceCode::kInvalid);
  EXPECT_NE(std::string(driver.error.sentence).find("format"), std::string::npos);
  image = driver.image;
  image.pop_back();
  EXPECT_EQ(open(driver.options), DeviceCode::kInvalid);
  image = driver.image;
  EXPECT_EQ(open({.device = 1, .fast = 0, .max_rows = 8, .in_place_bytes = 0}),
            DeviceCode::kInvalid);
  EXPECT_EQ(open({.device = 0, .fast = 0, .max_rows = 0, .in_place_bytes = 0}),
            DeviceCode::kInvalid);
  EXPECT_EQ(model, nullptr);

  ASSERT_EQ(driver.Open(), DeviceCode::kOk) << driver.error.sentence;
  const DevicePiece nine = {driver.rows.data(), 9, nullptr};
  EXPECT_EQ(driver.plugin.run(driver.model, &nine, 1, &driver.error), DeviceCode::kInvalid);
  EXPECT_NE(std::string(driver.error.sentence).find("8 rows"), std::string::npos);
  const DevicePiece huge[] = {{driver.rows.data(), 8, nullptr},
                              {driver.rows.data(), ~uint64_t{0}, nullptr}};
  EXPECT_EQ(driver.plugin.run(driver.model, huge, 2, &driver.error), DeviceCode::kInvalid);
  const std::vector<DevicePiece> many(kMaxDevicePieces + 1, {driver.rows.data(), 0, nullptr});
  EXPECT_EQ(driver.plugin.run(driver.model, many.data(), many.size(), &driver.error),
            DeviceCode::kInvalid);
}

TEST_F(PluginTest, RegistrationsDoNotOverlap) {
  const DevicePlugin& plugin = *millrace_device_plugin();
  const std::vector<char> memory(3000);
  DeviceError error;
  const auto add = [&](size_t at, size_t bytes) {
    return plugin.register_memory(memory.data() + at, bytes, &error);
  };
  EXPECT_EQ(add(0, 0), DeviceCode::kInvalid);
  EXPECT_EQ(add(1000, 1000), DeviceCode::kOk) << error.sentence;
  EXPECT_EQ(add(1000, 1000), DeviceCode::kInvalid);
  EXPECT_EQ(add(500, 501), DeviceCode::kInvalid);
  EXPECT_EQ(add(1999, 10), DeviceCode::kInvalid);
  EXPECT_EQ(add(2000, 1000), DeviceCode::kOk) << error.sentence;
  EXPECT_EQ(add(0, 1000), DeviceCode::kOk) << error.sentence;
  plugin.unregister_memory(memory.data() + 1);  // no such range: nothing happens
  for (const size_t at : {0, 1000, 2000}) plugin.unregister_memory(memory.data() + at);
  EXPECT_EQ(add(500, 2000), DeviceCode::kOk) << error.sentence;
  plugin.unregister_memory(memory.data() + 500);
  EXPECT_EQ(simt::Faults::Calls("cudaHostUnregister"), 4u);
}

TEST_F(PluginTest, ModelsRunSideBySide) {
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 3; ++i) {
    threads.emplace_back([i] {
      ForestSpec spec = kSpec;
      spec.seed = i + 1;
      spec.family = i % 2 == 0 ? TreeFamily::kXgboost : TreeFamily::kLightgbm;
      Driver driver(spec, 16, 300);
      ASSERT_EQ(driver.Open(), DeviceCode::kOk) << driver.error.sentence;
      for (size_t n = 1; n <= 16; ++n) {
        ASSERT_EQ(driver.Run(n), DeviceCode::kOk) << driver.error.sentence;
        EXPECT_TRUE(driver.Right());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace millrace::cuda
