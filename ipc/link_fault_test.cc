// What a hostile end may write into its half: a fault or a message, never a crash or a lie about
// what was lent.
#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/link.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr uint32_t kProducer = 11;
constexpr uint32_t kConsumer = 12;

// An honest consumer of slots that the test writes by hand.
struct HostileProducer {
  HostileProducer() : half(Must(Region::Create(kSlotsType, kProducer, SlotsRegionBytes(kSlots)))) {
    half.as<SlotsRegion>()->consumer = kConsumer;
    half.as<SlotsRegion>()->slot_count = kSlots;
    MustOk(in.Attach(half.fd().get()));
  }
  LinkSlot<Hardware>& slot(uint64_t n) { return half.as<SlotsRegion>()->slots[n % kSlots]; }
  void Fill(uint64_t n, uint8_t kind, uint64_t id, uint8_t code = 0, BlockRef block = {}) {
    Message written;
    written.kind = static_cast<MessageKind>(kind);
    written.code = code;
    written.id = id;
    written.block = block;
    Hardware::Write(&slot(n).body, written);
  }
  void Publish(uint64_t n, uint8_t kind = 1) {
    Fill(n, kind, n);
    slot(n).seq.store(static_cast<uint32_t>(n + 1));
  }

  Region half;
  LinkConsumer in = Must(LinkConsumer::Create(kProducer, kConsumer));
  Message message;
};

// An honest producer whose returns the test writes by hand.
struct HostileConsumer {
  HostileConsumer()
      : half(Must(Region::Create(kReturnsType, kConsumer, ReturnsRegionBytes(kSlots)))) {
    half.as<ReturnsRegion>()->producer = kProducer;
    half.as<ReturnsRegion>()->slot_count = kSlots;
    MustOk(out.Attach(half.fd().get()));
  }
  ReturnsRegion* words() { return half.as<ReturnsRegion>(); }
  void Return(uint64_t n, uint32_t offset) {
    words()->returns[n % kSlots].store((n + 1) << 32 | offset);
  }
  void Lend(uint32_t offset) {
    Message message;
    message.block = {offset, 1};
    out.Submit(message);
  }
  LinkResult Collect() { return out.CollectReturns(&returned); }

  Region half;
  LinkProducer out = Must(LinkProducer::Create(kProducer, kConsumer));
  std::vector<uint32_t> returned;
};

TEST(HostileProducerTest, EveryWrongSequenceIsAFault) {
  // In the first lap a slot holds 0 or its number; later its number or that of a lap ago.
  for (uint64_t taken : {uint64_t{0}, uint64_t{5}, kSlots - 1, kSlots, 3 * kSlots + 7}) {
    const uint32_t next = static_cast<uint32_t>(taken + 1);
    const uint32_t before = taken < kSlots ? 0 : next - kSlots;
    for (uint32_t seq : {0u, 1u, next - 1, next, next + 1, next - static_cast<uint32_t>(kSlots),
                         next + static_cast<uint32_t>(kSlots), before, 0x80000000u, UINT32_MAX}) {
      HostileProducer peer;
      for (uint64_t n = 0; n < taken; ++n) {
        peer.Publish(n);
        ASSERT_EQ(peer.in.Take(&peer.message), LinkResult::kOk);
      }
      peer.Fill(taken, 1, taken);
      peer.slot(taken).seq.store(seq);
      const LinkResult expected = seq == next     ? LinkResult::kOk
                                  : seq == before ? LinkResult::kEmpty
                                                  : LinkResult::kFault;
      EXPECT_EQ(peer.in.Take(&peer.message), expected) << "taken " << taken << " seq " << seq;
    }
  }
}

TEST(HostileProducerTest, EveryUnknownKindIsAFault) {
  for (int kind = 0; kind < 16; ++kind) {  // four bits, beside four of flags
    HostileProducer peer;
    peer.Publish(0, static_cast<uint8_t>(kind));
    const bool known = kind >= 1 && kind <= 3;
    EXPECT_EQ(peer.in.Take(&peer.message), known ? LinkResult::kOk : LinkResult::kFault) << kind;
    EXPECT_EQ(peer.in.fault(), known ? LinkFault::kNone : LinkFault::kKind);
  }
}

TEST(HostileProducerTest, AnInlinePayloadIsNoLongerThanAMessage) {
  for (int length = 0; length < 256; ++length) {
    HostileProducer peer;
    peer.Fill(0, static_cast<uint8_t>(MessageKind::kInline), 0, static_cast<uint8_t>(length));
    peer.slot(0).seq.store(1);
    const bool fits = length <= static_cast<int>(kInlineBytes);
    EXPECT_EQ(peer.in.Take(&peer.message), fits ? LinkResult::kOk : LinkResult::kFault) << length;
    EXPECT_EQ(peer.in.fault(), fits ? LinkFault::kNone : LinkFault::kInlineLength);
  }
}

