// A lane beside peers that break the rules: each is reported once and ended, the lane goes on.
#include <random>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/runtime/lane.h"
#include "services/runtime/testing/lane_rig.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LaneFaultTest : public ::testing::Test {
 protected:
  LaneFaultTest() {
    rig_.Link(raw_, lane_);
    rig_.Link(lane_, raw_);
    lane_.lane.Poll();
  }
  void Send(const std::string& text, uint64_t tag) {
    Message message;
    message.block = lane_.Write(ForBlock(text), tag);
    ASSERT_TRUE(lane_.lane.Send(raw_.id.incarnation, message));
    lane_.lane.Release(message.block);
  }
  // The peer was reported once, everything lent to it is back, and nothing more comes from it.
  void ExpectEnded() {
    for (int i = 0; i < 3; ++i) lane_.lane.Poll();
    ASSERT_THAT(lane_.faults, SizeIs(1));
    EXPECT_EQ(lane_.faults[0].first, raw_.id.incarnation);
    EXPECT_EQ(lane_.lane.page().Get(Counter::kFaults), 1u);
    EXPECT_THAT(handler_.lost, ElementsAre(raw_.id.incarnation));
    EXPECT_EQ(lane_.lane.arena().taken(), 0u);
    EXPECT_FALSE(lane_.lane.CanSend(raw_.id.incarnation));
    const size_t before = handler_.messages.size();
    for (uint64_t n = 0; n < kSlots; ++n) raw_.Publish(n, Message{});
    rig_.Leave(raw_.id.incarnation);
    for (int i = 0; i < 5; ++i) lane_.lane.Poll();
    EXPECT_THAT(handler_.messages, SizeIs(before));
    EXPECT_THAT(handler_.lost, SizeIs(1));
    EXPECT_THAT(lane_.faults, SizeIs(1));
  }

  LaneRig rig_;
  TestLane& lane_ = rig_.Add(Stage::kExecution);
  RawPeer& raw_ = rig_.AddRaw(Stage::kFeatures);
  Recorder handler_{&lane_.lane};
};

TEST_F(LaneFaultTest, ASequenceFromNowhere) {
  Send("lent", 1);
  raw_.Publish(0, Message{});
  raw_.out()->slots[1].seq.store(77);
  lane_.lane.Poll();
  EXPECT_THAT(handler_.messages, SizeIs(1));  // what came before it counts
  ExpectEnded();
  EXPECT_THAT(handler_.freed, ElementsAre(1));
}

TEST_F(LaneFaultTest, AnUnknownKind) {
  Message message;
  message.kind = static_cast<MessageKind>(9);
  raw_.Publish(0, message);
  ExpectEnded();
}

TEST_F(LaneFaultTest, MoreTakenThanWasSent) {
  Send("lent", 1);
  raw_.back()->taken.store(2);
  ExpectEnded();
}

TEST_F(LaneFaultTest, TakenGoesBack) {
  Send("lent", 1);
  raw_.back()->taken.store(1);
  lane_.lane.Poll();
  EXPECT_THAT(lane_.faults, IsEmpty());
  raw_.back()->taken.store(0);
  ExpectEnded();
}

TEST_F(LaneFaultTest, ABlockThatWasNotLent) {
  Send("lent", 1);
  raw_.back()->returns[0].store(uint64_t{1} << 32 | 4711);
  ExpectEnded();
}

TEST_F(LaneFaultTest, ABlockReturnedTwice) {
  Message message;
  message.block = lane_.Write(ForBlock("lent"), 1);
  ASSERT_TRUE(lane_.lane.Send(raw_.id.incarnation, message));
  lane_.lane.Release(message.block);
  raw_.back()->returns[0].store(uint64_t{1} << 32 | message.block.offset);
  raw_.back()->returns[1].store(uint64_t{2} << 32 | message.block.offset);
  lane_.lane.Poll();
  EXPECT_THAT(handler_.freed, ElementsAre(1));  // the first return was right, and counted once
  ExpectEnded();
}

// Answers come, credits never: the ring fills, and that is the peer's doing, not ours.
TEST_F(LaneFaultTest, ANeverTakingPeerIsEndedNotWaitedFor) {
  Message message;
  for (uint64_t i = 0; i < kSlots; ++i) {
    ASSERT_TRUE(lane_.lane.Send(raw_.id.incarnation, message));
  }
  EXPECT_FALSE(lane_.lane.CanSend(raw_.id.incarnation));
  message.block = lane_.Write(ForBlock("kept"), 2);
  EXPECT_FALSE(lane_.lane.Send(raw_.id.incarnation, message));
  EXPECT_EQ(lane_.lane.arena().taken(), 1u);
  lane_.lane.Release(message.block);
  ExpectEnded();
}

