// A whole process on the runtime, with the test as its supervisor and its ingress lane.
#include "services/runtime/process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/idler.h"
#include "ipc/testing/must.h"
#include "services/runtime/testing/remote_worker.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kProgram[] = "services/runtime/testing/echo_worker";
constexpr char kYaml[] = "ingress:\n  max_request_bytes: 1024\n";

class ProcessTest : public ::testing::Test {
 protected:
  void Start() {
    worker_.emplace(&rig_, Stage::kExecution, kProgram);
    worker_->Configure(kYaml);
    worker_->LinkWith(&ingress_);
  }
  void Ask(uint16_t slot, const std::string& text) {
    const PartId id = {slot, 1, 0, 0};
    ingress_.ledger->Open(id, LedgerEntry{});
    Message message;
    message.id = id.Pack();
    message.origin = ingress_.incarnation();
    message.deadline_ns = INT64_MAX / 2 + slot;  // in the order of asking
    message.block = ingress_.Write(text);
    ASSERT_TRUE(ingress_.lane.Send(worker_->incarnation(), message));
    ingress_.lane.Release(message.block);
    ingress_.lane.Flush();
  }
  // Polls until `done` says yes. False: out of patience.
  template <typename Done>
  bool PollUntil(Done done) {
    const int64_t until = MonotonicNanos() + RemoteWorker::kPatienceMs * kNanosPerMilli;
    while (!done()) {
      if (MonotonicNanos() > until) return false;
      if (ingress_.lane.Poll() == 0) usleep(50);
    }
    return true;
  }
  int ExitCode() {
    const int status = worker_->Reap();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress);
  Recorder answers_{&ingress_.lane};
  std::optional<RemoteWorker> worker_;
};

TEST_F(ProcessTest, AnswersOverSharedMemory) {
  Start();
  EXPECT_EQ(worker_->page().pid.load(), worker_->page().liveness.load() & 0x3fffffff);
  for (uint16_t slot = 0; slot < 50; ++slot) Ask(slot, "message " + std::to_string(slot));
  ASSERT_TRUE(PollUntil([&] { return answers_.messages.size() == 50; }));
  EXPECT_EQ(answers_.texts[0], "0 egassem");
  EXPECT_EQ(answers_.texts[49], "94 egassem");
  ASSERT_TRUE(PollUntil([&] { return worker_->page().Get(Counter::kBlocksTaken) == 0; }));
  EXPECT_EQ(ingress_.lane.arena().taken(), 0u);
  EXPECT_EQ(worker_->page().Get(Counter::kTaken), 50u);
  EXPECT_EQ(worker_->page().Get(Counter::kAnswered), 50u);
  EXPECT_EQ(worker_->page().Get(Counter::kFaults), 0u);
}

TEST_F(ProcessTest, AParkedWorkerIsWoken) {
  Start();
  for (uint16_t slot = 0; slot < 20; ++slot) {
    ASSERT_TRUE(PollUntil([&] { return worker_->page().parked.load() % 2 == 1; }));
    Ask(slot, "wake up");
    ASSERT_TRUE(PollUntil([&] { return answers_.messages.size() == slot + 1u; }));
  }
  EXPECT_GE(worker_->page().Get(Counter::kParks), 20u);
}

// Turns of the worker's loop from a message that woke it to its next sleep.
TEST_F(ProcessTest, ItWaitsAsTheRosterSaysNow) {
  Start();
  uint16_t slot = 0;
  const auto turns = [&] {
    const auto parked = [&] { return worker_->page().parked.load() % 2 == 1; };
    EXPECT_TRUE(PollUntil(parked));
    const uint64_t before = worker_->page().beat.load();
    Ask(slot++ % 64, "wake up");
    EXPECT_TRUE(PollUntil([&] { return answers_.messages.size() == slot; }));
    EXPECT_TRUE(PollUntil(parked));
    return worker_->page().beat.load() - before;
  };
  const auto set = [&](WaitMode mode) {
    const uint64_t before = worker_->page().roster_generation.load();
    rig_.SetWait(worker_->incarnation(), mode);
    ASSERT_TRUE(PollUntil([&] { return worker_->page().roster_generation.load() > before; }));
  };
  // Between them YIELD is seen as well: on idle cores it takes many turns, which PARK never does,
  // and where others keep the core it takes few, which SPIN never does.
  for (int i = 0; i < 3; ++i) {
    // The turn that works, and one that finds nothing; more where it was woken in vain.
    set(WaitMode::kPark);
    int few = 0;
    EXPECT_TRUE(PollUntil([&] { return (few = turns() <= 6 ? few + 1 : 0) == 20; }));
    // It looks at the clock only every so many turns, and so never sleeps before.
    set(WaitMode::kSpin);
    for (int n = 0; n < 200; ++n) ASSERT_GE(turns(), uint64_t{Idler::kSpinsPerLook});
  }
}

