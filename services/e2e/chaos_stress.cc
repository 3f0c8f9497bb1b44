// Random faults on a whole server under load, from a seed: what clients were told is checked
// request by request by the load generators, and that nothing is left behind.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "services/e2e/tree.h"

namespace millrace {
namespace {

using nlohmann::json;

// MILLRACE_STRESS=long: as many as a night's work is held to.
int Faults() { return getenv("MILLRACE_STRESS") == nullptr ? 40 : 500; }

uint32_t Seed() {
  const char* given = getenv("MILLRACE_CHAOS_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(atoll(given)) : 20'261'126;
  printf("MILLRACE_CHAOS_SEED=%u\n", seed);
  return seed;
}

constexpr char kConfig[] =
    "features: {workers: 2}\n"
    "execution: {workers: 2}\n"
    "aggregation: {workers: 2}\n"
    "supervisor: {hang_ms: 500}\n";
constexpr int kLeastWorkers = 1, kMostWorkers = 3;

uint64_t Counter(const json& process, const char* name) {
  return process["counters"].value(name, uint64_t{0});
}

bool Quiescent(Tree& tree) {
  const json status = tree.Status();
  for (const json& process : status["processes"]) {
    if (process["state"] != "ready") return false;
    if (Counter(process, "blocks_taken") + Counter(process, "limbo") +
            Counter(process, "in_flight") >
        0) {
      return false;
    }
  }
  return true;
}

void Reload(Tree& tree) {
  const uint64_t before = tree.Status()["catalog"]["live_generation"];
  EXPECT_EQ(tree.Admin({{"verb", "reload"}})["ok"], true);
  tree.WaitUntil("the new catalog is live", [&] {
    return tree.Status()["catalog"]["live_generation"].get<uint64_t>() > before;
  });
}

// Three loads at once, each comparing every answer with the golden one; `third`: the listener of
// the last one.
class Clients {
 public:
  Clients(Tree& tree, int retries, const std::string& third) {
    const std::string again = "--retries=" + std::to_string(retries);
    const std::vector<std::string> flags = {"--in_flight=16", "--duration_ms=0", again};
    loads_.push_back(std::make_unique<GoldenLoad>(tree, "randhie", true, flags));
    loads_.push_back(std::make_unique<GoldenLoad>(tree, "breast_cancer", false, flags, "http"));
    loads_.push_back(std::make_unique<GoldenLoad>(tree, "digits", false, flags, third));
    tree.WaitUntil("the loads run", [&] {
      uint64_t answered = 0;
      const json status = tree.Status();
      for (const json& process : status["processes"]) {
        if (process["stage"] == "ingress") answered += Counter(process, "answered");
      }
      return answered > 2000;
    });
  }

  std::vector<json> End() {
    std::vector<json> reports;
    for (auto& load : loads_) reports.push_back(load->End());
    return reports;
  }

 private:
  std::vector<std::unique_ptr<GoldenLoad>> loads_;
};

class Chaos {
 public:
  Chaos(Tree& tree, uint32_t seed) : tree_(tree), random_(seed) {}

  // A worker dies, hangs, or comes or goes; or all models are read again.
  void HurtWorkers() {
    static const char* const kStages[] = {"features", "execution", "aggregation"};
    const std::string stage = kStages[Below(3)];
    switch (Below(6)) {
      case 0:
      case 1:
        return tree_.Hurt(Worker(stage), SIGKILL);
      case 2:
        return tree_.Hurt(Worker(stage), SIGSEGV);
      case 3:
        return tree_.Hurt(Worker(stage), SIGSTOP);
      case 4:
        return Scale(stage, kLeastWorkers + Below(kMostWorkers - kLeastWorkers + 1));
      default:
        return Reload(tree_);
    }
  }

  // Those whose death clients or operators may notice.
  void HurtTheRest() {
    if (Below(2) == 0) return tree_.Hurt("ingress0", SIGKILL);
    tree_.Hurt("registry0", SIGKILL);
  }

 private:
  int Below(int count) { return std::uniform_int_distribution<int>(0, count - 1)(random_); }

  std::string Worker(const std::string& stage) {
    std::vector<std::string> names;
    for (const std::string& name : tree_.ProcessNames()) {
      if (name.rfind(stage, 0) == 0) names.push_back(name);
    }
    return names[static_cast<size_t>(Below(static_cast<int>(names.size())))];
  }

  void Scale(const std::string& stage, int count) {
    EXPECT_EQ(tree_.Admin({{"verb", "scale"}, {"stage", stage}, {"count", count}})["ok"], true);
    tree_.WaitUntil("the scale is done", [&] {
      int ready = 0, other = 0;
      const json status = tree_.Status();
      for (const json& process : status["processes"]) {
        if (process["stage"] != stage) continue;
        (process["state"] == "ready" ? ready : other) += 1;
      }
      return ready == count && other == 0;
    });
  }

  Tree& tree_;
  std::mt19937 random_;
};

void ExpectNothingLeft(Tree& tree, size_t keeper_descriptors) {
  for (const char* stage : {"features", "execution", "aggregation"}) {
    EXPECT_EQ(tree.Admin({{"verb", "scale"}, {"stage", stage}, {"count", 2}})["ok"], true);
  }
  tree.WaitUntil("quiescence", [&] { return Quiescent(tree); });
  tree.WaitUntil("the keeper holds as many descriptors as before",
                 [&] { return OpenDescriptors(tree.keeper().pid()) == keeper_descriptors; });
}

TEST(Chaos, FaultsOfWorkersFailNoRequest) {
  auto tree = Tree::Start({.config = kConfig});
  Reload(*tree);  // from now on the keeper holds two catalogs: the newest and the one before
  tree->WaitUntil("quiescence before", [&] { return Quiescent(*tree); });
  const size_t descriptors = OpenDescriptors(tree->keeper().pid());
  Chaos chaos(*tree, Seed());
  Clients clients(*tree, /*retries=*/0, "local");
  for (int i = 0; i < Faults(); ++i) chaos.HurtWorkers();
  for (const json& report : clients.End()) {
    ASSERT_TRUE(report.is_object());
    EXPECT_GT(report["sent"].get<int64_t>(), 1000) << report.dump();
    EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
    EXPECT_EQ(report["mismatched"], 0) << report.dump();
  }
  ExpectNothingLeft(*tree, descriptors);
  EXPECT_EQ(tree->Stop(), 0);
}

// A connection that breaks is UNAVAILABLE; asked again, each request has its one right answer.
TEST(Chaos, FaultsOfEveryProcessGiveDocumentedCodesAndRightAnswers) {
  auto tree = Tree::Start({.config = kConfig});
  Reload(*tree);  // from now on the keeper holds two catalogs: the newest and the one before
  tree->WaitUntil("quiescence before", [&] { return Quiescent(*tree); });
  const size_t descriptors = OpenDescriptors(tree->keeper().pid());
  Chaos chaos(*tree, Seed() + 1);
  Clients clients(*tree, /*retries=*/20, "grpc");
  for (int i = 0; i < Faults() / 4; ++i) {
    chaos.HurtWorkers();
    chaos.HurtTheRest();
  }
  for (const json& report : clients.End()) {
    ASSERT_TRUE(report.is_object());
    EXPECT_GT(report["sent"].get<int64_t>(), 1000) << report.dump();
    EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
    EXPECT_EQ(report["mismatched"], 0) << report.dump();
  }
  ExpectNothingLeft(*tree, descriptors);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
