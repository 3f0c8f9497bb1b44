// A worker between an ingress lane and the next stage, driven by hand.
#include "services/runtime/worker.h"

#include <string.h>

#include <string>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/runtime/testing/lane_rig.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kFar = INT64_MAX;

class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest() {
    rig_.Link(ingress_, execution_);
    rig_.Link(execution_, ingress_);
    ingress_.lane.Poll();
    worker_.Poll();
  }
  // Opens a ledger entry and sends its request to the worker. The slot is the id's.
  PartId Request(uint16_t slot, const std::string& text, int64_t deadline_ns = kFar,
                 uint8_t priority = 0) {
    const PartId id = {slot, 1, 0, 0};
    LedgerEntry entry;
    entry.deadline_ns = deadline_ns;
    entry.priority = priority;
    entry.route = 12;
    ingress_.ledger->Open(id, entry);
    Message message = MessageOf(id, deadline_ns);
    message.block = ingress_.Write(text, slot);
    EXPECT_TRUE(ingress_.lane.Send(execution_.incarnation(), message));
    ingress_.lane.Release(message.block);
    return id;
  }
  Message MessageOf(const PartId& id, int64_t deadline_ns) {
    Message message;
    message.id = id.Pack();
    message.origin = ingress_.incarnation();
    message.deadline_ns = deadline_ns;
    message.published_ticks = PublishedTicks(MonotonicNanos());
    return message;
  }
  std::string InputText(const WorkItem& item) {
    auto bytes = worker_.Input(item);
    if (!bytes.has_value()) return "none";
    return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }
  // The answer `text` to the ingress lane, as member 0.
  void Answer(const WorkItem& item, const std::string& text) {
    MaybeBlock block = worker_.Allocate(item, text.size());
    ASSERT_TRUE(block.has_value());
    memcpy(worker_.At(*block), text.data(), text.size());
    const Hop hop = {ingress_.incarnation(), 0, item.message.route};
    worker_.Reply(item, {&hop, 1}, absl::OkStatus(), *block);
  }
  uint64_t Count(Counter c) { return execution_.lane.page().Get(c); }

  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress);
  TestLane& execution_ = rig_.Add(Stage::kExecution);
  Recorder answers_{&ingress_.lane};
  Worker worker_{&execution_.lane};
};

TEST_F(WorkerTest, ARequestIsAnsweredAndEverythingIsReturned) {
  const PartId id = Request(3, "question");
  worker_.Poll();
  EXPECT_EQ(Count(Counter::kQueueDepth), 1u);
  std::optional<WorkItem> item = worker_.Pop();
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->id, id);
  EXPECT_EQ(item->entry.route, 12);
  EXPECT_EQ(InputText(*item), "question");
  EXPECT_FALSE(worker_.Idle());
  Answer(*item, ForBlock("answer"));
  EXPECT_FALSE(worker_.Idle());  // the answer's block is still lent
  ingress_.lane.Poll();
  EXPECT_THAT(answers_.texts, ElementsAre(ForBlock("answer")));
  EXPECT_EQ(answers_.messages[0].kind, MessageKind::kData);
  EXPECT_EQ(answers_.messages[0].id, id.Pack());
  EXPECT_THAT(answers_.freed, ElementsAre(3));
  worker_.Poll();
  EXPECT_TRUE(worker_.Idle());
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
  EXPECT_EQ(Count(Counter::kTaken), 1u);
  EXPECT_EQ(Count(Counter::kAnswered), 1u);
}

// Who holds the answer knows that the input is returned: in the very turn that takes the answer.
TEST_F(WorkerTest, TheInputIsReturnedBeforeTheAnswerIsSeen) {
  Request(1, "in");
  worker_.Poll();
  WorkItem item = *worker_.Pop();
  size_t taken_at_answer = 99;
  answers_.on_message = [&](Inbound& from, const Message& message) {
    ingress_.lane.Return(from, message);
  };
  Answer(item, "out");
  ingress_.lane.Poll();
  taken_at_answer = ingress_.lane.arena().taken();
  EXPECT_EQ(taken_at_answer, 0u);
}

TEST_F(WorkerTest, PriorityThenDeadlineOrdersTheQueue) {
  const int64_t now = MonotonicNanos() + 60 * kNanosPerSecond;
  Request(1, "a", now + 3);
  Request(2, "b", now + 1);
  Request(3, "c", now + 9, 1);  // most urgent
  Request(4, "d", now + 2);
  Request(5, "e", now + 0, 200);  // less urgent than the default
  Request(6, "f", now + 5, 1);
  worker_.Poll();
  std::vector<uint16_t> order;
  while (std::optional<WorkItem> item = worker_.Pop()) {
    order.push_back(item->id.slot);
    worker_.Finish(*item);
  }
  EXPECT_THAT(order, ElementsAre(6, 3, 2, 4, 1, 5));
}

