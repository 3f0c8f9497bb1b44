// The other end of a link flips any bits of its half while the honest end runs.
//
// Whatever it flips, and when: only documented results, a fault with its sentence, no message that
// was not checked, no block given back that was not lent, none lost. hostile_memory_test has the
// other regions. Readers that are careless in one way each show that the runs would see it.
#include <string.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "common/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/arena.h"
#include "ipc/link.h"
#include "ipc/testing/bit_flipper.h"
#include "ipc/testing/effort.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

constexpr uint32_t kProducer = 11;
constexpr uint32_t kConsumer = 12;
constexpr int kSteps = 1000;  // of a link that lives so long
constexpr size_t kArenaBytes = 64 * 1024;

struct Tally {
  uint64_t messages = 0;
  uint64_t blocks = 0;
  uint64_t returned = 0;
  uint64_t faults[static_cast<size_t>(LinkFault::kCount)] = {};
  uint64_t flips = 0;
  uint64_t refused = 0;  // halves whose header was flipped when they were opened
  uint64_t violations = 0;

  void Count(LinkFault fault) {
    if (fault == LinkFault::kNone || std::string_view(FaultSentence(fault)).empty()) ++violations;
    ++faults[static_cast<size_t>(fault)];
  }
  uint64_t operator[](LinkFault fault) const { return faults[static_cast<size_t>(fault)]; }
  // Links are made until so many of them came to a fault.
  bool Until(uint64_t most_faults) const {
    return violations > 0 ||
           std::accumulate(std::begin(faults), std::end(faults), uint64_t{0}) >= most_faults;
  }
};

// A reader of slots that looks at the shared memory, and a moment later takes the message from
// there.
class TwiceConsumer {
 public:
  static TwiceConsumer Create(uint64_t slots) { return TwiceConsumer(slots); }
  absl::Status Attach(int fd) {
    absl::StatusOr<Region> theirs =
        Region::Open(fd, kSlotsType, kProducer, SlotsRegionBytes(slots_));
    if (theirs.ok()) theirs_ = std::move(*theirs);
    return theirs.status();
  }
  bool HasNext() const { return false; }
  LinkResult Take(Message* message) {
    const auto& slot = theirs_.as<const SlotsRegion>()->slots[next_ & (slots_ - 1)];
    if (slot.seq.load() != static_cast<uint32_t>(next_ + 1)) return LinkResult::kEmpty;
    Hardware::Read(slot.body, message);
    const bool known = message->kind == MessageKind::kData ||
                       message->kind == MessageKind::kError ||
                       (message->kind == MessageKind::kInline && message->code <= kInlineBytes);
    if (!known) {
      fault_ = LinkFault::kKind;
      return LinkResult::kFault;
    }
    for (int i = 0; i < 8; ++i) __builtin_ia32_pause();
    Hardware::Read(slot.body, message);
    ++next_;
    return LinkResult::kOk;
  }
  void Return(uint32_t) {}
  void PublishCredits() {}
  LinkFault fault() const { return fault_; }

 private:
  explicit TwiceConsumer(uint64_t slots) : slots_(slots) {}
  uint64_t slots_;
  uint64_t next_ = 0;
  Region theirs_;
  LinkFault fault_ = LinkFault::kNone;
};

LinkConsumer MakeConsumer(LinkConsumer*, uint64_t slots) {
  return Must(LinkConsumer::Create(kProducer, kConsumer, slots));
}
TwiceConsumer MakeConsumer(TwiceConsumer*, uint64_t slots) { return TwiceConsumer::Create(slots); }

// A half whose bits are flipped all the time. Each link begins with it as it should be.
class HostileHalf {
 public:
  HostileHalf(RegionType type, uint32_t owner, uint32_t other, uint64_t slots, uint64_t seed)
      : half_(
            Must(Region::Create(type, owner,
                                type.kind == RegionKind::kLinkSlots ? SlotsRegionBytes(slots)
                                                                    : ReturnsRegionBytes(slots)))) {
    const uint32_t names[] = {other, static_cast<uint32_t>(slots)};
    memcpy(half_.bytes() + sizeof(RegionHeader), names, sizeof names);
    whole_.assign(half_.bytes(), half_.bytes() + half_.size());
    flipper_ = std::make_unique<BitFlipper>(absl::MakeSpan(half_.bytes(), half_.size()), seed);
  }
  // Until it is attached between two flips; how often it was refused until then.
  template <typename End>
  uint64_t Attach(End* end) {
    for (uint64_t refused = 0;; ++refused) {
      memcpy(half_.bytes(), whole_.data(), whole_.size());
      const absl::Status status = end->Attach(half_.fd().get());
      if (status.ok()) return refused;
      MR_CHECK(absl::IsFailedPrecondition(status), "refused, and nothing else");
    }
  }
  template <typename T>
  T* as() {
    return half_.as<T>();
  }
  BitFlipper& flipper() { return *flipper_; }

 private:
  Region half_;
  std::vector<std::byte> whole_;
  std::unique_ptr<BitFlipper> flipper_;
};

