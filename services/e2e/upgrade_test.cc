// `upgrade` on the whole tree: a second pipeline beside the first, and back, and what may go wrong.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "services/e2e/steady_clients.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

const char* const kStages[] = {"registry",  "ingress",     "features",
                               "execution", "aggregation", "observer"};

// The build under test once more, in a folder of its own; `program` is a script instead.
class OtherBuild {
 public:
  explicit OtherBuild(const std::string& program = "", const std::string& script = "") {
    char name[] = "/tmp/millrace-build-XXXXXX";
    path_ = mkdtemp(name);
    Add("supervisor/supervisor", "services/supervisor/supervisor");
    Add("registry/compiler", "kernels/compile/compiler");
    for (const std::string stage : kStages)
      Add(stage + "/" + stage, "services/" + stage + "/" + stage);
    if (program.empty()) return;
    fs::remove(path_ + "/" + program);
    std::ofstream(path_ + "/" + program) << "#!/bin/sh\n" << script << "\n";
    fs::permissions(path_ + "/" + program, fs::perms::owner_all);
  }
  ~OtherBuild() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  void Add(const std::string& program, const std::string& of) {
    fs::create_directories(fs::path(path_ + "/" + program).parent_path());
    fs::create_symlink(fs::canonical(of), path_ + "/" + program);
  }
  std::string path_;
};

std::string FirstBuild() { return fs::current_path(); }

nlohmann::json Upgrade(Tree& tree, const std::string& path, int64_t within_ms = 60'000) {
  return tree.Admin({{"verb", "upgrade"}, {"path", path}, {"ready_within_ms", within_ms}});
}

std::string BuildPath(Tree& tree) {
  const nlohmann::json status = tree.Status();
  return status.is_object() ? status["build"]["path"].get<std::string>() : "";
}

std::vector<int> Children(int pid, const std::string& named = "") {
  const std::string text = std::to_string(pid);
  std::ifstream file("/proc/" + text + "/task/" + text + "/children");
  std::vector<int> children;
  for (int child; file >> child;) {
    std::string line;
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::getline(stat, line);
    if (line.find(") Z") != std::string::npos) continue;
    if (named.empty() || line.find("(" + named + ")") != std::string::npos) {
      children.push_back(child);
    }
  }
  return children;
}

// The keeper has one supervisor, and nobody is left whom that one does not know.
void ExpectOnePipeline(Tree& tree) {
  tree.WaitUntil("one pipeline is left", [&] {
    const std::vector<int> supervisors = Children(tree.keeper().pid(), "supervisor");
    const nlohmann::json status = tree.Status();
    if (supervisors.size() != 1 || !status.is_object()) return false;
    std::vector<int> known = supervisors;
    for (const auto& p : status["processes"]) known.push_back(p["pid"]);
    std::vector<int> all = Children(tree.keeper().pid());
    for (int child : Children(supervisors[0])) all.push_back(child);
    return std::all_of(all.begin(), all.end(), [&](int child) {
      return std::count(known.begin(), known.end(), child) > 0;
    });
  });
}

// What was set by hand is so afterwards, too.
TEST(Upgrade, TakesAlongWhatWasScaledAndUnloaded) {
  auto tree = Tree::Start({});
  EXPECT_EQ(tree->Admin({{"verb", "unload"}, {"model", "digits"}})["ok"], true);
  EXPECT_EQ(tree->Admin({{"verb", "scale"}, {"stage", "features"}, {"count", 2}})["ok"], true);
  tree->WaitUntil("it is scaled", [&] {
    const nlohmann::json second = tree->Process("features1");
    return second.is_object() && second["state"] == "ready";
  });
  const OtherBuild other;
  for (const std::string& path : {other.path(), FirstBuild()}) {
    ASSERT_EQ(Upgrade(*tree, path)["ok"], true);
    EXPECT_TRUE(tree->Process("features1").is_object());
    const nlohmann::json status = tree->Status();
    for (const auto& model : status["catalog"]["models"]) EXPECT_NE(model["name"], "digits");
  }
  EXPECT_EQ(tree->Stop(), 0);
}

int Rounds() {
  const char* rounds = getenv("UPGRADES");
  return rounds == nullptr ? 2 : atoi(rounds);
}

