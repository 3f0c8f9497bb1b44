#include "services/supervisor/load_sampler.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/clock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

class LoadSamplerTest : public testing::Test {
 protected:
  LoadSamplerTest() {
    std::string dir =
        std::string(getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp") + "/lXXXXXX";
    EXPECT_NE(mkdtemp(dir.data()), nullptr);
    dir_ = dir;
  }
  ~LoadSamplerTest() override { fs::remove_all(dir_); }

  void Write(const std::string& name, const std::string& text) {
    fs::create_directories(fs::path(dir_ + "/" + name).parent_path());
    std::ofstream(dir_ + "/" + name) << text;
  }

  // /proc/stat: each number of seconds in another column, so that all are seen to count, or not.
  void WriteCpus(std::vector<double> busy_s) {
    // The sum of all has a form that a loose reader takes for CPU 1.
    std::string text = "cpu  1 2 3 4 5 6 7 8 9 0\n";
    for (size_t i = 0; i < busy_s.size(); ++i) {
      const long part = static_cast<long>(busy_s[i] * ticks_ / 5);
      // user nice system idle iowait irq softirq steal guest guest_nice
      text += "cpu" + std::to_string(i);
      for (long n :
           {part, part, part, 123456L + now_, 99L * now_, part, part, 77L * now_, part, 0L}) {
        text += " " + std::to_string(n);
      }
      text += "\n";
    }
    Write("stat", text + "intr 1 2 3\nctxt 4\n");
  }

  void WriteProcess(pid_t pid, double user_s, double system_s, double child_user_s,
                    double child_system_s) {
    std::string text = std::to_string(pid) + " (a) b) R 1 2 3 4 5 6 7 8 9 10";
    for (double s : {user_s, system_s, child_user_s, child_system_s}) {
      text += " " + std::to_string(static_cast<long>(s * ticks_));
    }
    Write(std::to_string(pid) + "/stat", text + " 20 0 1 0 4711 1 2 3\n");
  }

  std::optional<LoadLook> Sample(LoadSampler* sampler, std::vector<pid_t> ours) {
    ++now_;
    return sampler->Sample(ours, now_ * kNanosPerSecond);
  }

  const long ticks_ = sysconf(_SC_CLK_TCK);
  std::string dir_;
  long now_ = 10;
};

TEST_F(LoadSamplerTest, ForeignIsWhatAllDidLessWhatWeDid) {
  LoadSampler sampler(dir_, {0, 2});
  WriteCpus({100, 200, 300});
  WriteProcess(7, 10, 20, 0, 0);
  WriteProcess(8, 1, 1, 1, 1);
  EXPECT_FALSE(Sample(&sampler, {7, 8}).has_value()) << "there is nothing to compare with";
  WriteCpus({101, 201, 300.5});  // CPU 1 is not ours to use
  WriteProcess(7, 10.25, 20.25, 0, 0);
  WriteProcess(8, 1.125, 1, 1.125, 1);
  const std::optional<LoadLook> look = Sample(&sampler, {7, 8});
  ASSERT_TRUE(look.has_value());
  EXPECT_NEAR(look->foreign_cores, 1.5 - 0.75, 0.06);
}

// The time of a process that ends moves to its parent: neither a peak nor a hole.
TEST_F(LoadSamplerTest, AProcessThatEndsLeavesItsTimeToItsParent) {
  LoadSampler sampler(dir_, {0});
  WriteCpus({500});
  WriteProcess(1, 5, 0, 0, 0);
  WriteProcess(2, 80, 0, 0, 0);
  Sample(&sampler, {1, 2});
  WriteCpus({501});
  WriteProcess(1, 5, 0, 80.5, 0);
  fs::remove_all(dir_ + "/2");
  EXPECT_NEAR(Sample(&sampler, {1})->foreign_cores, 0.5, 0.06);
}

TEST_F(LoadSamplerTest, OursIsNeverMoreThanAll) {
  LoadSampler sampler(dir_, {0});
  WriteCpus({500});
  WriteProcess(1, 5, 0, 0, 0);
  Sample(&sampler, {1});
  WriteCpus({501});
  WriteProcess(1, 5, 0, 9, 9);  // a compiler that ran for long was waited for
  EXPECT_EQ(Sample(&sampler, {1})->foreign_cores, 0);
}

TEST_F(LoadSamplerTest, WithoutProcNothingIsKnown) {
  LoadSampler nothing(dir_ + "/none", {0}), elsewhere(dir_, {5});
  WriteCpus({1});
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(Sample(&nothing, {1}).has_value());
    EXPECT_FALSE(Sample(&elsewhere, {1}).has_value());
  }
}

// The files of this kernel can be read: the first look only counts, the second compares.
TEST(LoadSampler, ReadsThisMachine) {
  LoadSampler sampler("/proc", AllowedCpus(0));
  EXPECT_FALSE(sampler.Sample({getpid()}, MonotonicNanos()).has_value());
  EXPECT_TRUE(sampler.Sample({getpid()}, MonotonicNanos()).has_value());
}

TEST_F(LoadSamplerTest, TheLeastQuotaOfTheGroupAndThoseAboveCounts) {
  const auto cores = [this] { return CgroupCores(dir_, dir_ + "/self"); };
  EXPECT_EQ(cores(), std::nullopt);
  Write("self", "0::/a/b\n");
  Write("a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cores(), std::nullopt);
  Write("a/cpu.max", "250000 100000\n");
  EXPECT_EQ(cores(), 2.5);
  Write("a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(cores(), 1.5);
  Write("cpu.max", "50000 100000\n");  // as a container sees it: its own group is the root
  EXPECT_EQ(cores(), 0.5);
}

TEST_F(LoadSamplerTest, TheFirstVersionsQuotaIsReadToo) {
  const auto cores = [this] { return CgroupCores(dir_, dir_ + "/self"); };
  Write("self", "5:memory:/m\n4:cpu,cpuacct:/x\n0::/\n");
  Write("cpu/x/cpu.cfs_quota_us", "-1\n");
  Write("cpu/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(), std::nullopt);
  Write("cpu/x/cpu.cfs_quota_us", "300000\n");
  EXPECT_EQ(cores(), 3.0);
}

}  // namespace
}  // namespace millrace
