// Warm spares and scaling by policy on a real server, under load.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <string>

#include "services/e2e/steady_clients.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

constexpr char kWithSpare[] = "execution: {device: cpu, spare: 1}\n";

void ExpectAllAnswered(const nlohmann::json& report) {
  ASSERT_TRUE(report.is_object());
  EXPECT_GT(report["sent"].get<int64_t>(), 1000) << report.dump();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
}

nlohmann::json Answered(Tree& tree) {
  return tree.Process("ingress0")["counters"].value("answered", uint64_t{0});
}

// Load on the longest route until it is told to end.
std::unique_ptr<GoldenLoad> Steady(Tree& tree, int in_flight = 32) {
  auto load = std::make_unique<GoldenLoad>(
      tree, "randhie", true,
      std::vector<std::string>{"--in_flight=" + std::to_string(in_flight), "--duration_ms=0"});
  const uint64_t before = Answered(tree);
  tree.WaitUntil("the load runs", [&] { return Answered(tree) > before + 1000; });
  return load;
}

bool SpareIsWarm(Tree& tree) {
  const nlohmann::json spare = tree.Process("execution_spare0");
  const nlohmann::json worker = tree.Process("execution0");
  return spare.is_object() && spare["state"] == "spare" && worker.is_object() &&
         worker["state"] == "ready";
}

TEST(Spare, EachDeathOfAWorkerPromotesItAndNoRequestIsLost) {
  Tree::Options options;
  options.config = kWithSpare;
  auto tree = Tree::Start(options);
  auto load = Steady(*tree);
  for (int i = 0; i < 10; ++i) {
    tree->WaitUntil("there is a warm spare", [&] { return SpareIsWarm(*tree); });
    const nlohmann::json spare = tree->Process("execution_spare0");
    EXPECT_EQ(spare["counters"].value("taken", uint64_t{1}), 0u) << "it gets no traffic";
    const int64_t promotions = tree->Status()["promotions"];
    const int pid = tree->Process("execution0")["pid"];
    kill(pid, i % 3 == 2 ? SIGSTOP : SIGKILL);
    tree->WaitUntil("the spare has the place",
                    [&] { return tree->Process("execution0")["pid"] == spare["pid"]; });
    EXPECT_GT(tree->Status()["promotions"].get<int64_t>(), promotions);
  }
  ExpectAllAnswered(load->End());
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Spare, ItsOwnDeathAndHangsCostNothingAndItIsReplaced) {
  Tree::Options options;
  options.config = kWithSpare;
  auto tree = Tree::Start(options);
  auto load = Steady(*tree);
  const nlohmann::json worker = tree->Process("execution0")["pid"];
  for (int signal : {SIGKILL, SIGSTOP, SIGKILL}) {
    tree->WaitUntil("there is a warm spare", [&] { return SpareIsWarm(*tree); });
    const int pid = tree->Process("execution_spare0")["pid"];
    kill(pid, signal);
    tree->WaitUntil("there is another one", [&] {
      return SpareIsWarm(*tree) && tree->Process("execution_spare0")["pid"] != pid;
    });
  }
  EXPECT_EQ(tree->Process("execution0")["pid"], worker);
  EXPECT_EQ(tree->Status()["promotions"], 0);
  ExpectAllAnswered(load->End());
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Spare, ItOutlivesASupervisorAndIsKeptCurrent) {
  Tree::Options options;
  options.config = kWithSpare;
  auto tree = Tree::Start(options);
  auto load = Steady(*tree);
  tree->WaitUntil("there is a warm spare", [&] { return SpareIsWarm(*tree); });
  const nlohmann::json spare = tree->Process("execution_spare0")["pid"];
  tree->KillSupervisor();
  tree->WaitUntil("it is there still", [&] { return SpareIsWarm(*tree); });
  EXPECT_EQ(tree->Process("execution_spare0")["pid"], spare);
  const uint64_t generation = tree->Status()["catalog"]["generation"];
  EXPECT_EQ(tree->Admin({{"verb", "unload"}, {"model", "digits"}})["ok"], true);
  EXPECT_EQ(tree->Admin({{"verb", "load"}, {"model", "digits"}})["ok"], true);
  tree->WaitUntil("the spare has taken up the catalog", [&] {
    const nlohmann::json now = tree->Process("execution_spare0");
    return now.is_object() && now["catalog_generation"] == generation + 2;
  });
  kill(tree->Process("execution0")["pid"].get<int>(), SIGKILL);
  tree->WaitUntil("the spare has the place",
                  [&] { return tree->Process("execution0")["pid"] == spare; });
  EXPECT_EQ(
      GoldenLoad(*tree, "digits", false, {"--requests=64", "--duration_ms=0"}).Report()["answered"],
      64);
  ExpectAllAnswered(load->End());
  EXPECT_EQ(tree->Stop(), 0);
}