// What the honest end makes of a message. The arena's bytes are read, so that a view that reaches
// outside dies at its guard pages.
void Use(const Message& message, const ArenaView& arena, Tally* tally) {
  ++tally->messages;
  switch (message.kind) {
    case MessageKind::kInline:
      tally->violations += message.code > kInlineBytes;
      return;
    case MessageKind::kData:
    case MessageKind::kError:
      break;
    default:
      ++tally->violations;
      return;
  }
  const auto bytes = arena.Get(message.block);
  if (!bytes.has_value()) return;
  ++tally->blocks;
  uint64_t sum = 0;
  for (std::byte b : *bytes) sum += static_cast<uint64_t>(b);
  asm volatile("" : : "r"(sum));
}

template <typename Consumer>
void RunLinkOfAHostileProducer(HostileHalf* half, uint64_t slots, std::mt19937_64* random,
                               const ArenaView& arena, Tally* tally) {
  auto* words = half->as<SlotsRegion>();
  BitFlipper& flipper = half->flipper();
  Consumer in = MakeConsumer(static_cast<Consumer*>(nullptr), slots);
  tally->refused += half->Attach(&in);
  // So many messages lie there and wait, for bits of them to be flipped.
  const uint64_t backlogs[] = {1, 2, 8, slots};
  const uint64_t backlog = backlogs[(*random)() % 4];
  uint64_t sent = 0, taken = 0;
  LinkResult result = LinkResult::kOk;
  for (int step = 0; step < kSteps && result != LinkResult::kFault; ++step) {
    while (sent - taken < backlog) {
      Message message;
      const bool is_inline = (*random)() % 2 == 0;
      message.kind = is_inline ? MessageKind::kInline : MessageKind::kData;
      message.code = is_inline ? kInlineBytes : 0;
      if (!is_inline) message.block = {128, static_cast<uint32_t>((*random)() % 4096)};
      LinkSlot<Hardware>& slot = words->slots[sent % slots];
      Hardware::Write(&slot.body, message);
      slot.seq.store(static_cast<uint32_t>(++sent));
    }
    const uint64_t aim = (taken + (*random)() % backlog) % slots;
    flipper.Aim(
        offsetof(SlotsRegion, slots) + aim * sizeof(LinkSlot<Hardware>) + (*random)() % 3 * 2, 2);
    in.HasNext();
    Message message;
    result = in.Take(&message);
    if (result == LinkResult::kOk) {
      ++taken;
      Use(message, arena, tally);
      if (message.HasBlock()) in.Return(message.block.offset);
    }
    in.PublishCredits();
  }
  if (result == LinkResult::kFault) tally->Count(in.fault());
}

template <typename Consumer>
Tally RunHostileProducer(uint64_t most_faults, uint64_t seed) {
  Region memory = Must(Region::Create(kArenaType, kProducer, kArenaBytes));
  const ArenaView arena = Must(ArenaView::Open(memory.fd().get(), kProducer));
  const GuardPages guards;
  EXPECT_GT(guards.placed(), 0u);
  std::mt19937_64 random(seed);
  Tally tally;
  for (const uint64_t slots : {kMinSlots, kSlots}) {
    HostileHalf half(kSlotsType, kProducer, kConsumer, slots, random());
    while (!tally.Until(slots == kSlots ? most_faults : most_faults / 2)) {
      RunLinkOfAHostileProducer<Consumer>(&half, slots, &random, arena, &tally);
    }
    tally.flips += half.flipper().flips();
  }
  return tally;
}

