// Lanes in one process on one thread, with real memory: what flows, what ends, what is refused.
#include "services/runtime/lane.h"

#include <string>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/runtime/testing/lane_rig.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

// Ingress sends to execution, which answers it; nobody interprets the messages.
class LaneTest : public ::testing::Test {
 protected:
  LaneTest() {
    rig_.Link(a_, b_);
    rig_.Link(b_, a_);
    PollBoth();
  }
  void PollBoth() {
    a_.lane.Poll();
    b_.lane.Poll();
  }
  // Sends one message with `text` in a block that is given up to the link.
  void Send(TestLane& from, TestLane& to, const std::string& text, uint64_t id = 0) {
    Message message;
    message.id = id;
    message.block = from.Write(ForBlock(text), id);
    ASSERT_TRUE(from.lane.Send(to.incarnation(), message));
    from.lane.Release(message.block);
  }

  LaneRig rig_;
  TestLane& a_ = rig_.Add(Stage::kIngress);
  TestLane& b_ = rig_.Add(Stage::kExecution);
  Recorder at_a_{&a_.lane};
  Recorder at_b_{&b_.lane};
};

TEST_F(LaneTest, LinksComeUpAndAreReportedOnce) {
  const auto ab = Pair(a_.incarnation(), b_.incarnation());
  const auto ba = Pair(b_.incarnation(), a_.incarnation());
  EXPECT_THAT(a_.link_ups, ElementsAre(ab, ba));
  EXPECT_THAT(b_.link_ups, ElementsAre(ab, ba));
  // Two links, one peer.
  ASSERT_THAT(at_a_.peers, SizeIs(1));
  EXPECT_EQ(at_a_.peers[0].incarnation, b_.incarnation());
  EXPECT_EQ(at_a_.peers[0].stage, Stage::kExecution);
  EXPECT_NE(a_.lane.FindPeer(b_.incarnation()), nullptr);
  EXPECT_EQ(a_.lane.FindPeer(99), nullptr);
}

TEST_F(LaneTest, MessagesFlowInOrderAndBlocksComeBack) {
  for (int i = 0; i < 5; ++i) Send(a_, b_, "message " + std::to_string(i), 100 + i);
  EXPECT_EQ(a_.lane.arena().taken(), 5u);
  EXPECT_EQ(b_.lane.Poll(), 5u);
  EXPECT_THAT(at_b_.texts,
              ElementsAre(ForBlock("message 0"), ForBlock("message 1"), ForBlock("message 2"),
                          ForBlock("message 3"), ForBlock("message 4")));
  EXPECT_THAT(at_a_.freed, IsEmpty());
  a_.lane.Poll();
  EXPECT_THAT(at_a_.freed, ElementsAre(100, 101, 102, 103, 104));
  EXPECT_EQ(a_.lane.arena().taken(), 0u);
  EXPECT_EQ(a_.lane.page().Get(Counter::kBlocksTaken), 0u);
}

TEST_F(LaneTest, AMessageWithoutABlockNeedsNoReturn) {
  Message message;
  message.id = 7;
  ASSERT_TRUE(a_.lane.Send(b_.incarnation(), message));
  PollBoth();
  PollBoth();
  ASSERT_THAT(at_b_.messages, SizeIs(1));
  EXPECT_EQ(at_b_.messages[0].id, 7u);
  EXPECT_THAT(at_a_.freed, IsEmpty());
}

// What fits a message travels in it: nothing is lent, and the block is free at once.
TEST_F(LaneTest, SmallDataNeedsNoBlock) {
  for (size_t size = 1; size <= kInlineBytes + 1; ++size) {
    Message message;
    message.block = a_.Write(std::string(size, 'x'), size);
    ASSERT_TRUE(a_.lane.Send(b_.incarnation(), message));
    a_.lane.Release(message.block);
    const bool is_inline = size <= kInlineBytes;
    EXPECT_EQ(a_.lane.arena().taken(), is_inline ? 0u : 1u) << size;
    b_.lane.Poll();
    EXPECT_EQ(at_b_.texts.back(), std::string(size, 'x'));
    EXPECT_EQ(at_b_.messages.back().kind, is_inline ? MessageKind::kInline : MessageKind::kData);
    a_.lane.Poll();
  }
  EXPECT_EQ(a_.lane.arena().taken(), 0u);
}

