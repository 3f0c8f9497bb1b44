// What is checked before an upgrade begins: memory, and where the other build's programs are.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "services/supervisor/build_layout.h"
#include "services/supervisor/upgrade_room.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMb = 1 << 20;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/upgrade-XXXXXX";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(root_); }
  void Put(const std::string& name, const std::string& text, mode_t mode = 0600) {
    const std::string path = root_ + "/" + name;
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
  }
  std::string root_;
};

RoomLeft Plenty() {
  RoomLeft left;
  left.budget_bytes = 4096 * kMb;
  return left;
}

TEST(UpgradeRoom, EachLimitRefusesAloneWithItsFigures) {
  const RoomUse use = {200 * kMb, 40 * kMb, 60 * kMb};
  EXPECT_TRUE(CheckRoom(use, Plenty()).ok()) << "what cannot be read limits nothing";
  RoomLeft left = Plenty();
  left.machine_bytes = 300 * kMb;
  left.group_bytes = 300 * kMb;
  EXPECT_TRUE(CheckRoom(use, left).ok()) << "exactly enough";
  left.machine_bytes = 300 * kMb - 1;
  EXPECT_EQ(CheckRoom(use, left).message(),
            "the new build would need about 300 MB beside the present one (shared 200, models 40, "
            "private 60), and the machine has 300 MB available");
  left = Plenty();
  left.group_bytes = 120 * kMb;
  left.group = "/a.slice";
  EXPECT_EQ(CheckRoom(use, left).message(),
            "the new build would need about 300 MB beside the present one (shared 200, models 40, "
            "private 60), and the control group /a.slice has 120 MB left");
  left = Plenty();
  left.budget_bytes = 480 * kMb;
  EXPECT_TRUE(CheckRoom(use, left).ok()) << "private memory is not the budget's";
  left.budget_bytes = 479 * kMb;
  EXPECT_EQ(CheckRoom(use, left).message(),
            "the new build would need about 300 MB beside the present one (shared 200, models 40, "
            "private 60), and shared memory and models of both, 480 MB, pass "
            "supervisor.memory_budget_mb, 479");
}

using RoomFiles = Files;

TEST_F(RoomFiles, TheNarrowestGroupCountsAndItsUnusedCacheDoesNot) {
  Put("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    2048 kB\n");
  Put("proc/self/cgroup", "1:cpu:/old\n0::/a/b\n");
  Put("groups/a/b/memory.max", "max\n");
  Put("groups/a/b/memory.current", "500\n");
  Put("groups/a/memory.max", "10000\n");
  Put("groups/a/memory.current", "9000\n");
  Put("groups/a/memory.stat", "anon 5000\ninactive_file 3000\nactive_file 7\n");
  RoomLeft left = LookForRoom(root_ + "/proc", root_ + "/groups");
  EXPECT_EQ(left.machine_bytes, 2048u * 1024);
  EXPECT_EQ(left.group_bytes, 4000u);
  EXPECT_EQ(left.group, "/a");
  Put("groups/a/b/memory.max", "600\n");
  left = LookForRoom(root_ + "/proc", root_ + "/groups");
  EXPECT_EQ(left.group_bytes, 100u);
  EXPECT_EQ(left.group, "/a/b");
  Put("groups/a/b/memory.current", "700\n");
  EXPECT_EQ(LookForRoom(root_ + "/proc", root_ + "/groups").group_bytes, 0u);
}

TEST_F(RoomFiles, WhereNothingCanBeReadNothingIsLimited) {
  const RoomLeft left = LookForRoom(root_ + "/proc", root_ + "/groups");
  EXPECT_FALSE(left.machine_bytes.has_value());
  EXPECT_FALSE(left.group_bytes.has_value());
  EXPECT_EQ(PrivateBytes(root_ + "/proc", {7}), 0u);
}

TEST_F(RoomFiles, PrivateMemoryIsTheSumOfWhatIsAnonymous) {
  Put("proc/7/status", "VmRSS: 900 kB\nRssAnon:\t     100 kB\nRssFile: 5 kB\n");
  Put("proc/8/status", "RssAnon:\t      20 kB\n");
  EXPECT_EQ(PrivateBytes(root_ + "/proc", {7, 8, 9}), 120u * 1024);
  EXPECT_GT(PrivateBytes("/proc", {getpid()}), 0u);
}

using BuildFiles = Files;

TEST_F(BuildFiles, IsFoundInEachOfItsLayouts) {
  for (const std::string folder : {"", "/usr/lib/millrace", "/lib/millrace", "/services"}) {
    const std::string root = "layout" + folder;
    for (const std::string stage :
         {"supervisor", "registry", "ingress", "features", "execution", "aggregation"}) {
      Put(root + "/" + stage + "/" + stage, "", 0700);
    }
    const std::string compiler =
        folder == "/services" ? "layout/kernels/compile/compiler" : root + "/registry/compiler";
    Put(compiler, "", 0700);
    const absl::StatusOr<Build> build = FindBuild(root_ + "/layout/");
    ASSERT_TRUE(build.ok()) << build.status();
    EXPECT_EQ(build->programs.binaries, root_ + "/" + root);
    EXPECT_EQ(build->supervisor, root_ + "/" + root + "/supervisor/supervisor");
    EXPECT_TRUE(fs::equivalent(build->programs.compiler, root_ + "/" + compiler));
    fs::remove(root_ + "/" + root + "/features/features");
    EXPECT_EQ(
        FindBuild(root_ + "/layout").status().message(),
        "path: program " + root_ + "/" + root + "/features/features: No such file or directory");
    fs::remove_all(root_ + "/layout");
  }
  EXPECT_TRUE(absl::IsNotFound(FindBuild(root_ + "/layout").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FindBuild("layout").status()));
}

}  // namespace
}  // namespace millrace