TEST(Upgrade, ThereAndBackAgainAndAgainIsNoticedByNobody) {
  auto tree = Tree::Start({});
  const OtherBuild other;
  Clients clients(*tree);
  for (int i = 0; i < Rounds(); ++i) {
    for (const std::string& path : {other.path(), FirstBuild()}) {
      const nlohmann::json before = tree->Status();
      const nlohmann::json reply = Upgrade(*tree, path);
      ASSERT_EQ(reply["ok"], true) << reply.dump();
      const nlohmann::json now = tree->Status();
      ASSERT_TRUE(now.is_object());
      EXPECT_EQ(now["build"]["path"].get<std::string>().rfind(path, 0), 0u) << now["build"].dump();
      EXPECT_EQ(KeptListeners(now), KeptListeners(before));
      EXPECT_EQ(now["upgrade"]["state"], "none");
      EXPECT_EQ(now["deaths"], 0);
      ExpectOnePipeline(*tree);
    }
  }
  clients.ExpectAllAnswered();
  ExpectServed(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

// Each is refused or taken away again, with a sentence, and the old build goes on.
TEST(Upgrade, ABuildThatDoesNotGetReadyIsTakenAway) {
  auto tree = Tree::Start({});
  Clients clients(*tree);
  const std::string before = BuildPath(*tree);
  const OtherBuild silent("execution/execution", "exec sleep 1000");
  nlohmann::json reply = Upgrade(*tree, silent.path(), 4000);
  EXPECT_EQ(reply["ok"], false);
  EXPECT_NE(reply.dump().find("did not get ready in time: execution0 is starting"),
            std::string::npos)
      << reply.dump();
  EXPECT_EQ(tree->Status()["upgrade"]["last_failure"], reply["error"]);
  ExpectOnePipeline(*tree);

  const OtherBuild ends("supervisor/supervisor", "exit 3");
  reply = Upgrade(*tree, ends.path());
  EXPECT_NE(reply.dump().find("supervisor ended with exit code 3"), std::string::npos)
      << reply.dump();

  const OtherBuild lacks;
  fs::remove(lacks.path() + "/features/features");
  reply = Upgrade(*tree, lacks.path());
  EXPECT_NE(reply.dump().find("features/features"), std::string::npos) << reply.dump();
  reply = Upgrade(*tree, "/nonexistent");
  EXPECT_NE(reply.dump().find("no supervisor/supervisor in /nonexistent"), std::string::npos)
      << reply.dump();
  EXPECT_EQ(BuildPath(*tree), before);
  ExpectOnePipeline(*tree);
  clients.ExpectAllAnswered();
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Upgrade, IsRefusedWhereMemoryCannotHoldBoth) {
  Tree::Options options;
  options.config = "supervisor: {memory_budget_mb: 64}\n";
  auto tree = Tree::Start(options);
  const OtherBuild other;
  const nlohmann::json reply = Upgrade(*tree, other.path());
  EXPECT_EQ(reply["ok"], false);
  EXPECT_NE(reply.dump().find("pass supervisor.memory_budget_mb, 64"), std::string::npos)
      << reply.dump();
  EXPECT_EQ(Children(tree->keeper().pid(), "supervisor").size(), 1u) << "nothing was started";
  EXPECT_EQ(tree->Stop(), 0);
}

// The new build reads the configuration anew; what it would do wrong shows in its golden requests.
TEST(Upgrade, ABuildThatAnswersWrongIsTakenAway) {
  Tree::Options options;
  options.config = "ingress: {probe_period_ms: 1000}\n";
  options.enable_faults = true;
  auto tree = Tree::Start(options);
  const std::string config = fs::path(tree->admin_socket()).parent_path() / "millrace.yaml";
  std::ofstream(config)
      << options.config
      << "faults: {rules: [{stage: execution, kind: wrong_output, model: digits}]}\n";
  const OtherBuild other;
  auto upgrade = std::async(std::launch::async, [&] { return Upgrade(*tree, other.path(), 8000); });
  // Nobody meets the new one meanwhile, though it listens on the same sockets.
  while (upgrade.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    for (const std::string listener : {"grpc", "http", "local"}) {
      const nlohmann::json report =
          GoldenLoad(*tree, "digits", false, {"--requests=20", "--duration_ms=0"}, listener)
              .Report();
      EXPECT_EQ(report["answered"], 20) << listener << report.dump();
      EXPECT_EQ(report["mismatched"], 0) << listener << report.dump();
    }
  }
  const nlohmann::json reply = upgrade.get();
  EXPECT_NE(reply.dump().find("golden"), std::string::npos) << reply.dump();
  ExpectOnePipeline(*tree);
  EXPECT_EQ(BuildPath(*tree).rfind(other.path(), 0), std::string::npos);
  ExpectServed(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

// The second supervisor, once it is there.
int NewSupervisor(Tree& tree, int old) {
  int found = 0;
  tree.WaitUntil("the new supervisor is there", [&] {
    for (int pid : Children(tree.keeper().pid(), "supervisor")) found = pid != old ? pid : found;
    return found != 0;
  });
  return found;
}

TEST(Upgrade, TheOldSupervisorKilledMeanwhileHoldsUpNothing) {
  auto tree = Tree::Start({});
  const OtherBuild other;
  Clients clients(*tree);
  const int old = tree->SupervisorPid();
  auto reply = std::async(std::launch::async, [&] { return Upgrade(*tree, other.path()); });
  NewSupervisor(*tree, old);
  kill(old, SIGKILL);
  EXPECT_FALSE(reply.get().is_object()) << "who asked is cut off";
  tree->WaitUntil("the new build serves", [&] { return BuildPath(*tree) == other.path(); });
  ExpectOnePipeline(*tree);
  clients.ExpectAllAnswered();
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Upgrade, TheNewSupervisorKilledBeforeItServesEndsTheUpgradeAlone) {
  auto tree = Tree::Start({});
  const OtherBuild other;
  Clients clients(*tree);
  const std::string before = BuildPath(*tree);
  const int old = tree->SupervisorPid();
  auto reply = std::async(std::launch::async, [&] { return Upgrade(*tree, other.path()); });
  kill(NewSupervisor(*tree, old), SIGKILL);
  EXPECT_NE(reply.get().dump().find("supervisor ended with signal 9"), std::string::npos);
  EXPECT_EQ(BuildPath(*tree), before);
  ExpectOnePipeline(*tree);
  EXPECT_EQ(tree->SupervisorPid(), old);
  EXPECT_EQ(Upgrade(*tree, other.path())["ok"], true) << "another one succeeds";
  clients.ExpectAllAnswered();
  EXPECT_EQ(tree->Stop(), 0);
}

// Both, in the moment in which one takes over from the other.
TEST(Upgrade, BothSupervisorsKilledWhileOneTakesOver) {
  auto tree = Tree::Start({});
  const OtherBuild other;
  Clients clients(*tree);
  const int old = tree->SupervisorPid();
  auto reply = std::async(std::launch::async, [&] { return Upgrade(*tree, other.path()); });
  const int next = NewSupervisor(*tree, old);
  tree->WaitUntil("the new one answers", [&] { return BuildPath(*tree) == other.path(); });
  kill(next, SIGKILL);
  kill(old, SIGKILL);
  reply.get();
  tree->WaitUntil("the new build answers again", [&] {
    const nlohmann::json now = tree->Status();
    return now.is_object() && now["supervisor_restarts"] == 1;
  });
  EXPECT_EQ(BuildPath(*tree), other.path());
  ExpectOnePipeline(*tree);
  clients.ExpectAllAnswered();
  ExpectServed(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Upgrade, AStopMeanwhileEndsBoth) {
  auto tree = Tree::Start({});
  const OtherBuild other;
  const int old = tree->SupervisorPid();
  auto reply = std::async(std::launch::async, [&] { return Upgrade(*tree, other.path()); });
  const int next = NewSupervisor(*tree, old);
  EXPECT_EQ(tree->Stop(), 0);
  EXPECT_NE(kill(next, 0), 0);
  reply.get();
}

// The keeper hears of the stop while there is nobody to hand it to: the next supervisor drains.
TEST(Upgrade, AStopBetweenTwoSupervisorsDrains) {
  Tree::Options options;
  options.config =
      "ingress: {probe_period_ms: 0, default_deadline_ms: 30000}\n"
      "supervisor: {hang_ms: 20000}\n"
      "faults: {rules: [{stage: execution, kind: delay, delay_ms: 500, model: digits}]}\n";
  options.enable_faults = true;
  auto tree = Tree::Start(options);
  GoldenLoad load(*tree, "digits", false, {"--requests=4", "--duration_ms=0", "--in_flight=4"});
  tree->WaitUntil("the requests are in flight", [&] {
    const nlohmann::json ingress = tree->Process("ingress0");
    return ingress.is_object() && ingress["counters"].value("in_flight", 0) == 4;
  });
  // The second one has not lived for long: the keeper waits before it starts the third.
  const int first = tree->SupervisorPid();
  kill(first, SIGKILL);
  tree->WaitUntil("there is another",
                  [&] { return tree->SupervisorPid() != 0 && tree->SupervisorPid() != first; });
  kill(tree->SupervisorPid(), SIGKILL);
  tree->WaitUntil("there is none", [&] { return tree->SupervisorPid() == 0; });
  tree->keeper().Signal(SIGTERM);
  EXPECT_EQ(tree->keeper().Wait(), 0);
  const nlohmann::json report = load.Report();
  EXPECT_EQ(report["answered"], 4) << report.dump();
}

}  // namespace
}  // namespace millrace
