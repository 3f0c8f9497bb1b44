// A link between two honest ends: order, bounds, credits, returns. Hostile ends: link_fault_test.
#include "ipc/link.h"

#include <string.h>

#include <algorithm>
#include <deque>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/arena.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr uint32_t kProducer = 11;
constexpr uint32_t kConsumer = 12;

class LinkTest : public ::testing::Test {
 protected:
  LinkTest() {
    MustOk(out_.Attach(in_.fd()));
    MustOk(in_.Attach(out_.fd()));
  }
  static Message Numbered(uint64_t n, uint32_t offset = 0) {
    Message message;
    message.id = n;
    if (offset != 0) message.block = {offset, 1};
    return message;
  }
  std::vector<uint32_t> Collect() {
    std::vector<uint32_t> offsets;
    EXPECT_NE(out_.CollectReturns(&offsets), LinkResult::kFault);
    return offsets;
  }

  LinkProducer out_ = Must(LinkProducer::Create(kProducer, kConsumer));
  LinkConsumer in_ = Must(LinkConsumer::Create(kProducer, kConsumer));
};

TEST_F(LinkTest, EveryFieldArrives) {
  Message sent;
  sent.kind = MessageKind::kError;
  sent.code = 3;
  sent.route = 0xabcd;
  sent.id = PartId{1, 2, 3, 4}.Pack();
  sent.deadline_ns = -5;
  sent.origin = 77;
  sent.flags = kFlagAlone;
  sent.published_ticks = 123456789;
  sent.block = {128, 99};
  out_.Submit(sent);
  Message got;
  ASSERT_EQ(in_.Take(&got), LinkResult::kOk);
  EXPECT_EQ(got.kind, sent.kind);
  EXPECT_EQ(got.code, 3);
  EXPECT_EQ(got.route, 0xabcd);
  EXPECT_EQ(PartId::Unpack(got.id), (PartId{1, 2, 3, 4}));
  EXPECT_EQ(got.deadline_ns, -5);
  EXPECT_EQ(got.origin, 77u);
  EXPECT_EQ(got.flags, sent.flags);
  EXPECT_EQ(got.published_ticks, 123456789u);
  EXPECT_EQ(got.block.offset, 128u);
  EXPECT_EQ(got.block.length, 99u);
}

TEST(PartIdTest, PackAndUnpackAreInverse) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t word = random();
    EXPECT_EQ(PartId::Unpack(word).Pack(), word);
  }
  const PartId id = {0xffff, 0xffffffff, 0xff, 0xff};
  EXPECT_EQ(PartId::Unpack(id.Pack()), id);
}

TEST_F(LinkTest, AnEmptyLinkGivesNothing) {
  Message message;
  EXPECT_FALSE(in_.HasNext());
  EXPECT_EQ(in_.Take(&message), LinkResult::kEmpty);
  EXPECT_THAT(Collect(), IsEmpty());
}

// Several laps around the ring, in batches of every size.
TEST_F(LinkTest, MessagesComeInOrder) {
  uint64_t sent = 0, got = 0;
  for (uint64_t batch = 1; batch <= 100; ++batch) {
    for (uint64_t i = 0; i < batch; ++i) out_.Submit(Numbered(sent++));
    EXPECT_EQ(out_.depth(), batch);
    EXPECT_TRUE(in_.HasNext());
    Message message;
    while (in_.Take(&message) == LinkResult::kOk) ASSERT_EQ(message.id, got++);
    EXPECT_FALSE(in_.HasNext());
    in_.PublishCredits();
    Collect();
    EXPECT_EQ(out_.depth(), 0u);
  }
  EXPECT_EQ(got, sent);
}

