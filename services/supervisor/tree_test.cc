// Keeper, supervisor and test workers as real processes: start, kills, hangs, stop, exit codes.
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "common/cpu_list.h"
#include "gtest/gtest.h"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/tree_rig.h"

namespace millrace {
namespace {

TEST_F(TreeTest, StartsServesStatusAndStopsInOrder) {
  StartReady();
  const json status = Status();
  ASSERT_EQ(status["processes"].size(), 5u);
  for (const json& process : status["processes"]) EXPECT_EQ(process["state"], "ready");
  EXPECT_EQ(Process("ingress0")["lanes"].size(), 2u);
  EXPECT_EQ(status["listeners"][0]["name"], "grpc");
  EXPECT_EQ(status["listeners"][0]["address"].get<std::string>().rfind("127.0.0.1:", 0), 0u);
  EXPECT_NE(status["listeners"][0]["address"], "127.0.0.1:0");
  EXPECT_EQ(status["listeners"][1]["address"], "unix:" + dir_ + "/http");
  EXPECT_EQ(status["catalog"]["models"][0]["name"], "m");
  EXPECT_EQ(status["catalog"]["failed"][0]["reason"], "model.json: cut short");
  const std::vector<pid_t> pids = Pids();
  kill(keeper_, SIGTERM);
  EXPECT_EQ(WaitKeeper(), kExitStopped);
  const std::vector<std::string> ended = Ended();
  ASSERT_EQ(ended.size(), 5u);
  EXPECT_EQ(ended.front(), "ingress0");
  EXPECT_EQ(ended.back(), "registry0");
  const std::string log = LogText();
  EXPECT_LT(log.find("process=ingress0 event=drain"), log.find("event=worker_ended"));
  for (pid_t pid : pids) EXPECT_NE(kill(pid, 0), 0) << pid;
  EXPECT_NE(access((dir_ + "/admin").c_str(), F_OK), 0);
  EXPECT_NE(access((dir_ + "/http").c_str(), F_OK), 0);
}

TEST_F(TreeTest, AKilledWorkerIsReroutedAndReplacedAtOnce) {
  StartReady();
  for (const char* name : {"execution0", "features0", "aggregation0", "ingress0"}) {
    const json before = Process(name);
    kill(before["pid"], SIGKILL);
    ASSERT_TRUE(Until([&] { return ReadyAgain(name, before); })) << name;
    EXPECT_GT(Process(name)["incarnation"], before["incarnation"]);
    EXPECT_EQ(Process(name)["restarts"], 1);
  }
  const json status = Status();
  EXPECT_EQ(status["deaths"], 4);
  ASSERT_TRUE(status["last_reroute_us"].is_number());
  EXPECT_LT(status["last_reroute_us"], 500'000) << "a loaded machine; usually 50";
  // Whoever was linked hears of the end, once.
  EXPECT_TRUE(Until(
      [&] { return LogText().find("process=features0 event=peer_gone") != std::string::npos; }));
}

TEST_F(TreeTest, AKilledRegistryDisturbsNobody) {
  StartReady();
  const json before = Process("registry0"), ingress = Process("ingress0");
  const int64_t generation = Status()["catalog"]["generation"];
  kill(before["pid"], SIGKILL);
  ASSERT_TRUE(Until([&] { return ReadyAgain("registry0", before); }));
  ASSERT_TRUE(Until([&] { return Status()["catalog"]["live_generation"] == generation + 1; }));
  EXPECT_EQ(Process("ingress0")["pid"], ingress["pid"]);
}

TEST_F(TreeTest, AStoppedWorkerIsKilledAndReplaced) {
  StartReady();
  const json before = Process("features0");
  kill(before["pid"], SIGSTOP);
  ASSERT_TRUE(Until([&] { return ReadyAgain("features0", before); }));
  EXPECT_NE(LogText().find("hangs: it is stopped"), std::string::npos);
  EXPECT_EQ(Status()["hangs"], 1);
}

TEST_F(TreeTest, AWorkerWhoseBeatStandsStillIsAborted) {
  StartReady();
  const json before = Process("execution0");
  Write("models/misbehave-execution", "hang\n");
  ASSERT_TRUE(Until([&] { return Status()["hangs"] > 0; }));
  unlink((dir_ + "/models/misbehave-execution").c_str());
  ASSERT_TRUE(Until([&] { return ReadyAgain("execution0", before); }));
  EXPECT_NE(LogText().find("code=0 signal=6"), std::string::npos);
}

TEST_F(TreeTest, ACrashLoopBacksOffAndEnds) {
  StartReady();
  const json before = Process("aggregation0");
  Write("models/misbehave-aggregation", "exit 3\n");
  kill(before["pid"], SIGKILL);
  ASSERT_TRUE(Until([&] {
    const json waiting = Status()["waiting"];
    return waiting.size() == 1 && waiting[0]["failures"] >= 3;
  }));
  // 100 + 200 ms and more were waited before the third failure; without them hundreds would be.
  EXPECT_LE(Status()["deaths"], 6);
  EXPECT_EQ(Process("execution0")["restarts"], 0);
  unlink((dir_ + "/models/misbehave-aggregation").c_str());
  ASSERT_TRUE(Until([&] { return ReadyAgain("aggregation0", before); }));
}

TEST_F(TreeTest, ScalesUpAndDown) {
  StartReady();
  EXPECT_EQ(Ask({{"verb", "scale"}, {"stage", "execution"}, {"count", 3}})["ok"], true);
  ASSERT_TRUE(Until([&] {
    const json last = Process("execution2");
    return last.is_object() && last["state"] == "ready";
  }));
  EXPECT_EQ(Ask({{"verb", "scale"}, {"stage", "ingress"}, {"count", 3}})["ok"], false);
  EXPECT_EQ(Ask({{"verb", "scale"}, {"stage", "execution"}, {"count", 1}})["ok"], true);
  ASSERT_TRUE(Until([&] { return Status()["processes"].size() == 5; }));
  EXPECT_EQ(Status()["deaths"], 0);
}

TEST_F(TreeTest, APinnedProcessRunsOnItsCpusAndSaysSo) {
  const CpuList ours = AllowedCpus(0);
  const std::string last = std::to_string(ours.back());
  Write("config.yaml", "features:\n  cpus: " + last + "\nsupervisor:\n  wait: park\n");
  StartReady();
  const json pinned = Process("features0"), other = Process("execution0");
  EXPECT_EQ(AllowedCpus(pinned["pid"].get<int>()), CpuList{ours.back()});
  EXPECT_EQ(pinned["cpus"], last);
  EXPECT_EQ(AllowedCpus(other["pid"].get<int>()), ours);
  EXPECT_EQ(other["cpus"], FormatCpuList(ours));
  EXPECT_EQ(pinned["wait"], "park");
  EXPECT_EQ(Process("ingress0")["wait"], "park");
  EXPECT_TRUE(Process("registry0")["wait"].is_null());
  // So does the next one.
  kill(pinned["pid"], SIGKILL);
  ASSERT_TRUE(Until([&] { return ReadyAgain("features0", pinned); }));
  EXPECT_EQ(AllowedCpus(Process("features0")["pid"].get<int>()), CpuList{ours.back()});
  // The machine's load is known after two samples.
  EXPECT_TRUE(Until([&] { return Status()["foreign_cores"].is_number(); }));
}

TEST_F(TreeTest, AKilledSupervisorIsReplacedAndEveryProcessGoesOn) {
  StartReady();
  const json before = Status();
  const std::vector<pid_t> pids = Pids();
  const size_t kept = OpenDescriptors(keeper_);
  for (int i = 1; i <= 8; ++i) {
    KillSupervisor();
    ASSERT_TRUE(Until([&] {
      const json now = Status();
      return now.is_object() && now["supervisor_restarts"] == i && now["ready"] == true;
    })) << i;
    const json now = Status();
    ASSERT_EQ(now["processes"].size(), before["processes"].size());
    for (size_t p = 0; p < before["processes"].size(); ++p) {
      for (const char* what : {"name", "pid", "incarnation", "state", "restarts"}) {
        EXPECT_EQ(now["processes"][p][what], before["processes"][p][what]) << what;
      }
    }
    EXPECT_EQ(now["listeners"], before["listeners"]);
    EXPECT_EQ(now["catalog"], before["catalog"]);
    EXPECT_EQ(now["deaths"], 0);
  }
  EXPECT_TRUE(Until([&] { return OpenDescriptors(keeper_) == kept; }));
  // The keeper has been told whom to spare.
  ASSERT_TRUE(Until([&] { return Status()["uptime_ms"] > 200; }));
  EXPECT_EQ(Pids(), pids);
  EXPECT_EQ(Status()["deaths"], 0);
  EXPECT_EQ(Ask({{"verb", "scale"}, {"stage", "execution"}, {"count", 2}})["ok"], true);
  ASSERT_TRUE(Until([&] {
    const json added = Process("execution1");
    return added.is_object() && added["state"] == "ready";
  })) << "it was linked with adopted ones";
  EXPECT_EQ(Ask({{"verb", "scale"}, {"stage", "execution"}, {"count", 1}})["ok"], true);
  ASSERT_TRUE(Until([&] { return Status()["processes"].size() == 5; }));
  const json ingress = Process("ingress0");
  kill(ingress["pid"], SIGKILL);
  ASSERT_TRUE(Until([&] { return ReadyAgain("ingress0", ingress); }));
  EXPECT_GT(Process("ingress0")["incarnation"], ingress["incarnation"]);
}

// The processes run by what it said when they were started.
TEST_F(TreeTest, AConfigurationThatWasBrokenMeanwhileDoesNotEndTheServer) {
  StartReady();
  const std::vector<pid_t> pids = Pids();
  Write("config.yaml", "supervisor:\n  hang_ms: soon\n");
  KillSupervisor();
  ASSERT_TRUE(Until([&] {
    const json now = Status();
    return now.is_object() && now["supervisor_restarts"] == 1 && now["ready"] == true;
  }));
  EXPECT_EQ(Pids(), pids);
  EXPECT_NE(LogText().find("event=fault_of_the_next_start"), std::string::npos);
}

TEST_F(TreeTest, AWorkerThatDiedWhileThereWasNoSupervisorIsReplaced) {
  StartReady();
  const json before = Process("execution0"), other = Process("features0");
  const pid_t supervisor = SupervisorPid();
  kill(supervisor, SIGSTOP);
  kill(before["pid"], SIGKILL);
  kill(supervisor, SIGKILL);
  ASSERT_TRUE(Until([&] { return ReadyAgain("execution0", before); }));
  EXPECT_EQ(Status()["supervisor_restarts"], 1);
  EXPECT_EQ(Process("features0")["pid"], other["pid"]);
  EXPECT_EQ(Process("features0")["incarnation"], other["incarnation"]);
}

// At instants that fall before, in and after the start of processes and a change of their number.
TEST_F(TreeTest, ASupervisorKilledWhileItStartsAndScalesIsReplaced) {
  Start();
  for (int i = 0; i < 6; ++i) {
    const size_t starts = Starts();
    ASSERT_TRUE(Until([&] { return Starts() > 0; }));
    usleep(7'000 * i);
    KillSupervisor();
    ASSERT_TRUE(Until([&] { return Starts() > starts; }));
    Ask({{"verb", "scale"}, {"stage", "features"}, {"count", i % 2 == 0 ? 3 : 1}});
  }
  ASSERT_TRUE(Until([&] {
    const json reply = Ask({{"verb", "scale"}, {"stage", "features"}, {"count", 2}});
    return reply.is_object() && reply["ok"] == true;
  }));
  ASSERT_TRUE(Until([&] {
    const json status = Status();
    if (!status.is_object() || status["processes"].size() != 6) return false;
    for (const json& process : status["processes"]) {
      if (process["state"] != "ready") return false;
    }
    return true;
  }));
  // Nobody is left whom nobody knows: the keeper's children are those of the list, or none.
  std::vector<pid_t> known = Pids();
  known.push_back(SupervisorPid());
  EXPECT_TRUE(Until([&] {
    std::ifstream children("/proc/" + std::to_string(keeper_) + "/task/" + std::to_string(keeper_) +
                           "/children");
    for (pid_t child; children >> child;) {
      if (std::count(known.begin(), known.end(), child) == 0) return false;
    }
    return true;
  }));
}

TEST_F(TreeTest, TheTreeEndsWithoutItsKeeper) {
  StartReady();
  const std::vector<pid_t> pids = Pids();
  kill(keeper_, SIGKILL);
  WaitKeeper();
  EXPECT_TRUE(Until([&] {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    for (pid_t pid : pids) {
      if (kill(pid, 0) == 0) return false;
    }
    return true;
  }));
}

TEST_F(TreeTest, ASecondSignalKills) {
  StartReady();
  kill(Process("ingress0")["pid"], SIGSTOP);
  const std::vector<pid_t> pids = Pids();
  kill(keeper_, SIGTERM);
  ASSERT_TRUE(Until([&] { return LogText().find("event=draining") != std::string::npos; }));
  kill(keeper_, SIGTERM);
  EXPECT_EQ(WaitKeeper(), 1);
  for (pid_t pid : pids) EXPECT_NE(kill(pid, 0), 0) << pid;
}

TEST_F(TreeTest, WhatCannotStartSaysWhyByItsExitCode) {
  Write("config.yaml", "supervisor:\n  hang_ms: soon\n");
  EXPECT_EQ(RunToEnd(), kExitConfiguration);
  EXPECT_NE(LogText().find("config.yaml:2: supervisor.hang_ms: "), std::string::npos);
  Write("config.yaml", "features:\n  cpus: 1023\n");
  EXPECT_EQ(RunToEnd(), kExitCpus);
  EXPECT_NE(LogText().find("features.cpus: CPU 1023 does not exist"), std::string::npos);
  Write("config.yaml", "");
  rename((dir_ + "/models").c_str(), (dir_ + "/elsewhere").c_str());
  EXPECT_EQ(RunToEnd(), kExitRepository);
  rename((dir_ + "/elsewhere").c_str(), (dir_ + "/models").c_str());
  unlink((dir_ + "/features/features").c_str());
  EXPECT_EQ(RunToEnd(), kExitBinary);
  EXPECT_NE(LogText().find("/features/features"), std::string::npos);
  arguments_.push_back("--nonsense");
  EXPECT_EQ(RunToEnd(), kExitUsage);
}

TEST_F(TreeTest, AProcessThatWouldFailAgainEndsTheStart) {
  Write("models/misbehave-registry", "exit 67\n");
  EXPECT_EQ(RunToEnd(), kExitRepository);
  unlink((dir_ + "/models/misbehave-registry").c_str());
  Write("models/misbehave-execution", "exit 71\n");
  EXPECT_EQ(RunToEnd(), kExitMemory);
}

TEST_F(TreeTest, ATakenPortEndsTheStart) {
  StartReady();
  const pid_t first = std::exchange(keeper_, 0);
  EXPECT_EQ(RunToEnd(), kExitPort) << "the unix socket answers";
  const std::string address = Status()["listeners"][0]["address"];
  arguments_[1] = "--listen=grpc=" + address;
  EXPECT_EQ(RunToEnd(), kExitPort);
  arguments_[1] = "--listen=grpc=127.0.0.1:0";
  arguments_[2] = "--listen=http=127.0.0.1:0";
  EXPECT_EQ(RunToEnd(), kExitPort) << "the admin socket answers";
  keeper_ = first;
}

TEST(CheckConfig, TellsOfFaultsWithoutAKeeper) {
  const std::string program = std::string(kSupervisor) + " --check-config";
  EXPECT_EQ(WEXITSTATUS(system((program + " >/dev/null").c_str())), kExitStopped);
  EXPECT_EQ(WEXITSTATUS(system((program + " --config=/no/such 2>/dev/null").c_str())),
            kExitConfiguration);
  EXPECT_EQ(WEXITSTATUS(system((std::string(kSupervisor) + " 2>/dev/null").c_str())),
            kExitRepository);
}

}  // namespace
}  // namespace millrace
