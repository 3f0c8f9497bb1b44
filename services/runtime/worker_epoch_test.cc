// Quiescence: an epoch's answer means that nothing sent before it is left. Cases by hand, then a
// random pipeline (two ingress lanes, features, execution) against an independent account.
#include <map>
#include <random>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/runtime/testing/lane_rig.h"
#include "services/runtime/worker.h"

namespace millrace {
namespace {

using ::testing::IsEmpty;

void BumpEpoch(TestLane& lane) {
  // release: as the ingress lane does; meets the acquire in Worker::AnswerEpochs.
  lane.lane.page().epoch.fetch_add(1, std::memory_order_release);
}

// The newest epoch of `ingress` that `worker` answered; -1: none.
int64_t Answered(TestLane& worker, TestLane& ingress) {
  int64_t newest = -1;
  for (const auto& word : worker.lane.page().quiesced) {
    // acquire: meets the release in Worker::AnswerEpochs.
    const uint64_t value = word.load(std::memory_order_acquire);
    if (value >> 32 == ingress.incarnation()) {
      newest = std::max<int64_t>(newest, static_cast<uint32_t>(value));
    }
  }
  return newest;
}

class EpochTest : public ::testing::Test {
 protected:
  EpochTest() {
    rig_.Link(ingress_, execution_);
    rig_.Link(execution_, ingress_);
    ingress_.lane.Poll();
    worker_.Poll();
  }
  PartId Request(uint16_t slot) {
    const PartId id = {slot, 1, 0, 0};
    LedgerEntry entry;
    ingress_.ledger->Open(id, entry);
    Message message;
    message.id = id.Pack();
    message.origin = ingress_.incarnation();
    message.deadline_ns = INT64_MAX / 2 + slot;
    message.block = ingress_.Write(ForBlock("x"));
    EXPECT_TRUE(ingress_.lane.Send(execution_.incarnation(), message));
    ingress_.lane.Release(message.block);
    return id;
  }
  void PollWorker(int times) {
    while (times-- > 0) worker_.Poll();
  }
  void Reply(const WorkItem& item, size_t bytes = 40) {
    MaybeBlock block = worker_.Allocate(item, bytes);
    ASSERT_TRUE(block.has_value());
    const Hop hop = {ingress_.incarnation(), 0, 0};
    worker_.Reply(item, {&hop, 1}, absl::OkStatus(), *block);
  }

  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress, {{{256, kSlots}}});
  TestLane& execution_ = rig_.Add(Stage::kExecution, {{{256, 2}}});
  Recorder handler_{&ingress_.lane};
  Worker worker_{&execution_.lane};
};

TEST_F(EpochTest, AnIdleWorkerAnswersWithoutParkingMeanwhile) {
  EXPECT_EQ(Answered(execution_, ingress_), 0);
  EXPECT_FALSE(worker_.HasWork());
  EXPECT_EQ(worker_.Poll(), 0u);
  BumpEpoch(ingress_);
  EXPECT_TRUE(worker_.HasWork());  // the look before parking sees it
  int polls = 0;
  while (worker_.Poll() > 0) ASSERT_LT(++polls, 20);
  EXPECT_EQ(Answered(execution_, ingress_), 1);
  EXPECT_FALSE(worker_.HasWork());
}

TEST_F(EpochTest, AnItemHoldsTheAnswerBackLaterOnesDoNot) {
  Request(1);
  worker_.Poll();
  WorkItem before = *worker_.Pop();
  BumpEpoch(ingress_);
  PollWorker(20);
  EXPECT_EQ(Answered(execution_, ingress_), 0);
  Request(2);
  worker_.Poll();
  WorkItem after = *worker_.Pop();
  worker_.Finish(before);
  worker_.Poll();
  EXPECT_EQ(Answered(execution_, ingress_), 1);
  worker_.Finish(after);
}

TEST_F(EpochTest, WhatStandsInTheQueueHoldsTheAnswerBack) {
  Request(1);
  worker_.Poll();
  BumpEpoch(ingress_);
  PollWorker(20);
  EXPECT_EQ(Answered(execution_, ingress_), 0);
  ingress_.ledger->Close(1);
  EXPECT_FALSE(worker_.Pop().has_value());  // found unwanted: finished
  worker_.Poll();
  EXPECT_EQ(Answered(execution_, ingress_), 1);
}

TEST_F(EpochTest, AResultThatIsStillLentHoldsTheAnswerBack) {
  Request(1);
  worker_.Poll();
  Reply(*worker_.Pop());
  BumpEpoch(ingress_);
  PollWorker(20);
  EXPECT_EQ(Answered(execution_, ingress_), 0);
  ingress_.lane.Poll();  // returns the block
  worker_.Poll();
  EXPECT_EQ(Answered(execution_, ingress_), 1);
}

TEST_F(EpochTest, AFullRingPublishedBeforeTheEpochIsTakenBeforeTheAnswer) {
  for (uint16_t slot = 0; slot < kSlots; ++slot) Request(slot);
  BumpEpoch(ingress_);
  PollWorker(20);
  EXPECT_EQ(Answered(execution_, ingress_), 0);
  // The last of them counts as much as the first.
  for (uint64_t n = 1; n < kSlots; ++n) worker_.Finish(*worker_.Pop());
  PollWorker(5);
  EXPECT_EQ(Answered(execution_, ingress_), 0);
  worker_.Finish(*worker_.Pop());
  EXPECT_TRUE(worker_.Empty());
  worker_.Poll();
  EXPECT_EQ(Answered(execution_, ingress_), 1);
}

TEST_F(EpochTest, AWorkerThatComesLaterAnswersTheEpochOfTheDay) {
  for (int i = 0; i < 3; ++i) BumpEpoch(ingress_);
  TestLane& late = rig_.Add(Stage::kExecution);
  Worker worker(&late.lane);
  rig_.Link(ingress_, late);
  ingress_.lane.Poll();
  for (int i = 0; i < 20; ++i) worker.Poll();
  EXPECT_EQ(Answered(late, ingress_), 3);
}

// The window is full; then, while the worker's turn runs, ingress returns a block and uses the
// window again. The new request's result must find the returned block free.
TEST(WindowTurnTest, AWindowThatTurnsWithinACycleFindsItsBlockFree) {
  struct Hooked : Worker {
    using Worker::Worker;
    void OnMessage(Inbound& from, const Message& message) override {
      if (hook) std::exchange(hook, nullptr)();
      Worker::OnMessage(from, message);
    }
    std::function<void()> hook;
  };
  LaneRig rig;
  TestLane& ingress = rig.Add(Stage::kIngress);
  TestLane& other = rig.Add(Stage::kIngress);
  TestLane& execution = rig.Add(Stage::kExecution, {{{256, 1}}});
  Recorder handler(&ingress.lane), other_handler(&other.lane);
  Hooked worker(&execution.lane);
  rig.Link(other, execution);
  rig.Link(ingress, execution);
  rig.Link(execution, ingress);
  other.lane.Poll();
  ingress.lane.Poll();
  worker.Poll();
  const Hop hop = {ingress.incarnation(), 0, 0};
  Message message;
  message.origin = ingress.incarnation();
  message.deadline_ns = INT64_MAX;
  ingress.ledger->Open(PartId::Unpack(0), LedgerEntry{});
  ASSERT_TRUE(ingress.lane.Send(execution.incarnation(), message));
  worker.Poll();
  WorkItem first = *worker.Pop();
  worker.Reply(first, {&hop, 1}, absl::OkStatus(), *worker.Allocate(first, 40));
  EXPECT_EQ(execution.lane.arena().taken(), 1u);  // the whole window
  // The other lane's message opens the gap in the worker's turn.
  worker.hook = [&] {
    ingress.lane.Poll();
    ASSERT_TRUE(ingress.lane.Send(execution.incarnation(), message));
  };
  ASSERT_TRUE(other.lane.Send(execution.incarnation(), Message{}));
  worker.Poll();
  std::optional<WorkItem> second = worker.Pop();
  ASSERT_TRUE(second.has_value());
  MaybeBlock block = worker.Allocate(*second, 40);
  ASSERT_TRUE(block.has_value());
  worker.Reply(*second, {&hop, 1}, absl::OkStatus(), *block);
}

// The random pipeline. Requests go ingress -> features -> execution -> ingress or skip features;
// ingress cancels some, returns answers late, and asks for rounds of epochs. The account is the
// test's own: which ids were sent before which epoch, what is in hand, whose each block is.
using Owner = std::pair<uint32_t, uint64_t>;  // origin, id

class PipelineTest : public ::testing::TestWithParam<int> {
 protected:
  struct Station {
    TestLane* lane;
    std::unique_ptr<Worker> worker;
    std::vector<WorkItem> in_hand;
    std::map<uint32_t, Owner> blocks;  // those not free, by offset
    std::set<Owner> gone;              // what an answered epoch said to be finished here
  };
  struct Ingress {
    TestLane* lane;
    std::unique_ptr<Recorder> handler;
    uint32_t epoch = 0;
    int asks = -1;            // the station whose answer a round waits for; -1: no round
    std::set<Owner> sent[2];  // to each station, and not known to be gone
    std::set<Owner> asked;    // what the running round is about
  };

