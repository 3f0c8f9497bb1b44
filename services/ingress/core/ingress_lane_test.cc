// The ingress lane with real workers' ends, driven by hand on one thread.
#include "services/ingress/core/ingress_lane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <string>

#include "common/clock.h"
#include "common/testing/allocations.h"
#include "services/ingress/core/testing/ingress_rig.h"

namespace millrace {
namespace {

using IngressLaneTest = IngressRigTest;

TEST_F(IngressLaneTest, ARequestIsAnsweredOnce) {
  auto execution = AddExecution();
  Answer answer;
  EXPECT_NE(Infer(41, &answer), 0u);
  execution->AnswerAll();
  EXPECT_EQ(answer.times, 0);
  lane_.Poll();
  EXPECT_EQ(answer.times, 1);
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  EXPECT_EQ(answer.value, 42);
  Settle({execution.get()});
  EXPECT_EQ(answer.times, 1);
}

TEST_F(IngressLaneTest, WithoutAWorkerARequestWaitsForOne) {
  Answer answer;
  EXPECT_NE(Infer(1, &answer), 0u);
  lane_.Poll();
  EXPECT_EQ(answer.times, 0);
  auto execution = AddExecution();
  lane_.Poll();
  execution->AnswerAll();
  lane_.Poll();
  EXPECT_EQ(answer.value, 2);
}

// Workers further down a route may not know a lane that is starting: they would drop its requests.
TEST_F(IngressLaneTest, NothingIsSentBeforeTheLaneIsLinkedWithEverybody) {
  auto execution = AddExecution();
  rig_.SetState(ingress_.lane.id().incarnation, RosterState::kStarting);
  lane_.Poll();
  Answer answer;
  Infer(1, &answer);
  lane_.Poll();
  execution->AnswerAll();
  lane_.Poll();
  EXPECT_EQ(execution->worker.page().Get(Counter::kTaken), 0u);
  EXPECT_EQ(answer.times, 0);
  rig_.SetState(ingress_.lane.id().incarnation, RosterState::kReady);
  Settle({execution.get()});
  EXPECT_EQ(answer.times, 1);
  EXPECT_EQ(answer.value, 2);
}

TEST_F(IngressLaneTest, AFullLedgerRefusesAtOnce) {
  std::vector<Answer> answers(9);
  for (Answer& a : answers) Infer(1, &a);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(answers[i].times, 0);
  EXPECT_EQ(answers[8].times, 1);
  EXPECT_TRUE(absl::IsUnavailable(answers[8].status)) << answers[8].status;
}

TEST_F(IngressLaneTest, AFullLedgerGivesTheLowestPrioritysPlaceToAHigherOne) {
  std::vector<Answer> answers(9);
  for (int i = 0; i < 8; ++i) Infer(1, &answers[i], 0, i == 3 ? 200 : 100);
  Infer(1, &answers[8], 0, 99);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(answers[i].times, i == 3 ? 1 : 0) << i;
  EXPECT_TRUE(absl::IsUnavailable(answers[3].status)) << answers[3].status;
}

TEST_F(IngressLaneTest, ADeadWorkersRequestIsSentToAnother) {
  auto first = AddExecution();
  Answer answer;
  Infer(5, &answer);
  auto second = AddExecution();
  rig_.Leave(first->lane.incarnation());
  lane_.Poll();
  EXPECT_EQ(Count(Counter::kReplayed), 1u);
  second->AnswerAll();
  lane_.Poll();
  EXPECT_EQ(answer.times, 1);
  EXPECT_EQ(answer.value, 6);
  Settle({second.get()});
}

TEST_F(IngressLaneTest, WhatAWorkerPublishedBeforeItDiedCounts) {
  auto first = AddExecution();
  Answer answer;
  Infer(5, &answer);
  first->AnswerAll();
  rig_.Leave(first->lane.incarnation());
  lane_.Poll();
  EXPECT_EQ(answer.times, 1);
  EXPECT_EQ(answer.value, 6);
  EXPECT_EQ(Count(Counter::kReplayed), 0u);
}

// A worker dies with the request in its hands; the next one too, and so on.
class PoisonTest : public IngressLaneTest {
 protected:
  // The worker takes what is there, names it as executing, and dies. Whether it was sent alone.
  bool DieExecuting(Execution& execution, bool by_fatal_signal) {
    execution.worker.Poll();
    auto item = execution.worker.Pop();
    EXPECT_TRUE(item.has_value());
    execution.worker.Executing({&*item, 1}, 0);
    if (by_fatal_signal) {
      // relaxed: one thread writes and reads it.
      execution.lane.lane.page().state.store(static_cast<uint32_t>(LaneState::kDying),
                                             std::memory_order_relaxed);
    }
    rig_.Leave(execution.lane.incarnation());
    lane_.Poll();
    return (item->message.flags & kFlagAlone) != 0;
  }
};

TEST_F(PoisonTest, TwoFatalSignalsMakePoison) {
  Answer answer;
  auto first = AddExecution();
  Infer(1, &answer);
  EXPECT_FALSE(DieExecuting(*first, true));
  auto second = AddExecution();
  lane_.Poll();
  EXPECT_TRUE(DieExecuting(*second, true));
  EXPECT_EQ(answer.times, 1);
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kInternal) << answer.status;
  EXPECT_EQ(Count(Counter::kPoisoned), 1u);
  Settle({});
}

TEST_F(PoisonTest, ADeathFromOutsideBlamesARequestOnlyTheSecondTimeAlone) {
  Answer answer;
  auto first = AddExecution();
  Infer(1, &answer);
  EXPECT_FALSE(DieExecuting(*first, false));
  auto second = AddExecution();
  lane_.Poll();
  EXPECT_TRUE(DieExecuting(*second, false));
  EXPECT_EQ(answer.times, 0);
  auto third = AddExecution();
  lane_.Poll();
  EXPECT_TRUE(DieExecuting(*third, false));
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kInternal) << answer.status;
}

