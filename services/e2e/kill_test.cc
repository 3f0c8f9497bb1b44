// Stages are killed and stopped under load, and no client notices.
#include <gtest/gtest.h>
#include <signal.h>

#include <map>

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

}  // namespace
}  // namespace millrace
