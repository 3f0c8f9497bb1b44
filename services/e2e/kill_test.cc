// Stages are killed and stopped under load, and no client notices.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "common/clock.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

constexpr int kKills = 20;
constexpr int kStops = 3;
const char* const kStages[] = {"features0", "execution0", "aggregation0"};

uint64_t Counter(const nlohmann::json& process, const char* name) {
  return process["counters"].value(name, uint64_t{0});
}

// No block of any arena is taken, no unit of a window waits, nothing is in flight.
bool Quiescent(Tree& tree) {
  const nlohmann::json status = tree.Status();
  if (!status.is_object()) return false;
  for (const auto& p : status["processes"]) {
    if (p["state"] != "ready") return false;
    if (Counter(p, "blocks_taken") + Counter(p, "limbo") + Counter(p, "in_flight") > 0)
      return false;
  }
  return true;
}

std::map<int, size_t> Descriptors(Tree& tree, const std::vector<std::string>& survivors) {
  std::map<int, size_t> open;
  open[tree.keeper().pid()] = OpenDescriptors(tree.keeper().pid());
  for (const std::string& name : survivors) {
    const int pid = tree.Process(name)["pid"];
    open[pid] = OpenDescriptors(pid);
  }
  return open;
}

// Load on the longest route: raw columns, an ensemble of two, 32 in flight until it is told to end.
class Steady {
 public:
  explicit Steady(Tree& tree, int retries = 0)
      : load_(tree, "randhie", true,
              {"--in_flight=32", "--duration_ms=0", "--retries=" + std::to_string(retries)}) {
    const uint64_t before = Counter(tree.Process("ingress0"), "answered");
    tree.WaitUntil("the load runs",
                   [&] { return Counter(tree.Process("ingress0"), "answered") > before + 1000; });
  }
  nlohmann::json End() { return load_.End(); }

 private:
  GoldenLoad load_;
};

void ExpectAllAnswered(const nlohmann::json& report) {
  ASSERT_TRUE(report.is_object());
  EXPECT_GT(report["sent"].get<int64_t>(), 1000) << report.dump();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
  EXPECT_EQ(report["failed"], 0) << report.dump();
}

TEST(Kill, StagesKilledAndStoppedUnderLoadLoseNothing) {
  auto tree = Tree::Start({});
  // The first requests open what stays open: the client's connection is not the server's leak.
  EXPECT_EQ(
      GoldenLoad(*tree, "randhie", true, {"--requests=64", "--duration_ms=0"}).Report()["failed"],
      0);
  tree->WaitUntil("quiescence before", [&] { return Quiescent(*tree); });
  const std::vector<std::string> survivors = {"ingress0", "registry0"};
  const auto before = Descriptors(*tree, survivors);
  Steady load(*tree);
  for (int i = 0; i < kKills; ++i) {
    for (const char* stage : kStages) tree->Hurt(stage, SIGKILL);
  }
  for (int i = 0; i < kStops; ++i) {
    for (const char* stage : kStages) tree->Hurt(stage, SIGSTOP);
  }
  ExpectAllAnswered(load.End());
  tree->WaitUntil("quiescence after", [&] { return Quiescent(*tree); });
  const nlohmann::json ingress = tree->Process("ingress0");
  EXPECT_GT(Counter(ingress, "replayed"), 0u);
  EXPECT_EQ(Counter(ingress, "poisoned"), 0u);
  tree->WaitUntil("as many descriptors as before",
                  [&] { return Descriptors(*tree, survivors) == before; });
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Kill, IngressKilledBreaksConnectionsAndARetrySucceeds) {
  auto tree = Tree::Start({});
  const std::vector<std::string> survivors = {"features0", "execution0", "aggregation0"};
  tree->WaitUntil("quiescence before", [&] { return Quiescent(*tree); });
  const auto before = Descriptors(*tree, survivors);
  Steady load(*tree, /*retries=*/10);
  for (int i = 0; i < 5; ++i) tree->Hurt("ingress0", SIGKILL);
  const nlohmann::json report = load.End();
  ExpectAllAnswered(report);
  EXPECT_GT(report["retried"].get<int64_t>(), 0);
  tree->WaitUntil("quiescence after", [&] { return Quiescent(*tree); });
  tree->WaitUntil("as many descriptors as before",
                  [&] { return Descriptors(*tree, survivors) == before; });
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Kill, RegistryKilledComesBackWithTheSameModels) {
  auto tree = Tree::Start({});
  const auto served = [&] {
    nlohmann::json models = tree->Status()["catalog"]["models"];
    for (auto& model : models) model.erase("golden");  // an age
    return models;
  };
  const nlohmann::json models = served();
  Steady load(*tree);
  for (int i = 0; i < 2; ++i) tree->Hurt("registry0", SIGKILL);
  ExpectAllAnswered(load.End());
  EXPECT_EQ(served(), models);
  EXPECT_EQ(tree->Stop(), 0);
}