// A sentence stays in its block: its message's code says which status.
TEST_F(LaneTest, AnErrorIsNeverInline) {
  Message message;
  message.kind = MessageKind::kError;
  message.code = 3;
  message.block = a_.Write("bad");
  ASSERT_TRUE(a_.lane.Send(b_.incarnation(), message));
  a_.lane.Release(message.block);
  PollBoth();
  ASSERT_THAT(at_b_.messages, SizeIs(1));
  EXPECT_EQ(at_b_.messages[0].kind, MessageKind::kError);
  EXPECT_EQ(at_b_.messages[0].code, 3);
  EXPECT_EQ(at_b_.texts[0], "bad");
}

TEST_F(LaneTest, ABlockSentTwiceComesBackTwice) {
  TestLane& c = rig_.Add(Stage::kFeatures);
  Recorder at_c(&c.lane);
  rig_.Link(a_, c);
  PollBoth();
  c.lane.Poll();
  Message message;
  message.block = a_.Write(ForBlock("shared"), 9);
  ASSERT_TRUE(a_.lane.Send(b_.incarnation(), message));
  ASSERT_TRUE(a_.lane.Send(c.incarnation(), message));
  a_.lane.Release(message.block);
  PollBoth();
  a_.lane.Poll();
  EXPECT_THAT(at_a_.freed, IsEmpty());
  c.lane.Poll();
  a_.lane.Poll();
  EXPECT_THAT(at_a_.freed, ElementsAre(9));
}

TEST_F(LaneTest, WithoutALinkTheBlockStaysTheSenders) {
  Message message;
  message.block = a_.Write(ForBlock("kept"));
  EXPECT_FALSE(a_.lane.CanSend(99));
  EXPECT_FALSE(a_.lane.Send(99, message));
  EXPECT_EQ(a_.lane.arena().taken(), 1u);
  a_.lane.Release(message.block);
  EXPECT_EQ(a_.lane.arena().taken(), 0u);
}

TEST_F(LaneTest, OneTurnTakesABoundedNumberFromEachLink) {
  TestLane& c = rig_.Add(Stage::kFeatures);
  Recorder at_c(&c.lane);
  rig_.Link(c, b_);
  c.lane.Poll();
  b_.lane.Poll();
  for (int i = 0; i < 200; ++i) Send(a_, b_, "a", i);
  Send(c, b_, "c");
  // The long queue of one producer does not keep the other waiting beyond this turn.
  EXPECT_EQ(b_.lane.Poll(), 65u);
  EXPECT_EQ(at_b_.texts.back(), ForBlock("c"));
  EXPECT_EQ(b_.lane.Poll(), 64u);
  EXPECT_EQ(b_.lane.Poll(), 64u);
  EXPECT_EQ(b_.lane.Poll(), 8u);
  EXPECT_EQ(b_.lane.Poll(), 0u);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(at_b_.messages[i].id, static_cast<uint64_t>(i));
}