TEST_F(ProcessTest, AnErrorComesBackAsOne) {
  Start();
  Ask(1, "refuse");
  ASSERT_TRUE(PollUntil([&] { return answers_.messages.size() == 1; }));
  EXPECT_EQ(answers_.messages[0].kind, MessageKind::kError);
  EXPECT_THAT(answers_.texts, ElementsAre("as asked"));
}

TEST_F(ProcessTest, ACrashNamesItsReasonAndWhatWasExecuted) {
  Start();
  Ask(7, "crash");
  ASSERT_TRUE(PollUntil([&] { return worker_->Dead(); }));
  EXPECT_EQ(worker_->page().state.load(), static_cast<uint32_t>(LaneState::kDying));
  EXPECT_EQ(worker_->page().exit_reason.load(), static_cast<uint32_t>(SIGSEGV));
  ASSERT_EQ(worker_->page().executing_count.load(), 1u);
  EXPECT_EQ(PartId::Unpack(worker_->page().executing_id[0].load()).slot, 7);
  EXPECT_EQ(worker_->page().executing_origin[0].load(), ingress_.incarnation());
  EXPECT_EQ(ExitCode(), -SIGSEGV);
  rig_.Leave(worker_->incarnation());
  ingress_.lane.Poll();
  EXPECT_EQ(ingress_.lane.arena().taken(), 0u);
  EXPECT_THAT(answers_.lost, ElementsAre(worker_->incarnation()));
}

TEST_F(ProcessTest, AStopIsExitCodeZeroEvenWhileParked) {
  Start();
  ASSERT_TRUE(PollUntil([&] { return worker_->page().parked.load() % 2 == 1; }));
  ToProcess stop;
  stop.mutable_stop();
  worker_->Send(stop);
  EXPECT_EQ(ExitCode(), kExitOk);
  EXPECT_TRUE(worker_->Dead());
}

TEST_F(ProcessTest, DrainedIsSaidOnceNothingIsHeld) {
  Start();
  ToProcess drain;
  drain.mutable_drain();
  answers_.hold = true;
  Ask(1, ForBlock("last one"));
  ASSERT_TRUE(PollUntil([&] { return answers_.messages.size() == 1; }));
  worker_->Send(drain);
  // The answer's block is still lent: not drained, however long it takes.
  for (int i = 0; i < 100; ++i) {
    ingress_.lane.Poll();
    usleep(2000);
  }
  EXPECT_EQ(worker_->page().Get(Counter::kBlocksTaken), 1u);
  answers_.ReturnHeld();
  std::optional<FromProcess> drained = worker_->Receive();
  ASSERT_TRUE(drained.has_value());
  EXPECT_TRUE(drained->has_drained());
  EXPECT_EQ(worker_->page().Get(Counter::kBlocksTaken), 0u);
}