TEST_F(LaneFaultTest, AFullLinkWhosePeerThenWritesRubbish) {
  for (uint64_t i = 0; i < kSlots; ++i) {
    ASSERT_TRUE(lane_.lane.Send(raw_.id.incarnation, Message{}));
  }
  raw_.back()->taken.store(kSlots + 1);
  EXPECT_FALSE(lane_.lane.Send(raw_.id.incarnation, Message{}));
  ExpectEnded();
}

// No window allows more than kSlots messages out at a time; a flood must not fill our memory.
TEST_F(LaneFaultTest, AFloodBeyondEveryWindow) {
  handler_.hold = true;
  for (uint64_t n = 0; n < kSlots; ++n) raw_.Publish(n, Message{});
  for (uint64_t i = 0; i <= kSlots / Lane::kDrain; ++i) lane_.lane.Poll();
  EXPECT_THAT(handler_.messages, SizeIs(kSlots));
  EXPECT_THAT(lane_.faults, IsEmpty());
  raw_.Publish(kSlots, Message{});
  lane_.lane.Poll();
  EXPECT_THAT(handler_.messages, SizeIs(kSlots));
  handler_.ReturnHeld();
  ExpectEnded();
}

TEST_F(LaneFaultTest, NothingIsDeliveredBehindAFaultThatTheHandlerFound) {
  int seen = 0;
  handler_.on_message = [&](Inbound& from, const Message& message) {
    ++seen;
    lane_.lane.Return(from, message);
    lane_.lane.Fault(*from.peer, "the handler says so");
  };
  for (uint64_t n = 0; n < 10; ++n) raw_.Publish(n, Message{});
  lane_.lane.Poll();
  EXPECT_EQ(seen, 1);
  ExpectEnded();
}

// A handler may refuse a peer when it first hears of it; its links are then not taken up.
TEST(LaneRefusalTest, APeerRefusedAtItsFirstLink) {
  struct Refuser : Recorder {
    explicit Refuser(Lane* lane) : Recorder(lane), lane(lane) {}
    void OnPeer(const std::shared_ptr<PeerLane>& peer) override { lane->Fault(*peer, "no"); }
    Lane* lane;
  };
  LaneRig rig;
  TestLane& lane = rig.Add(Stage::kExecution);
  Refuser handler(&lane.lane);
  RawPeer& raw = rig.AddRaw(Stage::kFeatures);
  rig.Link(raw, lane);
  rig.Link(lane, raw);
  raw.Publish(0, Message{});
  for (int i = 0; i < 4; ++i) lane.lane.Poll();
  EXPECT_THAT(handler.messages, IsEmpty());
  EXPECT_THAT(lane.faults, SizeIs(1));
  EXPECT_THAT(handler.lost, SizeIs(1));
  EXPECT_FALSE(lane.lane.CanSend(raw.id.incarnation));
}

// Any value in any word of a peer's two halves: never a crash, at most one report.
TEST(LaneFuzzTest, RandomWordsInAPeersHalves) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    LaneRig rig;
    TestLane& lane = rig.Add(Stage::kExecution);
    Recorder handler(&lane.lane);
    RawPeer& raw = rig.AddRaw(Stage::kFeatures);
    rig.Link(raw, lane);
    rig.Link(lane, raw);
    lane.lane.Poll();
    uint64_t published = 0;
    for (int step = 0; step < 60; ++step) {
      switch (random() % 4) {
        case 0:
          raw.Publish(published++, Message{});
          break;
        case 1:
          if (lane.lane.CanSend(raw.id.incarnation)) {
            Message message;
            message.block = lane.Write(ForBlock("x"), 1);
            lane.lane.Send(raw.id.incarnation, message);
            lane.lane.Release(message.block);
          }
          break;
        case 2:
          lane.lane.Poll();
          break;
        default:
          if (random() % 8 != 0) break;
          Region& half = random() % 2 == 0 ? raw.slots : raw.returns;
          const size_t words = half.size() / 4;
          // Mostly near the start, where the words are that are read next.
          const size_t at = random() % (random() % 4 == 0 ? words : 512);
          half.as<uint32_t>()[at] =
              static_cast<uint32_t>(random() % 3 == 0 ? random() : random() % 4);
      }
    }
    rig.Leave(raw.id.incarnation);
    for (int i = 0; i < 5; ++i) lane.lane.Poll();
    ASSERT_THAT(handler.lost, SizeIs(1)) << "round " << round;
    ASSERT_LE(lane.faults.size(), 1u);
    ASSERT_EQ(lane.lane.arena().taken(), 0u);
  }
}

}  // namespace
}  // namespace millrace
