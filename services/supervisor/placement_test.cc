#include "services/supervisor/placement.h"

#include <pwd.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "gtest/gtest.h"
#include "ipc/control_channel.h"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/spawn.h"

namespace millrace {
namespace {

using testing::Test;

// A kernel's folders, made of files.
class PlacementTest : public Test {
 protected:
  void SetUp() override {
    std::string name = std::string(getenv("TEST_TMPDIR")) + "/placement.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    roots = {name + "/groups", name + "/own", name + "/nodes"};
    for (const std::string& folder :
         {roots.groups, roots.groups + "/unit", roots.groups + "/unit/core",
          roots.groups + "/unit/features", roots.nodes, roots.nodes + "/node1"}) {
      ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
    }
    Write(roots.own_group, "1:name=x:/old\n0::/unit\n");
    Write(Unit("cgroup.controllers"), "cpu memory pids\n");
    for (const char* file : {"cgroup.subtree_control", "core/cgroup.procs", "features/memory.max",
                             "features/cgroup.procs"}) {
      Write(Unit(file), "");
    }
  }

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::string Unit(const std::string& file) const { return roots.groups + "/unit/" + file; }
  std::string OnlyFault(const Config& config) const {
    const std::vector<std::string> faults = Placer::Check(config, roots);
    EXPECT_EQ(faults.size(), 1u);
    return faults.empty() ? "" : faults[0];
  }