TEST_F(IngressLaneTest, ACancelledRequestGivesBackWhatItHeld) {
  auto execution = AddExecution();
  Answer answer;
  const RequestId id = Infer(1, &answer);
  lane_.Cancel(id);
  EXPECT_EQ(answer.times, 0);
  lane_.Poll();
  EXPECT_EQ(answer.times, 1);
  EXPECT_TRUE(absl::IsCancelled(answer.status)) << answer.status;
  lane_.Cancel(id);  // its slot is free: nothing happens
  Settle({execution.get()});
  EXPECT_EQ(answer.times, 1);
  EXPECT_EQ(execution->lane.lane.page().Get(Counter::kStale), 1u);
}

TEST_F(IngressLaneTest, APassedDeadlineIsAnsweredAndALateAnswerDropped) {
  auto execution = AddExecution();
  Answer answer;
  Infer(1, &answer, MonotonicNanos() + 5 * kNanosPerMilli);
  execution->worker.Poll();
  auto item = execution->worker.Pop();
  ASSERT_TRUE(item.has_value());
  while (answer.times == 0) lane_.Poll();
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kDeadlineExceeded);
  execution->AnswerOne(*item);
  lane_.Poll();
  EXPECT_EQ(answer.times, 1);
  EXPECT_EQ(Count(Counter::kStale), 1u);
  Settle({execution.get()});
}

TEST_F(IngressLaneTest, ADeadlineInThePastIsRefused) {
  auto execution = AddExecution();
  Answer answer;
  EXPECT_EQ(Infer(1, &answer, MonotonicNanos() - 1), 0u);
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kDeadlineExceeded);
}