TEST(HostileProducerTest, FlippedBitsAreAMessageOrAFault) {
  const Tally tally = RunHostileProducer<LinkConsumer>(Effort(200, 10'000), 1);
  EXPECT_EQ(tally.violations, 0u);
  EXPECT_GT(tally.messages, 1000u);
  EXPECT_GT(tally.blocks, 100u);
  EXPECT_GT(tally[LinkFault::kSequence], 0u);
  EXPECT_GT(tally[LinkFault::kKind], 0u);
  EXPECT_GT(tally[LinkFault::kInlineLength], 0u);
  printf("flips %zu, messages %zu, faults: sequence %zu, kind %zu, inline length %zu\n",
         size_t{tally.flips}, size_t{tally.messages}, size_t{tally[LinkFault::kSequence]},
         size_t{tally[LinkFault::kKind]}, size_t{tally[LinkFault::kInlineLength]});
}

TEST(HostileProducerTest, AReaderThatReadsTwiceIsSeen) {
  const Tally tally = RunHostileProducer<TwiceConsumer>(100'000, 2);
  EXPECT_GT(tally.violations, 0u) << "after " << tally.messages << " messages";
}

// An honest producer's book-keeping, or one that believes what it is told came back.
class TrustingProducer {
 public:
  explicit TrustingProducer(const ReturnsRegion* theirs, uint64_t slots)
      : theirs_(theirs), slots_(slots) {}
  LinkResult CollectReturns(std::vector<uint32_t>* offsets) {
    while (true) {
      const uint64_t word = theirs_->returns[returned_ & (slots_ - 1)].load();
      if (static_cast<uint32_t>(word >> 32) != static_cast<uint32_t>(returned_ + 1)) break;
      offsets->push_back(static_cast<uint32_t>(word));
      ++returned_;
    }
    return LinkResult::kOk;
  }

 private:
  const ReturnsRegion* theirs_;
  uint64_t slots_;
  uint64_t returned_ = 0;
};

void RunLinkOfAHostileConsumer(HostileHalf* half, uint64_t slots, bool trusting,
                               std::mt19937_64* random, Tally* tally) {
  auto* words = half->as<ReturnsRegion>();
  BitFlipper& flipper = half->flipper();
  LinkProducer out = Must(LinkProducer::Create(kProducer, kConsumer, slots));
  tally->refused += half->Attach(&out);
  TrustingProducer believer(words, slots);
  Arena arena = Must(Arena::Create(kProducer, {{{256, 64}}}));
  std::multiset<uint32_t> lent;
  std::vector<uint32_t> with_them, back;
  // What came back lies there for so many steps, for bits of it to be flipped.
  const uint64_t patiences[] = {1, 4, 16};
  const uint64_t patience = patiences[(*random)() % 3];
  uint64_t returned = 0, sent = 0;
  LinkResult result = LinkResult::kOk;
  const auto take_in = [&] {
    for (uint32_t offset : back) {
      auto found = lent.find(offset);
      if (found == lent.end() || !arena.IsTaken(offset)) {
        ++tally->violations;
        continue;
      }
      lent.erase(found);
      arena.Release(offset);
      ++tally->returned;
    }
    back.clear();
  };
  for (int step = 0; step < kSteps && result != LinkResult::kFault; ++step) {
    MaybeBlock block = out.CanSubmit() ? arena.Allocate(100) : MaybeBlock();
    if (block.has_value()) {
      Message message;
      message.block = *block;
      out.Submit(message);
      ++sent;
      lent.insert(block->offset);
      with_them.push_back(block->offset);
    }
    if (!with_them.empty() && (*random)() % 2 == 0) {
      words->returns[returned % slots].store((returned + 1) << 32 | with_them.back());
      ++returned;
      with_them.pop_back();
      words->taken.store(sent);
    }
    const uint64_t aim =
        returned == 0 ? 0 : (returned - 1 - (*random)() % std::min(patience, returned)) % slots;
    const bool at_taken = (*random)() % 8 == 0;
    flipper.Aim(at_taken ? offsetof(ReturnsRegion, taken)
                         : offsetof(ReturnsRegion, returns) + aim * sizeof(uint64_t),
                sizeof(uint64_t));
    if (step % patience != 0) continue;
    result = trusting ? believer.CollectReturns(&back) : out.CollectReturns(&back);
    take_in();
  }
  if (result == LinkResult::kFault) tally->Count(out.fault());
  if (trusting) return;
  back = out.TakeBackAll();
  take_in();
  tally->violations += !lent.empty() || arena.taken() != 0;
}

Tally RunHostileConsumer(bool trusting, uint64_t most_faults, uint64_t seed) {
  std::mt19937_64 random(seed);
  Tally tally;
  for (const uint64_t slots : {kMinSlots, kSlots}) {
    HostileHalf half(kReturnsType, kConsumer, kProducer, slots, random());
    while (!tally.Until(slots == kSlots ? most_faults : most_faults / 2)) {
      RunLinkOfAHostileConsumer(&half, slots, trusting, &random, &tally);
    }
    tally.flips += half.flipper().flips();
  }
  return tally;
}

TEST(HostileConsumerTest, FlippedBitsGiveBackWhatIsLentOrAFault) {
  const Tally tally = RunHostileConsumer(false, Effort(200, 10'000), 3);
  EXPECT_EQ(tally.violations, 0u);
  EXPECT_GT(tally.returned, 1000u);
  EXPECT_GT(tally[LinkFault::kTaken], 0u);
  EXPECT_GT(tally[LinkFault::kNotLent], 0u);
  printf("flips %zu, blocks back %zu, faults: taken %zu, not lent %zu\n", size_t{tally.flips},
         size_t{tally.returned}, size_t{tally[LinkFault::kTaken]},
         size_t{tally[LinkFault::kNotLent]});
}

TEST(HostileConsumerTest, AProducerThatBelievesIsSeen) {
  EXPECT_GT(RunHostileConsumer(true, 100'000, 4).violations, 0u);
}

// A half is opened while its header and its counts change: a whole answer, or a refusal.
TEST(HostileHalfTest, AttachRefusesOrTakesUp) {
  HostileHalf half(kSlotsType, kProducer, kConsumer, kMinSlots, 5);
  half.flipper().Aim(0, offsetof(SlotsRegion, slots));
  uint64_t refused = 0;  // and not for ever: it ends
  for (uint64_t i = 0; i < Effort(1000, 10'000) || refused == 0; ++i) {
    LinkConsumer in = Must(LinkConsumer::Create(kProducer, kConsumer, kMinSlots));
    refused += half.Attach(&in);
    in.HasNext();
  }
}

}  // namespace
}  // namespace millrace