size_t ReadyOf(Tree& tree, const std::string& stage) {
  const nlohmann::json status = tree.Status();
  if (!status.is_object()) return 0;
  size_t ready = 0, all = 0;
  for (const auto& p : status["processes"]) {
    if (p["stage"] != stage) continue;
    ++all;
    ready += p["state"] == "ready" ? 1 : 0;
  }
  return ready == all ? ready : 0;
}

TEST(Scaling, EachWorkerStageGoesFromOneToFourAndBackUnderLoad) {
  auto tree = Tree::Start({});
  auto load = Steady(*tree);
  for (const std::string stage : {"features", "execution", "aggregation"}) {
    for (size_t count : {4, 1}) {
      EXPECT_EQ(tree->Admin({{"verb", "scale"}, {"stage", stage}, {"count", count}})["ok"], true);
      tree->WaitUntil("there are that many", [&] { return ReadyOf(*tree, stage) == count; });
      const uint64_t before = Answered(*tree);
      tree->WaitUntil("they answer", [&] { return Answered(*tree) > before + 500; });
    }
  }
  ExpectAllAnswered(load->End());
  EXPECT_EQ(tree->Stop(), 0);
}

size_t IngressesThatAnswered(Tree& tree) {
  const nlohmann::json status = tree.Status();
  if (!status.is_object()) return 0;
  const nlohmann::json& all = status["processes"];
  return std::count_if(all.begin(), all.end(), [](const nlohmann::json& p) {
    return p["stage"] == "ingress" && p["counters"].value("answered", 0) > 0;
  });
}

// Clients are told to move, as in an upgrade, when three ingress processes of four are to go.
TEST(Scaling, IngressGoesFromOneToFourAndBackUnderLoadAndClientsMove) {
  Tree::Options options;
  options.config = "ingress: {max_workers: 4}\n";
  auto tree = Tree::Start(options);
  Clients clients(*tree);
  for (int i = 0; i < 2; ++i) {
    for (int count : {4, 1}) {
      tree->WaitUntil("the number is taken", [&] {
        const nlohmann::json reply =
            tree->Admin({{"verb", "scale"}, {"stage", "ingress"}, {"count", count}});
        return reply.is_object() && reply["ok"] == true;
      });
      tree->WaitUntil("it is so", [&] {
        const nlohmann::json status = tree->Status();
        if (!status.is_object() || status["processes"].size() != 5u + count) return false;
        for (int k = 0; k < count; ++k) {
          if (tree->Process("ingress" + std::to_string(k))["state"] != "ready") return false;
        }
        return status["ready"] == true;
      });
      if (count == 1) continue;
      // Some come to each of them, so that there is somebody to move.
      tree->WaitUntil("all of them answer", [&] {
        ExpectServed(*tree);
        return IngressesThatAnswered(*tree) == 4;
      });
    }
  }
  clients.ExpectAllAnswered();
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Scaling, APolicyFollowsTheLoadUpAndDownAndAHandOverrulesIt) {
  Tree::Options options;
  options.enable_faults = true;
  // Each row takes a millisecond: 64 in flight wait long even for two workers. Without golden
  // requests nothing waits afterwards, however busy the machine is.
  options.config =
      "ingress: {probe_period_ms: 0}\n"
      "execution: {device: cpu, max_workers: 3, target_queue_delay_us: 10000}\n"
      "supervisor: {scale_up_after_ms: 500, scale_down_after_ms: 1500, scale_beyond_cpus: true}\n"
      "faults:\n  rules:\n    - {stage: execution, kind: delay, delay_ms: 1, per: row}\n";
  auto tree = Tree::Start(options);
  EXPECT_EQ(tree->Status()["scaling"]["execution"], "auto");
  auto load = Steady(*tree, 64);
  tree->WaitUntil("it has grown", [&] { return ReadyOf(*tree, "execution") == 3; });
  ExpectAllAnswered(load->End());
  tree->WaitUntil("it is one again", [&] { return ReadyOf(*tree, "execution") == 1; });
  EXPECT_EQ(tree->Admin({{"verb", "scale"}, {"stage", "execution"}, {"count", 2}})["ok"], true);
  EXPECT_EQ(tree->Status()["scaling"]["execution"], "pinned");
  tree->WaitUntil("there are two", [&] { return ReadyOf(*tree, "execution") == 2; });
  EXPECT_EQ(tree->Admin({{"verb", "scale"}, {"stage", "execution"}, {"count", "auto"}})["ok"],
            true);
  tree->WaitUntil("it is one again", [&] { return ReadyOf(*tree, "execution") == 1; });
  EXPECT_EQ(tree->Admin({{"verb", "scale"}, {"stage", "features"}, {"count", "auto"}})["ok"],
            false);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
