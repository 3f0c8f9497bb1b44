// A producer that is stepped, and the consumer that survives it.
#include <string.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ipc/arena.h"
#include "ipc/testing/must.h"
#include "ipc/testing/planted_links.h"
#include "ipc/testing/step_world.h"

namespace millrace {
namespace {

constexpr uint32_t kBlockBytes = 64;
constexpr uint32_t kBlocks = 3 * kStepSlots;  // two links full, and some

Region MakeReturns(uint32_t consumer) {
  Region half = Must(Region::Create(kReturnsType, consumer, ReturnsRegionBytes(kStepSlots)));
  half.as<ReturnsRegion>()->producer = kStepProducer;
  half.as<ReturnsRegion>()->slot_count = kStepSlots;
  return half;
}

// In the child. `Producer`: LinkProducer, or one with a fault.
template <typename Producer>
class SteppedProducer {
 public:
  SteppedProducer(const StepCase& c, StepJournal* journal, int returns_fd, int dead_returns_fd)
      : case_(c), journal_(journal) {
    MustOk(link_.Attach(returns_fd));
    MustOk(dead_.Attach(dead_returns_fd));
    offsets_.reserve(kStepSlots);
  }

  void Play(Markers* markers) {
    markers->Show(link_.fd());
    markers->Show(dead_.fd());
    markers->Show(arena_.region().fd().get());
    markers->Meet();
    PlayScript(case_.script, markers, [this](char letter) { Do(letter); });
  }

 private:
  void Do(char letter) {
    switch (letter) {
      case 'P':
        return Publish(/*to_dead=*/false);
      case 'B':
        return Publish(/*to_dead=*/true);
      case 'C':
        return Collect(&link_);
      case 'X':
        return TakeBack();
      default:
        MR_CHECK(false, "no letter of a producer");
    }
  }

  void Publish(bool to_dead) {
    const uint64_t n = journal_->published;
    if (!link_.CanSubmit() || n == kMostStepMessages) return;
    if (to_dead && !dead_.CanSubmit()) return;
    Message message = PatternMessage(case_.mix, n);
    if (PatternHasBlock(case_.mix, n)) {
      MaybeBlock block = arena_.Allocate(PatternLength(n));
      if (!block.has_value()) return;
      message.block = *block;
      FillPattern(n, arena_.At(block->offset));
      if (to_dead) arena_.AddReference(block->offset);
    }
    if (to_dead) dead_.Submit(message);
    journal_->begun = n + 1;
    link_.Submit(message);
    journal_->published = n + 1;
    if (case_.planted == Planted::kReuseEarly && message.HasBlock()) {
      arena_.Release(message.block.offset);
    }
  }

  void Collect(Producer* link) {
    offsets_.clear();
    MR_CHECK(link->CollectReturns(&offsets_) != LinkResult::kFault, "an honest consumer faulted");
    for (uint32_t offset : offsets_) Free(offset);
  }

  // As Lane::End does it.
  void TakeBack() {
    Collect(&dead_);
    for (uint32_t offset : dead_.TakeBackAll()) {
      if (case_.planted == Planted::kTakeBackOnLoss) Free(offset);
      Free(offset);
    }
    MR_CHECK(case_.planted != Planted::kNone || arena_.taken() == link_.lent(),
             "a block leaked or is free while it is lent");
  }

  void Free(uint32_t offset) {
    if (case_.planted == Planted::kNone || arena_.IsTaken(offset)) arena_.Release(offset);
  }

  StepCase case_;
  StepJournal* journal_;
  Producer link_ = Must(Producer::Create(kStepProducer, kStepConsumer, kStepSlots));
  Producer dead_ = Must(Producer::Create(kStepProducer, kDeadPeer, kStepSlots));
  Arena arena_ = Must(Arena::Create(kStepProducer, {{{kBlockBytes, kBlocks}}}));
  std::vector<uint32_t> offsets_;
};

class ConsumerSurvives : public StepWorld {
 public:
  explicit ConsumerSurvives(const StepCase& c) : case_(c) {}

  void Child(Markers* markers) override {
    if (case_.planted == Planted::kPublishFirst) return Play<FaultyProducer<PublishFirst>>(markers);
    Play<LinkProducer>(markers);
  }

  void Adopt(const SteppedProcess& child) override {
    slots_ = Must(Region::Open(child.Shown(0).get(), kSlotsType, kStepProducer,
                               SlotsRegionBytes(kStepSlots)));
    dead_slots_ = Must(Region::Open(child.Shown(1).get(), kSlotsType, kStepProducer,
                                    SlotsRegionBytes(kStepSlots)));
    arena_ = Must(Region::Open(child.Shown(2).get(), kArenaType, kStepProducer, kBlockBytes));
    dead_ = ConsumerEnd<Hardware>(dead_slots_.as<const SlotsRegion>()->slots,
                                  &dead_half_.as<ReturnsRegion>()->taken,
                                  dead_half_.as<ReturnsRegion>()->returns, kStepSlots);
  }