TEST_F(LinkTest, AFullRingTakesNoMoreUntilCreditsArePublished) {
  for (uint64_t n = 0; n < kSlots; ++n) {
    ASSERT_TRUE(out_.CanSubmit());
    out_.Submit(Numbered(n));
  }
  EXPECT_FALSE(out_.CanSubmit());
  EXPECT_DEATH(out_.Submit(Numbered(0)), "the windows are wrong");
  Message message;
  ASSERT_EQ(in_.Take(&message), LinkResult::kOk);
  Collect();
  EXPECT_FALSE(out_.CanSubmit());  // taken, but not yet told
  in_.PublishCredits();
  EXPECT_FALSE(out_.CanSubmit());  // told, but not yet heard
  Collect();
  EXPECT_TRUE(out_.CanSubmit());
  out_.Submit(Numbered(kSlots));
  EXPECT_FALSE(out_.CanSubmit());
  for (uint64_t n = 1; n <= kSlots; ++n) {
    ASSERT_EQ(in_.Take(&message), LinkResult::kOk);
    ASSERT_EQ(message.id, n);
  }
}

TEST_F(LinkTest, NoMoreThanARingOfBlocksIsLent) {
  Message message;
  for (uint32_t n = 1; n <= kSlots; ++n) {
    out_.Submit(Numbered(n, n * 256));
    ASSERT_EQ(in_.Take(&message), LinkResult::kOk);
    in_.PublishCredits();
    Collect();
  }
  EXPECT_EQ(out_.depth(), 0u);
  EXPECT_FALSE(out_.CanSubmit());  // the return ring holds so many and no more
  in_.Return(256);
  EXPECT_THAT(Collect(), ElementsAre(256u));
  EXPECT_TRUE(out_.CanSubmit());
}

TEST_F(LinkTest, BlocksComeBackInAnyOrder) {
  Message message;
  for (uint32_t n = 1; n <= 4; ++n) out_.Submit(Numbered(n, n * 256));
  while (in_.Take(&message) == LinkResult::kOk) continue;
  in_.Return(3 * 256);
  in_.Return(1 * 256);
  EXPECT_THAT(Collect(), ElementsAre(768u, 256u));
  EXPECT_EQ(out_.lent(), 2u);
  in_.Return(4 * 256);
  EXPECT_THAT(Collect(), ElementsAre(1024u));
  EXPECT_THAT(out_.TakeBackAll(), ElementsAre(512u));
  EXPECT_EQ(out_.lent(), 0u);
  EXPECT_THAT(out_.TakeBackAll(), IsEmpty());
}

TEST_F(LinkTest, ABlockLentTwiceIsReturnedTwice) {
  Message message;
  out_.Submit(Numbered(1, 256));
  out_.Submit(Numbered(2, 256));
  while (in_.Take(&message) == LinkResult::kOk) continue;
  in_.Return(256);
  EXPECT_THAT(Collect(), ElementsAre(256u));
  EXPECT_THAT(out_.TakeBackAll(), ElementsAre(256u));
}

TEST_F(LinkTest, TakeBackAllGivesWhatWasNeverTakenToo) {
  out_.Submit(Numbered(1, 256));
  out_.Submit(Numbered(2));
  out_.Submit(Numbered(3, 512));
  EXPECT_THAT(out_.TakeBackAll(), UnorderedElementsAre(256u, 512u));
}

TEST_F(LinkTest, AttachRefusesTheHalfOfAnotherLink) {
  LinkConsumer other_producer = Must(LinkConsumer::Create(kProducer + 1, kConsumer));
  LinkConsumer other_consumer = Must(LinkConsumer::Create(kProducer, kConsumer + 1));
  LinkProducer wrong = Must(LinkProducer::Create(kProducer, kConsumer + 1));
  EXPECT_FALSE(out_.Attach(other_producer.fd()).ok());
  EXPECT_FALSE(out_.Attach(other_consumer.fd()).ok());
  EXPECT_FALSE(out_.Attach(wrong.fd()).ok());  // a half of the wrong kind
  EXPECT_FALSE(in_.Attach(wrong.fd()).ok());
  EXPECT_FALSE(in_.Attach(in_.fd()).ok());
  EXPECT_FALSE(in_.Attach(-1).ok());
}