  PipelineTest() : random_(GetParam()) {
    const ArenaShape shape = {{{256, 1024}}};
    stations_[0].lane = &rig_.Add(Stage::kFeatures, shape);
    stations_[1].lane = &rig_.Add(Stage::kExecution, shape);
    for (Station& s : stations_) s.worker = std::make_unique<Worker>(&s.lane->lane);
    rig_.Link(*stations_[0].lane, *stations_[1].lane);
    for (Ingress& i : ingresses_) {
      i.lane = &rig_.Add(Stage::kIngress, shape);
      i.handler = std::make_unique<Recorder>(&i.lane->lane);
      i.handler->on_message = [this, &i](Inbound& from, const Message& message) {
        i.handler->held.emplace_back(&from, message);
        if (random_() % 2 == 0) i.handler->ReturnHeld();
      };
      for (Station& s : stations_) rig_.Link(*i.lane, *s.lane);
      rig_.Link(*stations_[1].lane, *i.lane);
      i.lane->lane.Poll();
    }
    for (Station& s : stations_) s.worker->Poll();
  }

  void SendOne(Ingress& i) {
    const int to = random_() % 2;
    const uint32_t worker = stations_[to].lane->incarnation();
    if (!i.lane->lane.CanSend(worker) || i.lane->lane.arena().taken() > 1000) return;
    // A slot used again makes what it named before unwanted.
    const PartId id = {static_cast<uint16_t>(sequence_ % 1024), sequence_, 0, 0};
    ++sequence_;
    i.lane->ledger->Open(id, LedgerEntry{});
    Message message;
    message.id = id.Pack();
    message.origin = i.lane->incarnation();
    message.deadline_ns = INT64_MAX / 2 + sequence_ + random_() % 50;
    message.block = i.lane->Write(ForBlock("input"));
    ASSERT_TRUE(i.lane->lane.Send(worker, message));
    i.lane->lane.Release(message.block);
    i.sent[to].insert({message.origin, message.id});
  }