TEST_F(WorkerTest, APredicateLeavesTheTopWhereItIs) {
  Request(1, "one");
  worker_.Poll();
  EXPECT_FALSE(worker_.PopIf([](const WorkItem&) { return false; }).has_value());
  EXPECT_FALSE(worker_.Empty());
  auto item = worker_.PopIf([](const WorkItem& i) { return i.id.slot == 1; });
  ASSERT_TRUE(item.has_value());
  worker_.Finish(*item);
}

TEST_F(WorkerTest, WhatIsExpiredIsDroppedCountedAndReturned) {
  Request(1, "late", MonotonicNanos() - 1);
  Request(2, "in time");
  worker_.Poll();
  std::optional<WorkItem> item = worker_.Pop();
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->id.slot, 2);
  worker_.Finish(*item);
  EXPECT_EQ(Count(Counter::kExpired), 1u);
  EXPECT_EQ(Count(Counter::kStale), 0u);
  ingress_.lane.Poll();
  EXPECT_EQ(ingress_.lane.arena().taken(), 0u);
  EXPECT_TRUE(worker_.Idle());
}

TEST_F(WorkerTest, WhatNobodyWantsIsDroppedAtTheDoorOrAtTheTop) {
  const PartId gone = Request(1, "cancelled before it came");
  const PartId later = Request(2, "cancelled in the queue");
  const PartId replayed = Request(3, "replayed elsewhere");
  ingress_.ledger->Close(gone.slot);
  worker_.Poll();
  EXPECT_EQ(Count(Counter::kStale), 1u);
  ingress_.ledger->Close(later.slot);
  ingress_.ledger->Open({replayed.slot, replayed.sequence, 1, 0}, LedgerEntry{});
  EXPECT_FALSE(worker_.Wanted(ingress_.incarnation(), replayed));
  EXPECT_TRUE(worker_.Wanted(ingress_.incarnation(), {replayed.slot, replayed.sequence, 1, 5}));
  EXPECT_FALSE(worker_.Wanted(99, replayed));
  EXPECT_FALSE(worker_.Pop().has_value());
  EXPECT_EQ(Count(Counter::kStale), 3u);
  EXPECT_EQ(Count(Counter::kTaken), 3u);
  ingress_.lane.Poll();
  EXPECT_EQ(ingress_.lane.arena().taken(), 0u);
}

TEST_F(WorkerTest, ExecutingNamesIdsUntilDone) {
  const PartId one = Request(1, "one"), two = Request(2, "two");
  worker_.Poll();
  std::vector<WorkItem> batch = {*worker_.Pop(), *worker_.Pop()};
  worker_.Executing(batch, 5000);
  const Page& page = execution_.lane.page();
  ASSERT_EQ(page.executing_count.load(), 2u);
  EXPECT_EQ(page.executing_id[0].load(), one.Pack());
  EXPECT_EQ(page.executing_id[1].load(), two.Pack());
  EXPECT_EQ(page.executing_origin[0].load(), ingress_.incarnation());
  EXPECT_EQ(page.predicted_ns.load(), 5000u);
  for (const WorkItem& item : batch) worker_.Finish(item);
  worker_.Done();
  EXPECT_EQ(page.executing_count.load(), 0u);
  EXPECT_EQ(page.predicted_ns.load(), 0u);
  std::vector<WorkItem> many(kMaxExecuting + 1);
  EXPECT_DEATH(worker_.Executing(many, 0), "more items than the page can name");
  many.pop_back();
  worker_.Executing(many, 0);
  EXPECT_DEATH(worker_.AlsoExecuting(many[0]), "more items than the page can name");
  worker_.NotExecuting();
  EXPECT_EQ(page.executing_count.load(), kMaxExecuting - 1);
  worker_.Done();
  EXPECT_DEATH(worker_.NotExecuting(), "nothing is executed");
}

