// The budget of replays on the whole tree: one worker's window is always sent again, and of a storm
// no more than that.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kWindow = 64;  // requests that a worker grants a lane

// Who is stopped is to be killed by the test, and golden requests shall take none of the units.
constexpr char kConfig[] =
    "supervisor: {hang_ms: 50000}\n"
    "ingress: {probe_period_ms: 0, default_deadline_ms: 60000}\n"
    "aggregation: {workers: 3}\n"  // their windows shall not be what is full
    "execution: {workers: ";

uint64_t Counter(Tree& tree, const char* name) {
  const json ingress = tree.Process("ingress0");
  return ingress.is_object() ? ingress["counters"].value(name, uint64_t{0}) : 0;
}

// Which a process is not yet when kill returns.
bool IsStopped(int pid) {
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(task.path() / "stat");
    std::string text;
    std::getline(file, text);
    if (text.compare(text.rfind(')') + 1, 2, " T") != 0) return false;
  }
  return true;
}

struct Outcome {
  int ok = 0, unavailable = 0, other = 0;
  uint64_t replayed = 0, shed = 0;
};

// So many execution workers are stopped, get each a window full of requests, and die together.
Outcome KillTogether(int workers) {
  auto tree = Tree::Start({.config = kConfig + std::to_string(workers) + "}\n"});
  std::vector<int> pids;
  for (int i = 0; i < workers; ++i) {
    pids.push_back(tree->Process("execution" + std::to_string(i))["pid"]);
    kill(pids.back(), SIGSTOP);
    tree->WaitUntil("each of its threads stands", [&] { return IsStopped(pids.back()); });
  }
  json row = json::array();
  for (int i = 0; i < 64; ++i) row.push_back(i % 17);
  const std::string body =
      json{{"inputs",
            {{{"name", "input"}, {"shape", {1, 64}}, {"datatype", "FP32"}, {"data", row}}}}}
          .dump();
  const std::string address = tree->Address("http");
  std::vector<HttpCall> calls;
  for (int i = 0; i < workers * kWindow; ++i) {
    calls.emplace_back(address, "/v2/models/digits/infer", body);
  }
  tree->WaitUntil("all are with the workers", [&] {
    return Counter(*tree, "in_flight") == calls.size() && Counter(*tree, "queue_depth") == 0;
  });
  for (const int pid : pids) kill(pid, SIGKILL);
  Outcome outcome;
  for (HttpCall& call : calls) {
    const int code = call.Finish().code;
    ++(code == 200 ? outcome.ok : code == 503 ? outcome.unavailable : outcome.other);
  }
  tree->WaitReady();
  outcome.replayed = Counter(*tree, "replayed");
  outcome.shed = Counter(*tree, "shed_replays");
  EXPECT_EQ(tree->Stop(), 0);
  return outcome;
}

TEST(ReplayBudget, AWorkersWindowIsNeverRefused) {
  const Outcome outcome = KillTogether(1);
  EXPECT_EQ(outcome.ok, kWindow);
  EXPECT_EQ(outcome.replayed, static_cast<uint64_t>(kWindow));
  EXPECT_EQ(outcome.shed, 0u);
}

TEST(ReplayBudget, AStormIsBounded) {
  const Outcome outcome = KillTogether(3);
  EXPECT_EQ(outcome.ok + outcome.unavailable, 3 * kWindow);
  EXPECT_GE(outcome.ok, kWindow);
  EXPECT_GT(outcome.unavailable, 0);
  EXPECT_EQ(outcome.shed, static_cast<uint64_t>(outcome.unavailable));
  EXPECT_EQ(outcome.replayed, static_cast<uint64_t>(outcome.ok));
}

}  // namespace
}  // namespace millrace