// What must not change when the supervisor does: who runs, and since when.
std::vector<std::string> Running(const nlohmann::json& status) {
  std::vector<std::string> running;
  for (const auto& p : status["processes"]) {
    running.push_back(nlohmann::json({p["name"], p["pid"], p["incarnation"], p["state"],
                                      p["restarts"], p["catalog_generation"]})
                          .dump());
  }
  return running;
}

std::map<int, size_t> DescriptorsOfAll(Tree& tree) {
  return Descriptors(tree, tree.ProcessNames());
}

int64_t UptimeMs(Tree& tree) {
  const nlohmann::json status = tree.Status();
  return status.is_object() ? status["uptime_ms"].get<int64_t>() : 0;
}

int SupervisorKills() {
  const char* kills = getenv("SUPERVISOR_KILLS");
  return kills == nullptr ? 6 : atoi(kills);
}

bool Scale(Tree& tree, const char* stage, int count) {
  const nlohmann::json reply = tree.Admin({{"verb", "scale"}, {"stage", stage}, {"count", count}});
  return reply.is_object() && reply["ok"] == true;
}

// Every process is ready, and there are so many of them.
void WaitForReady(Tree& tree, size_t count) {
  tree.WaitUntil("that many processes are ready", [&] {
    const nlohmann::json status = tree.Status();
    if (!status.is_object() || status["processes"].size() != count || status["ready"] != true) {
      return false;
    }
    return std::all_of(status["processes"].begin(), status["processes"].end(),
                       [](const auto& p) { return p["state"] == "ready"; });
  });
}

// Nobody is left that the supervisor does not know: the keeper's children are those it tells of.
void ExpectNoStrangers(Tree& tree) {
  tree.WaitUntil("the keeper has no other children", [&] {
    std::vector<int> known = {tree.SupervisorPid()};
    const nlohmann::json status = tree.Status();
    if (!status.is_object()) return false;
    for (const auto& p : status["processes"]) known.push_back(p["pid"]);
    const std::string keeper = std::to_string(tree.keeper().pid());
    std::ifstream children("/proc/" + keeper + "/task/" + keeper + "/children");
    for (int child; children >> child;) {
      if (std::count(known.begin(), known.end(), child) == 0) return false;
    }
    return true;
  });
}

void ExpectGolden(Tree& tree) {
  const nlohmann::json report =
      GoldenLoad(tree, "randhie", true, {"--requests=200", "--duration_ms=0"}).Report();
  EXPECT_EQ(report["answered"], 200) << report.dump();
}