TEST(HostileProducerTest, AMessageIsACopy) {
  HostileProducer peer;
  peer.Publish(0);
  ASSERT_EQ(peer.in.Take(&peer.message), LinkResult::kOk);
  peer.Fill(0, 1, 4711, 0, {1, 2});
  EXPECT_EQ(peer.message.id, 0u);
  EXPECT_EQ(peer.message.block.length, 0u);
}

TEST(HostileConsumerTest, TakenMayOnlyGrowAndNotPassWhatWasSent) {
  for (uint64_t taken : {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{4},
                         uint64_t{kSlots}, UINT64_MAX}) {
    HostileConsumer peer;
    for (uint32_t n = 0; n < 3; ++n) peer.Lend(256 * (n + 1));
    peer.words()->taken.store(1);
    ASSERT_NE(peer.Collect(), LinkResult::kFault);
    peer.words()->taken.store(taken);
    EXPECT_EQ(peer.Collect() == LinkResult::kFault, taken < 1 || taken > 3) << taken;
    EXPECT_EQ(peer.out.fault(), taken < 1 || taken > 3 ? LinkFault::kTaken : LinkFault::kNone);
  }
}

TEST(HostileConsumerTest, OnlyWhatIsLentComesBack) {
  HostileConsumer peer;
  peer.Lend(256);
  peer.Lend(512);
  peer.Return(0, 512);
  EXPECT_EQ(peer.Collect(), LinkResult::kOk);
  peer.Return(1, 512);  // again
  EXPECT_EQ(peer.Collect(), LinkResult::kFault);
  EXPECT_EQ(peer.out.fault(), LinkFault::kNotLent);
  EXPECT_THAT(peer.returned, ElementsAre(512u));
  EXPECT_THAT(peer.out.TakeBackAll(), ElementsAre(256u));
}

TEST(HostileConsumerTest, AFaultGivesWhatCameBeforeIt) {
  HostileConsumer peer;
  peer.Lend(256);
  peer.Lend(512);
  peer.Return(0, 256);
  peer.Return(1, 999);
  EXPECT_EQ(peer.Collect(), LinkResult::kFault);
  EXPECT_THAT(peer.returned, ElementsAre(256u));
  EXPECT_THAT(peer.out.TakeBackAll(), ElementsAre(512u));
}

TEST(HostileConsumerTest, AWholeRingOfReturnsEndsAtWhatIsLent) {
  HostileConsumer peer;
  peer.Lend(256);
  for (uint64_t n = 0; n < kSlots; ++n) peer.Return(n, 256);
  EXPECT_EQ(peer.Collect(), LinkResult::kFault);
  EXPECT_THAT(peer.returned, ElementsAre(256u));
}

// Inside a block, across its end, into the header: what does not begin a lent block is none.
TEST(HostileConsumerTest, APieceOfABlockIsNotTheBlock) {
  for (const uint32_t offset : {0u, 128u, 255u, 257u, 300u, 511u, 768u, UINT32_MAX}) {
    HostileConsumer peer;
    peer.Lend(256);
    peer.Lend(512);
    peer.Return(0, offset);
    EXPECT_EQ(peer.Collect(), LinkResult::kFault) << offset;
    EXPECT_EQ(peer.out.fault(), LinkFault::kNotLent);
    EXPECT_THAT(peer.out.TakeBackAll(), UnorderedElementsAre(256u, 512u));
  }
}

TEST(LinkFaultTest, EachHasASentenceOfItsOwn) {
  std::set<std::string> sentences;
  for (int f = 0; f < static_cast<int>(LinkFault::kCount); ++f) {
    sentences.insert(FaultSentence(static_cast<LinkFault>(f)));
  }
  EXPECT_EQ(sentences.size(), static_cast<size_t>(LinkFault::kCount));
}

// A half whose count of slots cannot be ours is refused before a word of it is used.
TEST(HostileHalfTest, ACountOfSlotsThatDiffersIsRefused) {
  constexpr auto kOurs = static_cast<uint32_t>(kSlots);
  for (const uint32_t count : {0u, 1u, 15u, 100u, 128u, 255u, 256u, kOurs / 2, kOurs - 1, kOurs + 1,
                               2 * kOurs, UINT32_MAX}) {
    HostileProducer producer;
    producer.half.as<SlotsRegion>()->slot_count = count;
    LinkConsumer in = Must(LinkConsumer::Create(kProducer, kConsumer));
    EXPECT_TRUE(absl::IsFailedPrecondition(in.Attach(producer.half.fd().get()))) << count;
    HostileConsumer consumer;
    consumer.half.as<ReturnsRegion>()->slot_count = count;
    LinkProducer out = Must(LinkProducer::Create(kProducer, kConsumer));
    EXPECT_TRUE(absl::IsFailedPrecondition(out.Attach(consumer.half.fd().get()))) << count;
  }
}

