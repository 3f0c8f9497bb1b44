// What a hostile end may write into its half: a fault or a message, never a crash or a lie about
// what was lent.
#include <algorithm>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/link_shm.h"
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
  HostileProducer() : half(Must(Region::Create(kSlotsType, kProducer, sizeof(SlotsRegion)))) {
    half.as<SlotsRegion>()->consumer = kConsumer;
    MustOk(in.Attach(half.fd().get()));
  }
  LinkSlot& slot(uint64_t n) { return half.as<SlotsRegion>()->slots[n % kSlots]; }
  void Publish(uint64_t n, uint8_t kind = 1) {
    slot(n).kind = kind;
    slot(n).id = n;
    slot(n).seq.store(static_cast<uint32_t>(n + 1));
  }

  Region half;
  LinkConsumer in = Must(LinkConsumer::Create(kProducer, kConsumer));
  Message message;
};

// An honest producer whose returns the test writes by hand.
struct HostileConsumer {
  HostileConsumer() : half(Must(Region::Create(kReturnsType, kConsumer, sizeof(ReturnsRegion)))) {
    half.as<ReturnsRegion>()->producer = kProducer;
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
      peer.slot(taken).kind = 1;
      peer.slot(taken).seq.store(seq);
      const LinkResult expected = seq == next     ? LinkResult::kOk
                                  : seq == before ? LinkResult::kEmpty
                                                  : LinkResult::kFault;
      EXPECT_EQ(peer.in.Take(&peer.message), expected) << "taken " << taken << " seq " << seq;
    }
  }
}

TEST(HostileProducerTest, EveryUnknownKindIsAFault) {
  for (int kind = 0; kind < 256; ++kind) {
    HostileProducer peer;
    peer.Publish(0, static_cast<uint8_t>(kind));
    EXPECT_EQ(peer.in.Take(&peer.message),
              kind == 1 || kind == 2 ? LinkResult::kOk : LinkResult::kFault);
  }
}

TEST(HostileProducerTest, AMessageIsACopy) {
  HostileProducer peer;
  peer.Publish(0);
  ASSERT_EQ(peer.in.Take(&peer.message), LinkResult::kOk);
  peer.slot(0).id = 4711;
  peer.slot(0).block = {1, 2};
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
        const uint64_t near = (got % kSlots) * sizeof(LinkSlot) + random() % 256;
        bytes[near % (kSlots * sizeof(LinkSlot))] ^= std::byte{1} << (random() % 8);
      }
      peer.in.HasNext();
      const LinkResult result = peer.in.Take(&peer.message);
      if (result == LinkResult::kOk) {
        ++got;
        const MessageKind kind = peer.message.kind;
        ASSERT_TRUE(kind == MessageKind::kData || kind == MessageKind::kError);
        if (peer.message.block.length > 0) peer.in.Return(peer.message.block.offset);
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