TEST(Kill, SupervisorKilledAgainAndAgainIsNoticedByNobody) {
  auto tree = Tree::Start({});
  WaitForReady(*tree, 6);
  ExpectGolden(*tree);
  Steady load(*tree);
  const nlohmann::json before = tree->Status();
  std::map<int, size_t> open;
  std::vector<int64_t> took_ms;
  for (int i = 1; i <= SupervisorKills(); ++i) {
    // One that lived for less is sound to nobody, and the keeper waits longer each time.
    if (i > 3) {
      tree->WaitUntil("the supervisor has lived for a second",
                      [&] { return UptimeMs(*tree) > 1000; });
    }
    took_ms.push_back(tree->KillSupervisor() / kNanosPerMilli);
    const nlohmann::json now = tree->Status();
    EXPECT_EQ(now["supervisor_restarts"], i);
    EXPECT_EQ(Running(now), Running(before));
    EXPECT_EQ(KeptListeners(now), KeptListeners(before));
    EXPECT_EQ(now["catalog"]["live_generation"], before["catalog"]["live_generation"]);
    EXPECT_EQ(now["deaths"], 0);
    if (i != 2) continue;
    tree->WaitUntil("it has taken over", [&] { return UptimeMs(*tree) > 200; });
    open = DescriptorsOfAll(*tree);
  }
  fprintf(stderr, "from SIGKILL to an answer of the next supervisor, ms:");
  for (int64_t ms : took_ms) fprintf(stderr, " %lld", static_cast<long long>(ms));
  fprintf(stderr, "\n");
  tree->WaitUntil("as many descriptors as after the second adoption",
                  [&] { return DescriptorsOfAll(*tree) == open; });
  // The fleet is in the hands of the last one: it scales and replaces.
  ASSERT_TRUE(Scale(*tree, "execution", 2));
  WaitForReady(*tree, 7);
  ASSERT_TRUE(Scale(*tree, "execution", 1));
  WaitForReady(*tree, 6);
  for (const char* stage : kStages) tree->Hurt(stage, SIGKILL);
  ExpectAllAnswered(load.End());
  tree->WaitUntil("quiescence after", [&] { return Quiescent(*tree); });
  ExpectNoStrangers(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Kill, AWorkerThatDiesWhileThereIsNoSupervisorIsReplaced) {
  auto tree = Tree::Start({});
  Steady load(*tree);
  for (const char* stage : kStages) {
    const nlohmann::json victim = tree->Process(stage), ingress = tree->Process("ingress0");
    // Nobody looks when it dies.
    kill(tree->SupervisorPid(), SIGSTOP);
    kill(victim["pid"].get<int>(), SIGKILL);
    kill(tree->SupervisorPid(), SIGKILL);
    tree->WaitUntil("its next incarnation is ready", [&] {
      const nlohmann::json now = tree->Process(stage);
      return now.is_object() && now["pid"] != victim["pid"] && now["state"] == "ready";
    });
    EXPECT_GT(tree->Process(stage)["incarnation"], victim["incarnation"]);
    EXPECT_EQ(tree->Process("ingress0")["pid"], ingress["pid"]);
  }
  ExpectAllAnswered(load.End());
  ExpectNoStrangers(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Kill, SupervisorKilledWhileItScalesLosesNothing) {
  auto tree = Tree::Start({});
  Steady load(*tree);
  for (int i = 0; i < 6; ++i) {
    const char* stage = i % 2 == 0 ? "execution" : "features";
    // Those of two rounds ago may still be leaving.
    tree->WaitUntil("it can be scaled", [&] { return Scale(*tree, stage, 2 + i % 3); });
    usleep(15'000 * i);  // at other instants of the change each time
    tree->KillSupervisor();
    tree->WaitUntil("the number can be changed back", [&] { return Scale(*tree, stage, 1); });
    if (i >= 3) tree->KillSupervisor();  // and while they leave
    tree->WaitUntil("it is so", [&] { return Scale(*tree, stage, 1); });
  }
  WaitForReady(*tree, 6);
  ExpectAllAnswered(load.End());
  tree->WaitUntil("quiescence after", [&] { return Quiescent(*tree); });
  ExpectNoStrangers(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Kill, SupervisorKilledDuringTheStartGetsThereAllTheSame) {
  for (const char* until : {"", "registry0", "execution0", "ingress0"}) {
    Tree tree({});
    tree.WaitUntil("the start has come so far", [&] {
      if (tree.SupervisorPid() == 0) return false;
      return *until == 0 || tree.Process(until).is_object();
    });
    kill(tree.SupervisorPid(), SIGKILL);
    WaitForReady(tree, 6);
    ExpectGolden(tree);
    ExpectNoStrangers(tree);
    EXPECT_EQ(tree.Stop(), 0);
  }
}

}  // namespace
}  // namespace millrace