TEST_F(LaneTest, ALeavingPeerIsDrainedThenLostOnce) {
  for (int i = 0; i < 100; ++i) Send(a_, b_, "last words", i);
  Send(b_, a_, "lent to the dead", 3);
  rig_.Leave(a_.incarnation());
  at_b_.hold = true;
  b_.lane.Poll();
  EXPECT_THAT(at_b_.messages, SizeIs(100));
  EXPECT_THAT(at_b_.lost, ElementsAre(a_.incarnation()));
  EXPECT_THAT(at_b_.messages_when_lost, ElementsAre(100));
  EXPECT_THAT(at_b_.freed, ElementsAre(3));
  EXPECT_EQ(b_.lane.arena().taken(), 0u);
  EXPECT_EQ(b_.lane.FindPeer(a_.incarnation()), nullptr);
  EXPECT_FALSE(b_.lane.CanSend(a_.incarnation()));
  EXPECT_FALSE(b_.lane.Send(a_.incarnation(), Message{}));
  // What it still writes is not read any more; what was taken from it is still there.
  a_.lane.Send(b_.incarnation(), Message{});
  rig_.SetState(b_.incarnation(), RosterState::kLeaving);
  b_.lane.Poll();
  b_.lane.Poll();
  EXPECT_THAT(at_b_.messages, SizeIs(100));
  EXPECT_EQ(at_b_.texts[99], ForBlock("last words"));
  at_b_.ReturnHeld();
  b_.lane.Poll();
  EXPECT_THAT(at_b_.lost, SizeIs(1));
  EXPECT_THAT(b_.faults, IsEmpty());
}

TEST_F(LaneTest, HeldMemoryOfTheDeadStaysReadable) {
  Send(a_, b_, "still here");
  at_b_.hold = true;
  b_.lane.Poll();
  rig_.Leave(a_.incarnation());
  b_.lane.Poll();
  b_.lane.Poll();
  auto [from, message] = at_b_.held.at(0);
  auto bytes = from->peer->Payload(message);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()),
            ForBlock("still here"));
  at_b_.ReturnHeld();
  b_.lane.Poll();
}

TEST_F(LaneTest, AReturnOfTheLastMomentIsNotTakenBackTwice) {
  Send(a_, b_, "one", 1);
  Send(a_, b_, "two", 2);
  at_b_.hold = true;
  b_.lane.Poll();
  b_.lane.Return(*at_b_.held[0].first, at_b_.held[0].second);
  rig_.Leave(b_.incarnation());
  a_.lane.Poll();  // a double release would abort
  EXPECT_THAT(at_a_.freed, ElementsAre(1, 2));
}

TEST_F(LaneTest, ALinkToWhoIsNotInTheRosterIsLetGo) {
  TestLane& c = rig_.Add(Stage::kFeatures);
  rig_.Link(c, b_);
  rig_.Leave(c.incarnation());
  b_.lane.Poll();
  EXPECT_THAT(at_b_.peers, SizeIs(1));
  EXPECT_THAT(b_.link_ups, SizeIs(2));
}

// The roster is read when a link is taken up; a death that this reading shows must not be passed
// over.
TEST_F(LaneTest, TakingUpALinkDoesNotHideADeath) {
  Send(b_, a_, "lent", 5);
  TestLane& c = rig_.Add(Stage::kFeatures);
  rig_.Link(c, b_);
  rig_.Leave(a_.incarnation());
  b_.lane.Poll();
  EXPECT_THAT(at_b_.lost, ElementsAre(a_.incarnation()));
  EXPECT_THAT(at_b_.freed, ElementsAre(5));
  EXPECT_NE(b_.lane.FindPeer(c.incarnation()), nullptr);
}

TEST_F(LaneTest, TheFenceOfAParkedPeerIsPassedOnlyWithSomethingToTake) {
  b_.TakeWake();  // of the set-up
  EXPECT_FALSE(b_.lane.HasWork());
  b_.lane.Arm();
  EXPECT_EQ(b_.lane.page().parked.load() % 2, 1u);
  a_.lane.Flush();
  EXPECT_FALSE(b_.TakeWake());  // nothing was sent
  Send(a_, b_, "one");
  EXPECT_TRUE(b_.lane.HasWork());
  EXPECT_FALSE(b_.TakeWake());  // not before the batch is complete
  a_.lane.Flush();
  EXPECT_TRUE(b_.TakeWake());
  Send(a_, b_, "two");
  a_.lane.Flush();
  EXPECT_FALSE(b_.TakeWake());  // woken from this sleep already
  b_.lane.Unpark();
  EXPECT_EQ(b_.lane.page().parked.load() % 2, 0u);
  Send(a_, b_, "three");
  a_.lane.Flush();
  EXPECT_FALSE(b_.TakeWake());  // awake
  EXPECT_EQ(b_.lane.page().Get(Counter::kParks), 1u);
}