TEST_F(WorkerTest, AnErrorTravelsAsCodeAndSentence) {
  Request(1, "one");
  worker_.Poll();
  WorkItem item = *worker_.Pop();
  MaybeBlock block = worker_.Allocate(item, 100);
  const Hop hop = {ingress_.incarnation(), 4, 77};
  worker_.Reply(item, {&hop, 1}, absl::InvalidArgumentError("column 'age' is missing"), *block);
  ingress_.lane.Poll();
  ASSERT_THAT(answers_.messages, SizeIs(1));
  EXPECT_EQ(answers_.messages[0].kind, MessageKind::kError);
  EXPECT_EQ(answers_.messages[0].code, static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(answers_.messages[0].route, 77);
  EXPECT_EQ(PartId::Unpack(answers_.messages[0].id).member, 4);
  EXPECT_THAT(answers_.texts, ElementsAre("column 'age' is missing"));
  EXPECT_EQ(Count(Counter::kFailed), 1u);
  worker_.Poll();
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
}

TEST_F(WorkerTest, ALongErrorIsCutAndAnEmptyOneHasNoBlock) {
  Request(1, "one");
  Request(2, "two");
  worker_.Poll();
  const Hop hop = {ingress_.incarnation(), 0, 0};
  worker_.Reply(*worker_.Pop(), {&hop, 1}, absl::InternalError(std::string(5000, 'x')), {});
  worker_.Reply(*worker_.Pop(), {&hop, 1}, absl::InternalError(""), {});
  ingress_.lane.Poll();
  EXPECT_THAT(answers_.texts, ElementsAre(std::string(1024, 'x'), ""));
  worker_.Poll();
  EXPECT_TRUE(worker_.Idle());
}

TEST_F(WorkerTest, AnErrorOfAnEarlierStageIsReadBack) {
  const PartId id = Request(1, "unused");
  Message error = MessageOf(id, kFar);
  error.kind = MessageKind::kError;
  error.code = static_cast<uint8_t>(absl::StatusCode::kInvalidArgument);
  error.block = ingress_.Write("row 2 is bad");
  ingress_.lane.Send(execution_.incarnation(), error);
  ingress_.lane.Release(error.block);
  error.block = {};
  error.code = 200;
  ingress_.lane.Send(execution_.incarnation(), error);
  worker_.Poll();
  std::vector<absl::Status> errors;
  while (std::optional<WorkItem> item = worker_.Pop()) {
    if (item->message.kind == MessageKind::kError) errors.push_back(worker_.ErrorOf(*item));
    worker_.Finish(*item);
  }
  EXPECT_THAT(errors,
              ::testing::UnorderedElementsAre(absl::InvalidArgumentError("row 2 is bad"),
                                              absl::InternalError("an earlier stage failed")));
}

TEST_F(WorkerTest, OneResultMayGoToTwoHops) {
  TestLane& aggregation = rig_.Add(Stage::kAggregation);
  Recorder joined(&aggregation.lane);
  rig_.Link(execution_, aggregation);
  Request(1, "one");
  worker_.Poll();
  aggregation.lane.Poll();
  WorkItem item = *worker_.Pop();
  const std::string both = ForBlock("both");
  MaybeBlock block = worker_.Allocate(item, both.size());
  memcpy(worker_.At(*block), both.data(), both.size());
  const Hop hops[] = {{ingress_.incarnation(), 0, 1}, {aggregation.incarnation(), 1, 2}};
  worker_.Reply(item, hops, absl::OkStatus(), *block);
  ingress_.lane.Poll();
  worker_.Poll();
  EXPECT_EQ(execution_.lane.arena().taken(), 1u);
  aggregation.lane.Poll();
  worker_.Poll();
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
  EXPECT_THAT(answers_.texts, ElementsAre(both));
  EXPECT_THAT(joined.texts, ElementsAre(both));
  EXPECT_EQ(PartId::Unpack(joined.messages[0].id).member, 1);
}

TEST_F(WorkerTest, AResultForADeadHopIsFreedAtOnce) {
  Request(1, "one");
  worker_.Poll();
  WorkItem item = *worker_.Pop();
  MaybeBlock block = worker_.Allocate(item, 40);
  const Hop hop = {4711, 0, 0};
  worker_.Reply(item, {&hop, 1}, absl::OkStatus(), *block);
  EXPECT_TRUE(worker_.Idle());
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
}

TEST_F(WorkerTest, AMessageOfALaneThatIsNotOnTheRouteIsDroppedAndCounted) {
  const PartId id = Request(1, "real");
  RawPeer& raw = rig_.AddRaw(Stage::kFeatures);
  rig_.Link(raw, execution_);
  raw.Publish(0, MessageOf(id, kFar));
  worker_.Poll();
  EXPECT_EQ(worker_.page().Get(Counter::kFaults), 1u);
  std::optional<WorkItem> item = worker_.Pop();
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(InputText(*item), "real");
  worker_.Finish(*item);
  EXPECT_FALSE(worker_.Pop().has_value());
  EXPECT_TRUE(worker_.Idle());
}

TEST_F(WorkerTest, ABlockOutsideItsArenaIsTheSendersFault) {
  const PartId id = Request(1, "unused");
  worker_.Poll();
  worker_.Finish(*worker_.Pop());
  RawPeer& raw = rig_.AddRaw(Stage::kFeatures);
  rig_.Link(raw, execution_);
  LedgerEntry entry;
  entry.features = raw.id.incarnation;
  entry.deadline_ns = kFar;
  ingress_.ledger->Open(id, entry);
  Message message = MessageOf(id, kFar);
  message.block = {0xfffffff0u, 0xfffffff0u};
  raw.Publish(0, message);
  worker_.Poll();
  std::optional<WorkItem> item = worker_.Pop();
  ASSERT_TRUE(item.has_value());
  EXPECT_FALSE(worker_.Input(*item).has_value());
  ASSERT_THAT(execution_.faults, SizeIs(1));
  EXPECT_EQ(execution_.faults[0].first, raw.id.incarnation);
  worker_.Finish(*item);
  worker_.Poll();
  EXPECT_TRUE(worker_.Idle());
}

TEST_F(WorkerTest, AnIngressLaneWithoutALedgerIsAFault) {
  RawPeer& raw = rig_.AddRaw(Stage::kIngress);
  rig_.Link(raw, execution_);
  worker_.Poll();
  ASSERT_THAT(execution_.faults, SizeIs(1));
  EXPECT_EQ(execution_.faults[0].first, raw.id.incarnation);
}

TEST_F(WorkerTest, TheDeathOfAnIngressLaneDropsItsWork) {
  for (uint16_t slot = 0; slot < 5; ++slot) Request(slot, "orphan");
  worker_.Poll();
  WorkItem in_hand = *worker_.Pop();
  rig_.Leave(ingress_.incarnation());
  worker_.Poll();
  EXPECT_FALSE(worker_.Wanted(ingress_.incarnation(), in_hand.id));
  Answer(in_hand, "to nobody");
  EXPECT_FALSE(worker_.Pop().has_value());
  EXPECT_EQ(Count(Counter::kStale), 4u);
  worker_.Poll();
  EXPECT_TRUE(worker_.Idle());
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
  EXPECT_THAT(execution_.faults, IsEmpty());
}

// More ingress lanes than places, one after the other: a place is free again once its dead lane's
// work is gone.
TEST_F(WorkerTest, PlacesOfDeadIngressLanesAreUsedAgain) {
  rig_.Leave(ingress_.incarnation());
  worker_.Poll();
  for (int i = 0; i < 20; ++i) {
    TestLane& next = rig_.Add(Stage::kIngress);
    Recorder handler(&next.lane);
    rig_.Link(next, execution_);
    next.lane.Poll();
    worker_.Poll();
    const PartId id = {1, 1, 0, 0};
    next.ledger->Open(id, LedgerEntry{});
    Message message = MessageOf(id, kFar);
    message.origin = next.incarnation();
    ASSERT_TRUE(next.lane.Send(execution_.incarnation(), message));
    worker_.Poll();
    rig_.Leave(next.incarnation());
    worker_.Poll();
    EXPECT_FALSE(worker_.Pop().has_value());
    worker_.Poll();
    next.lane.set_handler(nullptr);
  }
  EXPECT_THAT(execution_.faults, IsEmpty());
  EXPECT_EQ(Count(Counter::kStale), 20u);
}

TEST_F(WorkerTest, TheQueueDelayIsAMovingAverage) {
  for (uint16_t slot = 0; slot < 100; ++slot) {
    const PartId id = {slot, 1, 0, 0};
    ingress_.ledger->Open(id, LedgerEntry{});
    Message message = MessageOf(id, kFar);
    message.published_ticks = PublishedTicks(MonotonicNanos() - kNanosPerSecond);
    ingress_.lane.Send(execution_.incarnation(), message);
  }
  worker_.Poll();
  worker_.Poll();
  while (std::optional<WorkItem> item = worker_.Pop()) worker_.Finish(*item);
  EXPECT_GT(Count(Counter::kQueueDelayNs), 900'000'000u);
}

}  // namespace
}  // namespace millrace