TEST_F(ProcessTest, CatalogsAreAnswered) {
  Start();
  Catalog catalog;
  catalog.set_generation(5);
  const auto send = [&](uint64_t generation, const std::string& bytes) {
    const Fd fd = Must(MakeSealedCopy("catalog", bytes.data(), bytes.size()));
    ToProcess update;
    update.mutable_catalog()->set_generation(generation);
    worker_->Send(update, {fd.get()});
    std::optional<FromProcess> ready = worker_->Receive();
    EXPECT_TRUE(ready.has_value() && ready->has_catalog_ready());
    EXPECT_EQ(ready->catalog_ready().generation(), generation);
    return ready->catalog_ready().error();
  };
  EXPECT_EQ(send(5, catalog.SerializeAsString()), "");
  EXPECT_EQ(worker_->page().catalog_generation.load(), 5u);
  catalog.set_generation(6);
  catalog.add_models();
  EXPECT_EQ(send(6, catalog.SerializeAsString()), "an echo has no models");
  EXPECT_EQ(worker_->page().catalog_generation.load(), 5u);
  EXPECT_THAT(send(7, "\xff\xff\xff\xff"), HasSubstr("cannot be parsed"));
}

TEST_F(ProcessTest, APeerThatBreaksTheRulesIsReported) {
  Start();
  RawPeer& raw = rig_.AddRaw(Stage::kFeatures);
  ToProcess peer;
  LaneName* name = peer.mutable_peer()->mutable_name();
  name->set_incarnation(raw.id.incarnation);
  name->set_stage(static_cast<uint32_t>(Stage::kFeatures));
  // The page stands in the arena's place, too.
  worker_->Send(peer, {raw.page.fd().get(), raw.page.fd().get(), raw.wake.get()});
  std::optional<FromProcess> fault = worker_->Receive();
  ASSERT_TRUE(fault.has_value() && fault->has_fault());
  EXPECT_EQ(fault->fault().incarnation(), raw.id.incarnation);
  EXPECT_THAT(fault->fault().reason(), HasSubstr("kind"));
  // Who is in order is served on.
  Ask(1, "still there");
  ASSERT_TRUE(PollUntil([&] { return answers_.messages.size() == 1; }));
}

TEST_F(ProcessTest, ATerminalsSignalsAreNotItsBusiness) {
  Start();
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) worker_->Signal(signal);
  Ask(1, "still there");
  EXPECT_TRUE(PollUntil([&] { return answers_.messages.size() == 1; }));
}

// Exit codes for what a supervisor of ours never says.
TEST_F(ProcessTest, WrongFirstWordsEndIt) {
  worker_.emplace(&rig_, Stage::kExecution, kProgram);
  ToProcess stop;
  stop.mutable_stop();
  worker_->Send(stop);  // before Configure
  EXPECT_EQ(ExitCode(), kExitProtocol);

  ToProcess configure;
  LaneName* name = configure.mutable_configure()->add_lanes();
  name->set_incarnation(9);
  name->set_stage(static_cast<uint32_t>(Stage::kFeatures));
  worker_.emplace(&rig_, Stage::kExecution, kProgram);
  worker_->Send(configure, {rig_.roster_fd()});  // another stage's
  EXPECT_EQ(ExitCode(), kExitProtocol);

  name->set_stage(static_cast<uint32_t>(Stage::kExecution));
  worker_.emplace(&rig_, Stage::kExecution, kProgram);
  worker_->Send(configure);  // without the roster
  EXPECT_EQ(ExitCode(), kExitProtocol);

  configure.mutable_configure()->set_config_yaml("ingress:\n  no_such_field: 1\n");
  worker_.emplace(&rig_, Stage::kExecution, kProgram);
  worker_->Send(configure, {rig_.roster_fd()});
  EXPECT_EQ(ExitCode(), kExitProtocol);
}

TEST_F(ProcessTest, WithoutASupervisorItEnds) {
  worker_.emplace(&rig_, Stage::kExecution, kProgram, std::vector<std::string>{"--control_fd=77"});
  EXPECT_EQ(ExitCode(), kExitUsage);
  worker_.emplace(&rig_, Stage::kExecution, kProgram, std::vector<std::string>{"--what"});
  EXPECT_EQ(ExitCode(), kExitUsage);
}

TEST_F(ProcessTest, AnOrphanEnds) {
  Start();
  worker_->HangUp();
  EXPECT_EQ(ExitCode(), kExitOrphan);
  EXPECT_TRUE(worker_->Dead());
}

}  // namespace
}  // namespace millrace