  PlacementRoots roots;
};

TEST_F(PlacementTest, HugePagesThatArePartlyThereAreRefusedWhereTheyAreRequired) {
  roots.huge_pages = roots.nodes;
  Config config;
  config.huge_pages = "require";
  EXPECT_EQ(OnlyFault(config).find("memory.huge_pages: this machine has 0 pages"), 0u);
  EXPECT_EQ(Placer::Make(config, roots).placer, nullptr);
  // 26 pages for each of three workers, 19 for each of two lanes, and all of it twice.
  Write(roots.huge_pages + "/nr_hugepages", "231\n");
  EXPECT_NE(OnlyFault(config).find("has 231 pages of 2 MiB"), std::string::npos);
  EXPECT_NE(OnlyFault(config).find(" need 232 "), std::string::npos) << OnlyFault(config);
  Write(roots.huge_pages + "/nr_hugepages", "232\n");
  EXPECT_TRUE(Placer::Check(config, roots).empty());
  config.execution_spare = 1;
  EXPECT_NE(OnlyFault(config).find(" need "), std::string::npos) << "a spare has one, too";
  Write(roots.huge_pages + "/nr_hugepages", "0\n");
  config.huge_pages = "try";
  EXPECT_TRUE(Placer::Check(config, roots).empty());
}

TEST_F(PlacementTest, TheHeapIsSampledOfTheStagesThatAreNamed) {
  Config config;
  config.features_heap_profile = "true";
  const Placer::Made made = Placer::Make(config, roots);
  ASSERT_NE(made.placer, nullptr);
  for (size_t i = 0; i < kStageCount; ++i) {
    const auto stage = static_cast<Stage>(i);
    EXPECT_EQ(made.placer->For(stage).samples_heap, stage == Stage::kFeatures) << StageName(stage);
  }
}

TEST_F(PlacementTest, NothingAskedIsNothingDone) {
  const Placer::Made made = Placer::Make(Config(), roots);
  ASSERT_NE(made.placer, nullptr);
  for (const Stage stage : {Stage::kIngress, Stage::kExecution, Stage::kRegistry}) {
    const ChildPlacement& place = made.placer->For(stage);
    EXPECT_FALSE(place.has_user);
    EXPECT_EQ(place.fifo_priority, 0);
    EXPECT_EQ(place.numa_node, -1);
    EXPECT_EQ(place.group_fd, -1);
  }
  EXPECT_EQ(Read(Unit("cgroup.subtree_control")), "") << "the group is left alone";
}

TEST_F(PlacementTest, WhatTheMachineLacksIsToldByField) {
  Config config;
  config.features_user = "nobody-of-that-name";
  EXPECT_EQ(OnlyFault(config), "features.user: there is no user nobody-of-that-name");
  config = Config();
  config.execution_numa_node = 1;
  EXPECT_TRUE(Placer::Check(config, roots).empty());
  config.execution_numa_node = 2;
  EXPECT_EQ(OnlyFault(config), "execution.numa_node: this machine has no node 2");
}

TEST_F(PlacementTest, EveryFaultAtOnce) {
  Config config;
  config.ingress_user = config.registry_user = "nobody-of-that-name";
  config.aggregation_numa_node = 9;
  EXPECT_EQ(Placer::Check(config, roots).size(), 3u);
  const Placer::Made made = Placer::Make(config, roots);
  EXPECT_EQ(made.placer, nullptr);
  EXPECT_EQ(made.faults.size(), 3u);
}

TEST_F(PlacementTest, AMemoryLimitNeedsAGroupThatMayBeDivided) {
  Config config;
  config.features_memory_limit_mb = 64;
  EXPECT_TRUE(Placer::Check(config, roots).empty());
  Write(Unit("cgroup.controllers"), "cpu pids\n");
  EXPECT_NE(OnlyFault(config).find("has no memory controller"), std::string::npos);
  Write(roots.own_group, "1:memory:/unit\n");
  EXPECT_EQ(OnlyFault(config), "features.memory_limit_mb: this machine has no cgroup v2");
}

TEST_F(PlacementTest, AGroupForEachLimitedStageAndOneForTheServersOwnProcesses) {
  Config config;
  config.features_memory_limit_mb = 64;
  const Placer::Made made = Placer::Make(config, roots);
  ASSERT_NE(made.placer, nullptr) << made.faults[0];
  EXPECT_EQ(Read(Unit("cgroup.subtree_control")), "+memory");
  EXPECT_EQ(Read(Unit("features/memory.max")), "67108864");
  EXPECT_NE(Read(Unit("core/cgroup.procs")), "");
  EXPECT_EQ(made.placer->For(Stage::kExecution).group_fd, -1);
  ASSERT_GE(made.placer->For(Stage::kFeatures).group_fd, 0);
  ASSERT_TRUE(Apply({.group_fd = made.placer->For(Stage::kFeatures).group_fd}));
  EXPECT_EQ(Read(Unit("features/cgroup.procs")), "0") << "the kernel's word for: who writes this";
}

TEST_F(PlacementTest, ALaterSupervisorFindsItselfInTheGroupOfTheFirst) {
  Config config;
  config.features_memory_limit_mb = 64;
  Write(roots.own_group, "0::/unit/core\n");
  // The kernel shows the controllers there, too.
  Write(Unit("core/cgroup.controllers"), "memory\n");
  Write(Unit("core/cgroup.subtree_control"), "");
  const Placer::Made made = Placer::Make(config, roots);
  ASSERT_NE(made.placer, nullptr) << made.faults[0];
  EXPECT_EQ(Read(Unit("features/memory.max")), "67108864");
}

// Exit code of a child that was put somewhere and ran `script`.
int RunPlaced(const ChildPlacement& place, const std::string& script) {
  auto pair = std::move(*ControlChannel::MakePair());
  const auto child = SpawnChild({"/bin/bash", "-c", script}, std::move(pair.second), {}, place);
  siginfo_t info = {};
  waitid(static_cast<idtype_t>(P_PIDFD), child->pidfd.get(), &info, WEXITED);
  return info.si_status;
}

// In some containers there is only the user that one is.
bool OtherUsersExist() {
  std::ifstream map("/proc/self/uid_map");
  int64_t first = 0, outside = 0, count = 0;
  return map >> first >> outside >> count && count > 1;
}

TEST(PlacedChild, RunsAsItsUserWithoutOtherGroups) {
  if (geteuid() != 0 || !OtherUsersExist()) GTEST_SKIP() << "nobody here can change the user";
  const passwd* nobody = getpwnam("nobody");
  ASSERT_NE(nobody, nullptr);
  const ChildPlacement place = {.has_user = true, .uid = nobody->pw_uid, .gid = nobody->pw_gid};
  const std::string id = std::to_string(nobody->pw_uid), group = std::to_string(nobody->pw_gid);
  EXPECT_EQ(RunPlaced(place, "[ \"$(id -u) $(id -ru) $(id -G)\" = '" + id + " " + id + " " + group +
                                 "' ]"),
            0);
  EXPECT_EQ(RunPlaced({}, "[ $(id -u) = 0 ]"), 0);
}

TEST(PlacedChild, HasTheRealTimePriorityWhereItIsAllowed) {
  Config config;
  config.execution_fifo_priority = 3;
  const Placer::Made made = Placer::Make(config);
  if (made.placer == nullptr) {
    ASSERT_EQ(made.faults.size(), 1u);
    EXPECT_NE(made.faults[0].find("execution.fifo_priority: SCHED_FIFO is not allowed here"),
              std::string::npos);
    return;
  }
  EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER) << "trying it left no trace";
  // Fields 40 and 41 of its stat: priority and policy.
  EXPECT_EQ(RunPlaced(made.placer->For(Stage::kExecution),
                      "[ \"$(cut -d' ' -f40,41 /proc/self/stat)\" = '3 1' ]"),
            0);
}

TEST(PlacedChild, OneThatCannotBePutThereDoesNotRun) {
  EXPECT_EQ(RunPlaced({.group_fd = 1'000'000}, "exit 0"), kExitPlacement) << "no such group";
}

TEST(UsersAreSeparate, OnlyWithOneForEachStage) {
  Config config;
  EXPECT_FALSE(UsersAreSeparate(config));
  if (geteuid() != 0) return;
  config.ingress_user = "daemon";
  config.features_user = "bin";
  config.execution_user = "sys";
  config.aggregation_user = "games";
  config.registry_user = "man";
  config.observer_user = "news";
  EXPECT_TRUE(UsersAreSeparate(config));
  config.registry_user = "games";
  EXPECT_FALSE(UsersAreSeparate(config)) << "two share one";
  config.registry_user = "root";
  EXPECT_FALSE(UsersAreSeparate(config));
}

}  // namespace
}  // namespace millrace