// A model that ran for so long lets in nobody who has less, until refusals have worn that away.
TEST_F(IngressLaneTest, ADeadlineNearerThanTheModelIsFastIsRefusedAtFirst) {
  auto execution = AddExecution();
  Answer slow;
  Infer(1, &slow);
  execution->worker.Poll();
  auto item = execution->worker.Pop();
  ASSERT_TRUE(item.has_value());
  item->times.input_ns = kNanosPerSecond;  // as features would tell
  execution->AnswerOne(*item);
  lane_.Poll();
  ASSERT_EQ(slow.times, 1);
  Answer patient;
  EXPECT_NE(Infer(1, &patient, MonotonicNanos() + 5 * kNanosPerSecond), 0u);
  int refused = 0;
  Answer hasty;
  while (Infer(1, &hasty, MonotonicNanos() + kNanosPerSecond / 4) == 0) {
    EXPECT_EQ(hasty.status.code(), absl::StatusCode::kDeadlineExceeded);
    ASSERT_LT(++refused, 100);
  }
  EXPECT_GT(refused, 5);
  Settle({execution.get()});
}

TEST_F(IngressLaneTest, AnErrorOfAWorkerIsTheAnswer) {
  auto execution = AddExecution();
  Answer answer;
  Infer(1, &answer);
  execution->worker.Poll();
  auto item = execution->worker.Pop();
  ASSERT_TRUE(item.has_value());
  const Hop hop = {item->message.origin, 0, item->message.route};
  execution->worker.Reply(*item, {&hop, 1}, absl::InvalidArgumentError("column 'x' is odd"), {});
  lane_.Poll();
  EXPECT_TRUE(absl::IsInvalidArgument(answer.status));
  EXPECT_EQ(answer.status.message(), "column 'x' is odd");
  Settle({execution.get()});
}

TEST_F(IngressLaneTest, AnAnswerThatCannotBeReadEndsTheWorkerAndIsReplayed) {
  auto bad = AddExecution();
  Answer answer;
  Infer(1, &answer);
  bad->worker.Poll();
  auto item = bad->worker.Pop();
  ASSERT_TRUE(item.has_value());
  BlockRef block = *bad->worker.Allocate(*item, 64);
  memset(bad->worker.At(block), 0xff, 64);
  const Hop hop = {item->message.origin, 0, item->message.route};
  bad->worker.Reply(*item, {&hop, 1}, absl::OkStatus(), block);
  auto good = AddExecution();
  lane_.Poll();
  EXPECT_EQ(answer.times, 0);
  ASSERT_EQ(ingress_.faults.size(), 1u);
  EXPECT_EQ(ingress_.faults[0].first, bad->lane.incarnation());
  good->AnswerAll();
  lane_.Poll();
  EXPECT_EQ(answer.value, 2);
}

// What a request costs once every buffer has grown: no allocation, from Infer to Done.
TEST_F(IngressLaneTest, AfterWarmUpARequestAllocatesNothing) {
  auto execution = AddExecution();
  Answer answer;
  uint64_t allocated = 0;
  for (int round = 0; round < 2000; ++round) {
    const uint64_t before = Allocations();
    Infer(static_cast<float>(round), &answer);
    lane_.Poll();
    if (round >= 10) allocated += Allocations() - before;
    execution->AnswerAll();
    const uint64_t answered = Allocations();
    lane_.Poll();
    if (round >= 10) allocated += Allocations() - answered;
    ASSERT_EQ(answer.value, static_cast<float>(round + 1));
  }
  EXPECT_EQ(allocated, 0u);
}

// More than the windows take wait in the lane, and that costs nothing either.
TEST_F(IngressLaneTest, WaitingAllocatesNothing) {
  auto execution = AddExecution();
  const uint32_t worker = execution->lane.lane.id().incarnation;
  Answer answers[8];
  uint64_t allocated = 0;
  for (int round = 0; round < 1000; ++round) {
    rig_.SetState(worker, RosterState::kLeaving);  // what comes now waits
    lane_.Poll();
    const uint64_t before = Allocations();
    for (Answer& answer : answers) Infer(1, &answer);
    if (round >= 10) allocated += Allocations() - before;
    rig_.SetState(worker, RosterState::kReady);
    lane_.Poll();
    execution->AnswerAll();
    lane_.Poll();
    ASSERT_EQ(Count(Counter::kInFlight), 0u);
  }
  EXPECT_EQ(allocated, 0u);
}

}  // namespace
}  // namespace millrace