TEST_F(LaneTest, WorkIsAlsoARosterAndAPost) {
  EXPECT_FALSE(b_.lane.HasWork());
  rig_.SetState(a_.incarnation(), RosterState::kLeaving);
  EXPECT_TRUE(b_.lane.HasWork());
  b_.lane.Poll();
  EXPECT_FALSE(b_.lane.HasWork());
  EXPECT_EQ(b_.lane.roster().Find(a_.incarnation())->state, RosterState::kLeaving);
  EXPECT_EQ(b_.lane.page().roster_generation.load(), b_.lane.roster().generation);
  bool ran = false;
  b_.TakeWake();
  b_.lane.Post([&] { ran = true; });
  EXPECT_TRUE(b_.TakeWake());
  EXPECT_TRUE(b_.lane.HasWork());
  EXPECT_FALSE(ran);
  EXPECT_EQ(b_.lane.Poll(), 1u);
  EXPECT_TRUE(ran);
  EXPECT_FALSE(b_.lane.HasWork());
}

TEST_F(LaneTest, ManyInFlightAreACrowd) {
  const auto set = [](TestLane& lane, uint64_t in_flight) {
    lane.lane.page().Set(Counter::kInFlight, in_flight);
  };
  EXPECT_FALSE(b_.lane.InACrowd());
  set(a_, Lane::kCrowd - 1);
  EXPECT_FALSE(a_.lane.InACrowd());
  EXPECT_FALSE(b_.lane.InACrowd());
  set(a_, Lane::kCrowd);
  const int64_t seen_ns = MonotonicNanos();
  EXPECT_TRUE(a_.lane.InACrowd()) << "its own";
  EXPECT_TRUE(b_.lane.InACrowd()) << "its peer's";
  // Between two batches it is still so, and then no more.
  set(a_, 0);
  while (b_.lane.InACrowd()) {
  }
  EXPECT_GE(MonotonicNanos(), seen_ns + Lane::kCrowdNs);
  EXPECT_FALSE(b_.lane.InACrowd());
}

TEST_F(LaneTest, EveryTurnBeats) {
  const uint64_t before = a_.lane.page().beat.load();
  a_.lane.Poll();
  a_.lane.Poll();
  EXPECT_EQ(a_.lane.page().beat.load(), before + 2);
}

TEST_F(LaneTest, ThePageTellsTheWorstTurnAndSleepIsNone) {
  int64_t now = 100 * kNanosPerSecond;
  const auto worst = [&] { return a_.lane.page().Get(Counter::kWorstTurnNs); };
  a_.lane.Turned(now);
  a_.lane.Turned(now += 7 * kNanosPerMilli);
  EXPECT_EQ(worst(), 7u * kNanosPerMilli);
  a_.lane.Arm();
  a_.lane.Unpark();
  a_.lane.Turned(now += 40 * kNanosPerMilli);
  EXPECT_EQ(worst(), 7u * kNanosPerMilli);
  a_.lane.Turned(now += 9 * kNanosPerMilli);
  EXPECT_EQ(worst(), 9u * kNanosPerMilli);
}

TEST_F(LaneTest, ReturningAMessageTwiceAborts) {
  Send(a_, b_, "once");
  at_b_.hold = true;
  b_.lane.Poll();
  auto [from, message] = at_b_.held.at(0);
  at_b_.ReturnHeld();
  EXPECT_DEATH(b_.lane.Return(*from, message), "returned twice");
}

}  // namespace
}  // namespace millrace
