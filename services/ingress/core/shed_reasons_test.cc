// Each reason to refuse a request or to give it up has its own counter, and counts once.
#include <deque>
#include <vector>

#include "common/clock.h"
#include "services/ingress/core/testing/ingress_rig.h"

namespace millrace {
namespace {

constexpr Counter kReasons[] = {
    Counter::kShedPredicted, Counter::kShedLimit,   Counter::kShedFull,  Counter::kShedDelay,
    Counter::kShedPriority,  Counter::kShedReplays, Counter::kShedQuota, Counter::kShedBreaker};

class ShedReasonsTest : public IngressRigTest {
 protected:
  static constexpr int64_t kInFlight = 256;
  ShedReasonsTest() : IngressRigTest(kInFlight) {}

  // So many for this reason, and none for another.
  void ExpectOnly(Counter reason, uint64_t count) {
    for (const Counter other : kReasons) {
      EXPECT_EQ(Count(other), other == reason ? count : 0u)
          << kCounterNames[static_cast<size_t>(other)];
    }
  }
  Answer* Ask(int64_t deadline_ns = 0, uint32_t priority = 0) {
    Infer(1, &answers_.emplace_back(), deadline_ns, priority);
    return &answers_.back();
  }
  void PollUntil(int64_t when_ns) {
    while (MonotonicNanos() < when_ns) lane_.Poll();
  }

  std::deque<Answer> answers_;
};

TEST_F(ShedReasonsTest, WhatCannotFinishInTime) {
  EXPECT_TRUE(absl::IsDeadlineExceeded(Ask(1)->status));
  ExpectOnly(Counter::kShedPredicted, 1);
}

TEST_F(ShedReasonsTest, AFullLedger) {
  for (int64_t i = 0; i < kInFlight; ++i) EXPECT_EQ(Ask()->times, 0);
  EXPECT_TRUE(absl::IsUnavailable(Ask()->status));
  ExpectOnly(Counter::kShedFull, 1);
}

// Deadlines that pass bring the limit down; something is in flight all the time, or it would be
// back where it was.
TEST_F(ShedReasonsTest, MoreInFlightThanDeadlinesBear) {
  Ask();
  for (int round = 0; round < 20; ++round) {
    std::vector<Answer*> late;
    for (int i = 0; i < 60; ++i) late.push_back(Ask(MonotonicNanos() + 2 * kNanosPerMilli));
    for (const Answer* answer : late) {
      while (answer->times == 0) lane_.Poll();
    }
  }
  const uint64_t predicted = Count(Counter::kShedPredicted), before = Count(Counter::kShedLimit);
  int64_t taken = 1;
  for (; taken < kInFlight && Ask()->times == 0; ++taken) {
  }
  EXPECT_LT(taken, kInFlight) << "slots are free";
  EXPECT_GE(taken, 16) << "the least";
  EXPECT_EQ(Count(Counter::kShedLimit), before + 1);
  EXPECT_EQ(Count(Counter::kShedFull), 0u);
  EXPECT_EQ(Count(Counter::kShedPredicted), predicted);
}

// A worker's window is taken, and those behind wait for more than the target for a whole interval.
TEST_F(ShedReasonsTest, WhatWaitsTooLong) {
  auto execution = AddExecution();
  const int64_t begin_ns = MonotonicNanos(), given_ns = 4 * kNanosPerSecond;
  for (int i = 0; i < 70; ++i) Ask(begin_ns + given_ns);
  std::vector<WorkItem> taken;
  execution->worker.Poll();
  while (auto item = execution->worker.Pop()) taken.push_back(*item);
  ASSERT_EQ(taken.size(), 64u);
  for (const int64_t share : {500, 550}) {  // thousandths
    PollUntil(begin_ns + given_ns * share / 1000);
    execution->AnswerOne(taken.back());
    taken.pop_back();
    lane_.Poll();
  }
  EXPECT_EQ(Count(Counter::kShedDelay), 0u);
  PollUntil(begin_ns + given_ns * 720 / 1000);
  ExpectOnly(Counter::kShedDelay, 4);
}

TEST_F(ShedReasonsTest, WhatGivesWay) {
  for (int64_t i = 0; i < kInFlight; ++i) Ask(0, 3);
  EXPECT_EQ(Ask(0, 1)->times, 0);
  ExpectOnly(Counter::kShedPriority, 1);
}

// One window is always replayed; of a second one at the same time nothing is.
TEST_F(ShedReasonsTest, WhatIsReplayedBeyondTheBudget) {
  auto first = AddExecution(), second = AddExecution();
  for (int i = 0; i < 128; ++i) Ask();
  first->worker.Poll();
  second->worker.Poll();
  ASSERT_EQ(Count(Counter::kQueueDepth), 0u) << "all are sent";
  rig_.Leave(first->lane.incarnation());
  lane_.Poll();
  ExpectOnly(Counter::kShedReplays, 0);
  EXPECT_EQ(Count(Counter::kReplayed), 64u);
  rig_.Leave(second->lane.incarnation());
  lane_.Poll();
  ExpectOnly(Counter::kShedReplays, 64);
  EXPECT_EQ(Count(Counter::kReplayed), 64u);
}

TEST_F(ShedReasonsTest, AQuota) {
  lane_.CountQuotaRefusal();
  ExpectOnly(Counter::kShedQuota, 1);
}

TEST_F(ShedReasonsTest, ABreaker) {
  auto execution = AddExecution();
  lane_.SetStageBreaker(Stage::kExecution, BreakerState::kOpen);
  lane_.Poll();
  EXPECT_TRUE(absl::IsUnavailable(Ask()->status));
  ExpectOnly(Counter::kShedBreaker, 1);
}

// Refusals for want of room let new requests rest unread, as long as requests have, and once.
TEST_F(ShedReasonsTest, OnlyRefusalsForWantOfRoomRest) {
  auto execution = AddExecution();
  for (int i = 0; i < 100; ++i) Ask(MonotonicNanos() + 10 * kNanosPerSecond);
  execution->AnswerAll();  // the first 64
  lane_.Poll();
  EXPECT_EQ(lane_.TakeRestNs(), 0);
  Ask(1);
  EXPECT_EQ(lane_.TakeRestNs(), 0) << "it was too late, not one too many";
  for (int64_t i = 36; i <= kInFlight; ++i) Ask(MonotonicNanos() + 10 * kNanosPerSecond);
  EXPECT_EQ(Count(Counter::kShedFull), 1u);
  EXPECT_GT(lane_.TakeRestNs(), 0);
  EXPECT_LE(lane_.TakeRestNs(), 0) << "asked once a turn";
}

}  // namespace
}  // namespace millrace