  void PollStation(Station& s) {
    s.worker->Poll();
    std::erase_if(s.blocks,
                  [&](const auto& block) { return !s.lane->lane.arena().IsTaken(block.first); });
  }

  // Takes some into the hand, finishes some of the hand, in any order.
  void Work(Station& s) {
    while (random_() % 8 != 0) {
      std::optional<WorkItem> item = s.worker->Pop();
      if (!item.has_value()) break;
      ASSERT_EQ(s.gone.count({item->message.origin, item->message.id}), 0u)
          << "came out of the queue after its epoch was answered";
      s.in_hand.push_back(*item);
    }
    while (!s.in_hand.empty() && random_() % 8 != 0) {
      std::swap(s.in_hand[random_() % s.in_hand.size()], s.in_hand.back());
      const WorkItem item = s.in_hand.back();
      s.in_hand.pop_back();
      Finish(s, item);
    }
  }

  void Finish(Station& s, const WorkItem& item) {
    const bool last = &s == &stations_[1];
    const uint32_t next = last ? item.message.origin : stations_[1].lane->incarnation();
    if (random_() % 8 == 0 || !s.lane->lane.CanSend(next)) return s.worker->Drop(item);
    MaybeBlock block = s.worker->Allocate(item, 40);
    if (!block.has_value()) return s.worker->Drop(item);
    s.blocks[block->offset] = {item.message.origin, item.message.id};
    const Hop hop = {next, 0, 0};
    s.worker->Reply(item, {&hop, 1}, absl::OkStatus(), *block);
  }