  void Do(char letter) override {
    Message message;
    switch (letter) {
      case 't':
        CopySlots(Bytes());
        if (end_.Take(&message) != LinkResult::kOk) return;
        held_.push_back({taken_++, message.block, message.HasBlock()});
        return;
      case 'r':
        return Return(held_.begin());
      case 'l':
        return Return(held_.empty() ? held_.end() : held_.end() - 1);
      case 'c':
        return end_.PublishCredits();
      case 'x':
        if (dead_.Take(&message) == LinkResult::kOk && message.HasBlock()) {
          dead_held_.push_back(message.block.offset);
        }
        return dead_.PublishCredits();
      case 'y':
        if (dead_held_.empty()) return;
        dead_.Return(dead_held_.front());
        return dead_held_.pop_front();
      default:
        MR_CHECK(false, "no letter of a surviving consumer");
    }
  }

  std::string Bytes() const override {
    std::string bytes(reinterpret_cast<const char*>(slots_.as<const SlotsRegion>()->slots),
                      sizeof slots_copy_);
    bytes.append(reinterpret_cast<const char*>(arena_.bytes()), ArenaBytes());
    return bytes;
  }

  std::string Audit(const std::string& bytes) override {
    const uint64_t begun = journal_->begun, published = journal_->published;
    CopySlots(bytes);
    arena_copy_ = reinterpret_cast<const std::byte*>(bytes.data()) + sizeof slots_copy_;
    for (const Held& held : held_) {
      if (!IsWholeBlock(held)) return absl::StrCat("message ", held.n, " changed while it is held");
    }
    // The survivor as it is, on the copy. Its own half stays untouched: Take writes nothing.
    ConsumerEnd<Hardware> end = end_;
    std::vector<Held> held(held_.begin(), held_.end());
    uint64_t n = taken_;
    while (true) {
      Message message;
      const LinkResult result = end.Take(&message);
      if (result == LinkResult::kFault) return FaultSentence(end.fault());
      if (result == LinkResult::kEmpty) break;
      const Held got = {n, message.block, message.HasBlock()};
      if (n >= begun) return absl::StrCat("message ", n, " was never sent");
      if (!IsPattern(case_.mix, n, message)) return absl::StrCat("message ", n, " is not whole");
      if (!IsWholeBlock(got)) return absl::StrCat("the block of message ", n, " is not whole");
      for (const Held& other : held) {
        if (got.block_is_lent && other.block_is_lent && other.block.offset == got.block.offset) {
          return absl::StrCat("messages ", other.n, " and ", n, " have the same block");
        }
      }
      held.push_back(got);
      if (++n - taken_ > kStepSlots) return "more messages than slots";
    }
    if (n < published) return absl::StrCat("message ", n, " was published and is lost");
    if (end.HasNext()) return "what cannot be taken seems to be there";
    return "";
  }

 private:
  struct Held {
    uint64_t n;
    BlockRef block;
    bool block_is_lent;
  };

  template <typename Producer>
  void Play(Markers* markers) {
    SteppedProducer<Producer>(case_, journal_.get(), half_.fd().get(), dead_half_.fd().get())
        .Play(markers);
  }

  static size_t ArenaBytes() { return kLineBytes + size_t{kBlockBytes} * kBlocks; }

  void CopySlots(const std::string& bytes) {
    memcpy(static_cast<void*>(slots_copy_), bytes.data(), sizeof slots_copy_);
  }

  bool IsWholeBlock(const Held& held) const {
    if (!held.block_is_lent) return true;
    if (held.block.offset < kLineBytes) return false;
    if (size_t{held.block.offset} + held.block.length > ArenaBytes()) return false;
    return IsPatternBlock(held.n, {arena_copy_ + held.block.offset, held.block.length});
  }

  void Return(std::deque<Held>::iterator held) {
    if (held == held_.end()) return;
    if (held->block_is_lent) end_.Return(held->block.offset);
    held_.erase(held);
  }

  StepCase case_;
  SharedBox<StepJournal> journal_;
  Region half_ = MakeReturns(kStepConsumer);
  Region dead_half_ = MakeReturns(kDeadPeer);
  Region slots_, dead_slots_, arena_;
  alignas(64) LinkSlot<Hardware> slots_copy_[kStepSlots];
  const std::byte* arena_copy_ = nullptr;
  ConsumerEnd<Hardware> end_{slots_copy_, &half_.as<ReturnsRegion>()->taken,
                             half_.as<ReturnsRegion>()->returns, kStepSlots};
  uint64_t taken_ = 0;
  std::deque<Held> held_;
  ConsumerEnd<Hardware> dead_;
  std::deque<uint32_t> dead_held_;
};

std::unique_ptr<StepWorld> Make(const StepCase& c) { return std::make_unique<ConsumerSurvives>(c); }

}  // namespace

StepReport StepProducer(const StepCase& c) { return StepThrough(c, Make); }

StepReport KillProducer(const StepCase& c, int kills, uint64_t seed) {
  return KillAtRandom(c, Make, kills, seed);
}

}  // namespace millrace
