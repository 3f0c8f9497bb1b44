// Where the observer looks beside pages: the GPU's library and /proc.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "services/observer/nvml.h"
#include "services/observer/process_use.h"

namespace millrace {
namespace {

TEST(Nvml, TellsWhatTheLibraryTells) {
  const std::vector<GpuSample> gpus = Nvml("services/observer/libfake_nvml.so").Sample();
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(gpus[0].uuid, "GPU-a");
  EXPECT_DOUBLE_EQ(*gpus[0].utilization, 0.42);
  EXPECT_EQ(gpus[0].memory_total_bytes, 1000u);
  EXPECT_EQ(gpus[0].memory_used_bytes, 600u);
  EXPECT_DOUBLE_EQ(*gpus[0].power_watts, 123.5);
  EXPECT_FALSE(gpus[0].power_limit_watts.has_value());
  EXPECT_DOUBLE_EQ(*gpus[0].energy_joules, 5);
  EXPECT_FALSE(gpus[1].utilization.has_value());
  EXPECT_EQ(gpus[1].memory_used_bytes, 600u);
}

TEST(Nvml, WithoutALibraryThereAreNoDevices) {
  EXPECT_TRUE(Nvml("no-such-library.so").Sample().empty());
  EXPECT_TRUE(Nvml("libm.so.6").Sample().empty());  // a library, and not that one
}

TEST(ProcessUse, OurOwnIsTold) {
  const std::optional<ProcessUse> use = UseOf(getpid());
  ASSERT_TRUE(use.has_value());
  EXPECT_GT(use->resident_bytes, 1u << 20);
  EXPECT_LT(use->resident_bytes, uint64_t{1} << 40);
  EXPECT_GE(use->threads, 1u);
}

TEST(ProcessUse, ANameMayHoldAnything) {
  const std::string proc = testing::TempDir() + "/proc";
  std::filesystem::create_directories(proc + "/5");
  std::ofstream(proc + "/5/stat")
      << "5 (a) R 1 (b) S 1 2 3 4 5 6 7 8 9 10 300 200 0 0 20 0 7 0 123 4096000 25 1 1\n";
  const std::optional<ProcessUse> use = UseOf(5, proc);
  ASSERT_TRUE(use.has_value());
  EXPECT_DOUBLE_EQ(use->cpu_seconds, 500.0 / static_cast<double>(sysconf(_SC_CLK_TCK)));
  EXPECT_EQ(use->threads, 7u);
  EXPECT_EQ(use->resident_bytes, 25u * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  EXPECT_FALSE(UseOf(6, proc).has_value());
  std::ofstream(proc + "/5/stat") << "5 (a) R 1 2";
  EXPECT_FALSE(UseOf(5, proc).has_value());
}

class RunDelaysTest : public testing::Test {
 protected:
  void Wait(int tid, uint64_t ns) {
    const std::string task = proc + "/5/task/" + std::to_string(tid);
    std::filesystem::create_directories(task);
    std::ofstream(proc + "/5/stat")
        << "5 (a) R 1 1 2 3 4 5 6 7 8 9 10 300 200 0 0 20 0 7 0 123 4096000 25 1 1\n";
    std::ofstream(task + "/schedstat") << "900000000 " << ns << " 12\n";
  }
  void End(int tid) { std::filesystem::remove_all(proc + "/5/task/" + std::to_string(tid)); }
  double Seconds() { return delays.UseOf(5)->run_delay_seconds.value_or(-1); }

  const std::string proc = testing::TempDir() + "/proc_of_delays";
  RunDelays delays{proc};
};

TEST_F(RunDelaysTest, AreOfAllThreadsAndDoNotGoBack) {
  std::filesystem::remove_all(proc);
  Wait(5, 1'000'000'000);
  Wait(6, 500'000'000);
  EXPECT_DOUBLE_EQ(Seconds(), 1.5);
  Wait(6, 750'000'000);
  EXPECT_DOUBLE_EQ(Seconds(), 1.75);
  End(6);
  EXPECT_DOUBLE_EQ(Seconds(), 1.75) << "a thread that ended";
  Wait(6, 250'000'000);
  EXPECT_DOUBLE_EQ(Seconds(), 2.0) << "another under its number";
  Wait(6, 10'000'000);
  EXPECT_DOUBLE_EQ(Seconds(), 2.01) << "and another, between two looks";
  End(5);
  End(6);
  EXPECT_DOUBLE_EQ(Seconds(), -1) << "a kernel that does not say";
  EXPECT_FALSE(delays.UseOf(7).has_value());
}

TEST(RunDelays, OurOwnAreTold) {
  if (!std::filesystem::exists("/proc/self/schedstat")) GTEST_SKIP() << "this kernel says nothing";
  RunDelays delays;
  const auto use = delays.UseOf(getpid());
  ASSERT_TRUE(use.has_value());
  ASSERT_TRUE(use->run_delay_seconds.has_value());
  EXPECT_GE(*use->run_delay_seconds, 0);
  EXPECT_LT(*use->run_delay_seconds, 3600);
}

}  // namespace
}  // namespace millrace