// The count agrees with ours, but the region does not hold so many.
TEST(HostileHalfTest, SlotsBeyondTheSealedSizeAreRefused) {
  const size_t page = 4096;
  Region slots = Must(Region::Create(kSlotsType, kProducer, page));
  slots.as<SlotsRegion>()->consumer = kConsumer;
  slots.as<SlotsRegion>()->slot_count = kSlots;
  LinkConsumer in = Must(LinkConsumer::Create(kProducer, kConsumer));
  EXPECT_TRUE(absl::IsFailedPrecondition(in.Attach(slots.fd().get())));
  Region returns = Must(Region::Create(kReturnsType, kConsumer, ReturnsRegionBytes(kSlots) - 1));
  returns.as<ReturnsRegion>()->producer = kProducer;
  returns.as<ReturnsRegion>()->slot_count = kSlots;
  LinkProducer out = Must(LinkProducer::Create(kProducer, kConsumer));
  // Whole pages hold these words: the sealed size is what counts, not what the maker asked for.
  EXPECT_TRUE(out.Attach(returns.fd().get()).ok());
}

TEST(LinkSlotsTest, OnlyPowersOfTwoWithinBoundsAreMade) {
  for (uint64_t slots : {uint64_t{0}, uint64_t{1}, kMinSlots / 2, kMinSlots + 1, uint64_t{100},
                         kSlots - 1, kSlots + 1, 2 * kSlots, UINT64_MAX}) {
    EXPECT_TRUE(absl::IsInvalidArgument(LinkProducer::Create(1, 2, slots).status())) << slots;
    EXPECT_TRUE(absl::IsInvalidArgument(LinkConsumer::Create(1, 2, slots).status())) << slots;
  }
  for (uint64_t slots = kMinSlots; slots <= kSlots; slots *= 2) {
    EXPECT_TRUE(LinkProducer::Create(1, 2, slots).ok()) << slots;
  }
}

// Flips random bits of a producer's half between honest messages.
TEST(HostileProducerTest, FlippedBitsNeverCrash) {
  std::mt19937_64 random(3);
  int faults = 0;
  for (int round = 0; round < 200; ++round) {
    HostileProducer peer;
    uint64_t next = 0, got = 0;
    bool faulted = false;
    for (int step = 0; step < 1000 && !faulted; ++step) {
      if (next - got < kSlots) peer.Publish(next++);
      if (random() % 4 == 0) {
        auto* bytes = peer.half.bytes() + offsetof(SlotsRegion, slots);
        const uint64_t near = (got % kSlots) * sizeof(LinkSlot<Hardware>) + random() % 256;
        bytes[near % (kSlots * sizeof(LinkSlot<Hardware>))] ^= std::byte{1} << (random() % 8);
      }
      peer.in.HasNext();
      const LinkResult result = peer.in.Take(&peer.message);
      if (result == LinkResult::kOk) {
        ++got;
        const MessageKind kind = peer.message.kind;
        ASSERT_TRUE(kind == MessageKind::kData || kind == MessageKind::kError ||
                    (kind == MessageKind::kInline && peer.message.code <= kInlineBytes));
        if (peer.message.HasBlock()) peer.in.Return(peer.message.block.offset);
      }
      faulted = result == LinkResult::kFault;
      peer.in.PublishCredits();
    }
    faults += faulted;
  }
  EXPECT_GT(faults, 100);  // else the test flips where nobody looks
}

// Flips random bits of a consumer's half. Whatever it says: each block comes back once, from the
// link or by TakeBackAll, and none that was not lent.
TEST(HostileConsumerTest, FlippedBitsNeverCrashNorLoseABlock) {
  std::mt19937_64 random(4);
  int faults = 0;
  for (int round = 0; round < 200; ++round) {
    HostileConsumer peer;
    std::vector<uint32_t> lent;
    uint64_t returned = 0;
    bool faulted = false;
    for (int step = 0; step < 500 && !faulted; ++step) {
      if (peer.out.CanSubmit()) {
        lent.push_back(static_cast<uint32_t>(256 * (lent.size() + 1)));
        peer.Lend(lent.back());
      }
      if (random() % 2 == 0 && returned < lent.size()) {
        peer.Return(returned, lent[returned]);
        ++returned;
        peer.words()->taken.store(returned);
      }
      if (random() % 8 == 0) {
        std::byte* bytes =
            random() % 4 == 0
                ? reinterpret_cast<std::byte*>(&peer.words()->taken)
                : reinterpret_cast<std::byte*>(&peer.words()->returns[returned % kSlots]);
        bytes[random() % 8] ^= std::byte{1} << (random() % 8);
      }
      faulted = peer.Collect() == LinkResult::kFault;
    }
    faults += faulted;
    std::vector<uint32_t> back = peer.returned;
    for (uint32_t offset : peer.out.TakeBackAll()) back.push_back(offset);
    std::sort(back.begin(), back.end());
    ASSERT_EQ(back, lent) << "round " << round;
  }
  EXPECT_GT(faults, 100);
}

}  // namespace
}  // namespace millrace