// A model that is a queue and a multiset, against random operations.
TEST_F(LinkTest, RandomTrafficMatchesAModel) {
  std::mt19937 random(2);
  std::deque<uint64_t> in_flight;
  std::vector<uint32_t> held;
  std::multiset<uint32_t> lent;
  uint64_t next = 1;
  for (int step = 0; step < 200'000; ++step) {
    Message message;
    switch (random() % 5) {
      case 0:
      case 1:
        if (!out_.CanSubmit()) break;
        {
          // Offsets repeat: a block may be lent more than once.
          const uint32_t offset = random() % 4 == 0 ? 0 : 256 * (1 + random() % 300);
          out_.Submit(Numbered(next, offset));
          in_flight.push_back(next++);
          if (offset != 0) lent.insert(offset);
        }
        break;
      case 2:
        if (in_.Take(&message) == LinkResult::kOk) {
          ASSERT_FALSE(in_flight.empty());
          ASSERT_EQ(message.id, in_flight.front());
          in_flight.pop_front();
          if (message.block.length > 0) held.push_back(message.block.offset);
        } else {
          ASSERT_THAT(in_flight, IsEmpty());
        }
        break;
      case 3:
        if (!held.empty()) {
          std::swap(held[random() % held.size()], held.back());
          in_.Return(held.back());
          held.pop_back();
        }
        break;
      default:
        if (random() % 2 == 0) in_.PublishCredits();
        for (uint32_t offset : Collect()) {
          ASSERT_EQ(lent.count(offset) > 0, true);
          lent.erase(lent.find(offset));
        }
        ASSERT_EQ(out_.lent(), lent.size());
    }
  }
  EXPECT_GT(next, 10 * kSlots);
  const std::vector<uint32_t> rest = out_.TakeBackAll();
  EXPECT_EQ(std::multiset<uint32_t>(rest.begin(), rest.end()), lent);
}

// Two threads, one at each end: every message once, in order, with its block's bytes whole. The
// blocks lie in an arena with two mappings, as between processes.
TEST_F(LinkTest, TwoThreads) {
  constexpr uint64_t kMessages = 200'000;
  constexpr uint32_t kBlocks = 64;
  Arena arena = Must(Arena::Create(kProducer, {{{256, kBlocks}}}));
  const ArenaView view = Must(ArenaView::Open(arena.region().fd().get(), kProducer));
  std::thread consumer([&] {
    uint64_t expected = 0;
    Message message;
    while (expected < kMessages && !HasFailure()) {
      if (in_.Take(&message) != LinkResult::kOk) {
        in_.PublishCredits();
        std::this_thread::yield();
        continue;
      }
      uint64_t content = 0;
      memcpy(&content, view.Get(message.block)->data(), sizeof content);
      EXPECT_EQ(message.id, expected);
      EXPECT_EQ(content, expected);
      in_.Return(message.block.offset);
      if (++expected % 16 == 0) in_.PublishCredits();
    }
    in_.PublishCredits();
  });
  const auto collect = [&] {
    for (uint32_t offset : Collect()) arena.Release(offset);
  };
  for (uint64_t n = 0; n < kMessages && !HasFailure();) {
    collect();
    MaybeBlock block;
    if (out_.CanSubmit()) block = arena.Allocate(sizeof n);
    if (!block.has_value()) {
      std::this_thread::yield();
      continue;
    }
    memcpy(arena.At(block->offset), &n, sizeof n);
    Message message = Numbered(n++);
    message.block = *block;
    out_.Submit(message);
  }
  consumer.join();
  collect();
  EXPECT_EQ(arena.taken(), 0u);
  EXPECT_EQ(out_.depth(), 0u);
}

}  // namespace
}  // namespace millrace
