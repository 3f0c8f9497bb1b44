// Local clients against the whole tree: golden answers, deaths on either side.
#include <gtest/gtest.h>
#include <signal.h>

#include "services/e2e/tree.h"

namespace millrace {
namespace {

void ExpectGolden(Tree& tree, const std::string& model, bool raw) {
  const nlohmann::json report =
      GoldenLoad(tree, model, raw, {"--requests=400", "--duration_ms=0", "--in_flight=16"}, "local")
          .Report();
  EXPECT_EQ(report["answered"], 400) << model << report.dump();
}

int64_t InFlight(Tree& tree) {
  const nlohmann::json process = tree.Process("ingress0");
  return process.is_object() ? process["counters"].value("in_flight", int64_t{-1}) : -1;
}

TEST(Local, EveryDemoModelAnswersBitEqual) {
  auto tree = Tree::Start({});
  for (const char* model : {"breast_cancer", "digits", "randhie_xgb", "randhie_lgbm", "randhie"}) {
    ExpectGolden(*tree, model, false);
  }
  for (const char* model : {"randhie_xgb", "randhie_lgbm", "randhie"}) {
    ExpectGolden(*tree, model, true);
  }
  for (const char* rows : {"200", "7"}) {
    const nlohmann::json report =
        GoldenLoad(*tree, "digits", false,
                   {"--requests=20", "--duration_ms=0", std::string("--rows_per_request=") + rows},
                   "local")
            .Report();
    EXPECT_EQ(report["answered"], 20) << rows << report.dump();
  }
  EXPECT_EQ(tree->Stop(), 0);
}

// However lanes wait: nobody sleeps through a request or an answer.
TEST(Local, EachWayToWaitServes) {
  for (const std::string mode : {"spin", "park"}) {
    Tree::Options options;
    options.config = "supervisor: {wait: " + mode + "}\n";
    auto tree = Tree::Start(options);
    ExpectGolden(*tree, "randhie", true);
    // Without wake-ups there are more than 60. A worker that loses its core between publishing and
    // waking makes one, too.
    EXPECT_LE(tree->Process("ingress0")["counters"]["rescues"], 4);
    EXPECT_EQ(tree->Stop(), 0);
  }
}

// The client hears of the death at once, connects again, and loses nothing that it may ask again.
TEST(Local, AClientOutlivesIngress) {
  auto tree = Tree::Start({});
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=16", "--duration_ms=4000", "--retries=100"},
                  "local");
  for (int i = 0; i < 3; ++i) {
    tree->WaitUntil("the load runs", [&] {
      const nlohmann::json process = tree->Process("ingress0");
      return process.is_object() && process["counters"].value("answered", 0) > 100;
    });
    tree->Hurt("ingress0", SIGKILL);
  }
  const nlohmann::json report = load.Report();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
  EXPECT_GT(report["retried"], 0) << report.dump();
  EXPECT_EQ(tree->Stop(), 0);
}

// A worker's death is nothing that a local client sees.
TEST(Local, WorkersMayDie) {
  auto tree = Tree::Start({});
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=16", "--duration_ms=2500"}, "local");
  for (const char* name : {"execution0", "features0", "aggregation0"}) tree->Hurt(name, SIGKILL);
  const nlohmann::json report = load.Report();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Local, AKilledClientLeavesNothingAndTheOthersGoOn) {
  auto tree = Tree::Start({});
  const int ingress = tree->Process("ingress0")["pid"];
  GoldenLoad other(*tree, "breast_cancer", false, {"--in_flight=4", "--duration_ms=3000"}, "local");
  tree->WaitUntil("the other is served",
                  [&] { return tree->Process("ingress0")["counters"].value("answered", 0) > 100; });
  const size_t descriptors = OpenDescriptors(ingress);
  for (int i = 0; i < 5; ++i) {
    GoldenLoad victim(*tree, "digits", false,
                      {"--in_flight=64", "--rows_per_request=64", "--duration_ms=60000"}, "local");
    tree->WaitUntil("it has work in flight", [&] { return InFlight(*tree) > 32; });
    victim.child().Signal(SIGKILL);
    EXPECT_EQ(victim.child().Wait(), 128 + SIGKILL);
    tree->WaitUntil("its work is gone", [&] { return InFlight(*tree) <= 4; });
  }
  const nlohmann::json report = other.Report();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  tree->WaitUntil("nothing is in flight", [&] { return InFlight(*tree) == 0; });
  tree->WaitUntil("its descriptors are closed",
                  [&] { return OpenDescriptors(ingress) < descriptors; });
  EXPECT_EQ(tree->Process("ingress0")["pid"], ingress);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