  // What was sent before the first epoch must be gone from features at its answer, and with what
  // went to execution directly, from execution at the second's.
  void StepRound(Ingress& i) {
    if (i.asks >= 0) {
      Station& s = stations_[i.asks];
      if (Answered(*s.lane, *i.lane) < i.epoch) return;
      ExpectGone(s, i.asked);
      s.gone.insert(i.asked.begin(), i.asked.end());
      for (const Owner& owner : i.asked) i.sent[i.asks].erase(owner);
      ++answers_;
    }
    if (i.asks == 1) {
      i.asks = -1;
      i.asked.clear();
      return;
    }
    ++i.asks;
    i.asked.insert(i.sent[i.asks].begin(), i.sent[i.asks].end());
    ++i.epoch;
    BumpEpoch(*i.lane);
  }

  void ExpectGone(const Station& s, const std::set<Owner>& owners) {
    for (const WorkItem& item : s.in_hand) {
      ASSERT_EQ(owners.count({item.message.origin, item.message.id}), 0u) << "still in hand";
    }
    for (const auto& [offset, owner] : s.blocks) {
      ASSERT_EQ(owners.count(owner), 0u) << "its block is still lent";
    }
  }

  bool Quiet() {
    size_t taken = 0;
    for (Station& s : stations_) taken += !s.worker->Idle() + s.lane->lane.arena().taken();
    for (Ingress& i : ingresses_) taken += i.lane->lane.arena().taken();
    return taken == 0;
  }

  void Step() {
    Ingress& i = ingresses_[random_() % 2];
    Station& s = stations_[random_() % 2];
    switch (random_() % 8) {
      case 0:
        // Now and then more than one turn takes.
        for (int n = random_() % 64 == 0 ? 300 : 1; n > 0; --n) SendOne(i);
        return;
      case 1:
        return i.lane->ledger->Close(random_() % 1024);
      case 2:
        i.lane->lane.Poll();
        return;
      case 3:
        return i.handler->ReturnHeld();
      case 4:
        return StepRound(i);
      case 5:
        return Work(s);
      default:
        return PollStation(s);
    }
  }

  std::mt19937 random_;
  LaneRig rig_;
  Station stations_[2];
  Ingress ingresses_[2];
  uint32_t sequence_ = 1;
  int answers_ = 0;
};

TEST_P(PipelineTest, AnAnsweredEpochLeavesNothingBehind) {
  for (int step = 0; step < 10000 && !HasFatalFailure(); ++step) Step();
  EXPECT_GT(answers_, 3);
  for (int n = 0; n < 5000 && !Quiet() && !HasFatalFailure(); ++n) {
    for (Station& s : stations_) {
      PollStation(s);
      Work(s);
    }
    for (Ingress& i : ingresses_) {
      i.lane->lane.Poll();
      i.handler->ReturnHeld();
    }
  }
  EXPECT_TRUE(Quiet());
  for (Station& s : stations_) EXPECT_THAT(s.lane->faults, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, PipelineTest, ::testing::Range(0, 20));

}  // namespace
}  // namespace millrace
