// A consumer that is stepped, and the producer that survives it.
#include <string.h>

#include <algorithm>
#include <deque>
#include <map>
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
// What a dead producer has left to drain; one more it was writing when it died.
constexpr uint64_t kLeft = 7;

Region MakeSlots(uint32_t producer) {
  Region half = Must(Region::Create(kSlotsType, producer, SlotsRegionBytes(kStepSlots)));
  half.as<SlotsRegion>()->consumer = kStepConsumer;
  half.as<SlotsRegion>()->slot_count = kStepSlots;
  return half;
}

// In the child. `Consumer`: LinkConsumer, or one with a fault.
template <typename Consumer>
class SteppedConsumer {
 public:
  SteppedConsumer(const StepCase& c, StepJournal* journal, int slots_fd, int dead_slots_fd,
                  int arena_fd)
      : case_(c), journal_(journal), arena_(Must(ArenaView::Open(arena_fd, kStepProducer))) {
    MustOk(link_.Attach(slots_fd));
    MustOk(dead_.Attach(dead_slots_fd));
  }

  void Play(Markers* markers) {
    markers->Show(link_.fd());
    markers->Show(dead_.fd());
    markers->Meet();
    PlayScript(case_.script, markers, [this](char letter) { Do(letter); });
  }

 private:
  struct Held {
    uint64_t n;
    Message message;
  };

  void Do(char letter) {
    switch (letter) {
      case 'T':
        return Take();
      case 'R':
        return Return(held_.begin());
      case 'L':
        return Return(held_.empty() ? held_.end() : held_.end() - 1);
      case 'C':
        link_.PublishCredits();
        journal_->credited = uint64_t{journal_->copied};
        return;
      case 'X':
        return Drain();
      default:
        MR_CHECK(false, "no letter of a consumer");
    }
  }

  void Take() {
    const uint64_t n = journal_->copied;
    if (!link_.HasNext()) return;
    if constexpr (requires { link_.words(); }) {
      if (case_.planted == Planted::kCreditFirst) link_.words()->taken = n + 1;
    }
    Message message;
    MR_CHECK(link_.Take(&message) == LinkResult::kOk, "what is there cannot be taken");
    journal_->copied = n + 1;
    MR_CHECK(IsPattern(case_.mix, n, message), "a message is not whole");
    held_.push_back({n, message});
  }

  void Return(typename std::deque<Held>::iterator held) {
    if (held == held_.end()) return;
    if (held->message.HasBlock()) {
      if (case_.planted == Planted::kReturnFirst) link_.Return(held->message.block.offset);
      const auto block = arena_.Get(held->message.block);
      MR_CHECK(block.has_value() && IsPatternBlock(held->n, *block), "a block is not whole");
      journal_->read[held->n] = 1;
      if (case_.planted != Planted::kReturnFirst) link_.Return(held->message.block.offset);
      journal_->returned = journal_->returned + 1;
    }
    held_.erase(held);
  }

  // As Lane::Drain does it when a producer has ended.
  void Drain() {
    Message message;
    for (uint64_t limit = link_.slots(); limit > 0; --limit) {
      const LinkResult result = dead_.Take(&message);
      MR_CHECK(result != LinkResult::kFault, "an honest producer faulted");
      if (result == LinkResult::kEmpty) break;
      const uint64_t n = journal_->drained;
      MR_CHECK(IsPattern(Mix::kMixed, n, message), "a message of the dead is not whole");
      journal_->drained = n + 1;
    }
    dead_.PublishCredits();
    MR_CHECK(journal_->drained == kLeft, "not all was drained that was published");
  }

  StepCase case_;
  StepJournal* journal_;
  Consumer link_ = Must(Consumer::Create(kStepProducer, kStepConsumer, kStepSlots));
  Consumer dead_ = Must(Consumer::Create(kDeadPeer, kStepConsumer, kStepSlots));
  ArenaView arena_;
  std::deque<Held> held_;
};

class ProducerSurvives : public StepWorld {
 public:
  explicit ProducerSurvives(const StepCase& c) : case_(c) {
    ProducerEnd<Hardware> dead(dead_half_.as<SlotsRegion>()->slots, nullptr, nullptr, kStepSlots);
    for (uint64_t n = 0; n < kLeft; ++n) {
      Message message = PatternMessage(Mix::kMixed, n);
      if (PatternHasBlock(Mix::kMixed, n)) message.block = {kLineBytes, PatternLength(n)};
      dead.Submit(message);
    }
    // It died before the sequence of the next one.
    Hardware::Write(&dead_half_.as<SlotsRegion>()->slots[kLeft].body,
                    PatternMessage(Mix::kMixed, kLeft));
    dead_left_.assign(reinterpret_cast<const char*>(dead_half_.bytes()), dead_half_.size());
  }

  void Child(Markers* markers) override {
    switch (case_.planted) {
      case Planted::kReturnInHalves:
        return Play<FaultyConsumer<InHalves>>(markers);
      case Planted::kCreditFirst:
        return Play<FaultyConsumer<Hardware>>(markers);
      default:
        return Play<LinkConsumer>(markers);
    }
  }

  void Adopt(const SteppedProcess& child) override {
    words_ = Must(Region::Open(child.Shown(0).get(), kReturnsType, kStepConsumer,
                               ReturnsRegionBytes(kStepSlots)));
    dead_words_ = Must(Region::Open(child.Shown(1).get(), kReturnsType, kStepConsumer,
                                    ReturnsRegionBytes(kStepSlots)));
  }

  void Do(char letter) override {
    switch (letter) {
      case 'p':
        return Publish();
      case 'c':
        Copy(Bytes());
        offsets_.clear();
        MR_CHECK(end_.CollectReturns(&offsets_) != LinkResult::kFault,
                 "an honest consumer faulted");
        for (uint32_t offset : offsets_) Free(offset);
        return;
      default:
        MR_CHECK(false, "no letter of a surviving producer");
    }
  }

  std::string Bytes() const override {
    std::string bytes(reinterpret_cast<const char*>(&words_.as<const ReturnsRegion>()->taken),
                      kWordsBytes);
    return bytes.append(
        reinterpret_cast<const char*>(&dead_words_.as<const ReturnsRegion>()->taken), kWordsBytes);
  }

  std::string Audit(const std::string& bytes) override {
    Copy(bytes);
    std::string wrong = AuditBlocks();
    if (wrong.empty()) wrong = AuditSlots();
    if (wrong.empty()) wrong = AuditDead(bytes);
    return wrong;
  }

 private:
  static constexpr size_t kWordsBytes = offsetof(ReturnsRegion, returns) -
                                        offsetof(ReturnsRegion, taken) +
                                        kStepSlots * sizeof(uint64_t);

  template <typename Consumer>
  void Play(Markers* markers) {
    SteppedConsumer<Consumer>(case_, journal_.get(), half_.fd().get(), dead_half_.fd().get(),
                              arena_.region().fd().get())
        .Play(markers);
  }

  void Copy(const std::string& bytes) {
    const char* words = bytes.data();
    memcpy(static_cast<void*>(&taken_copy_), words, sizeof taken_copy_);
    memcpy(static_cast<void*>(returns_copy_),
           words + offsetof(ReturnsRegion, returns) - offsetof(ReturnsRegion, taken),
           sizeof returns_copy_);
  }

  void Publish() {
    if (!end_.CanSubmit() || tail_ == kMostStepMessages) return;
    Message message = PatternMessage(case_.mix, tail_);
    if (PatternHasBlock(case_.mix, tail_)) {
      message.block = *arena_.Allocate(PatternLength(tail_));
      FillPattern(tail_, arena_.At(message.block.offset));
      lent_[message.block.offset] = tail_;
    }
    end_.Submit(message);
    ++tail_;
  }

  void Free(uint32_t offset) {
    arena_.Release(offset);
    MR_CHECK(lent_.erase(offset) == 1, "a block came back that was not lent");
    ++freed_;
  }

  // Rule 3: what the returns that stand there give back, then what the death gives back.
  std::string AuditBlocks() const {
    ProducerEnd<Hardware> end = end_;
    std::vector<uint32_t> back;
    if (end.CollectReturns(&back) == LinkResult::kFault) return FaultSentence(end.fault());
    if (freed_ + back.size() < journal_->returned) return "a block was returned and is lost";
    for (uint32_t offset : back) {
      const auto lent = lent_.find(offset);
      if (lent == lent_.end()) return "a block came back that was not lent";
      if (journal_->read[lent->second] == 0) {
        return absl::StrCat("the block of message ", lent->second, " came back before it was read");
      }
    }
    for (uint32_t offset : end.TakeBackAll()) back.push_back(offset);
    std::sort(back.begin(), back.end());
    std::vector<uint32_t> all;
    for (const auto& [offset, n] : lent_) all.push_back(offset);
    if (back != all) return "not every lent block came back once";
    return "";
  }

  // Rule 4: writes as much as the credits that stand there allow.
  std::string AuditSlots() {
    ProducerEnd<Hardware> end = end_;
    std::vector<uint32_t> back;
    end.CollectReturns(&back);
    if (tail_ - end.depth() > journal_->copied) return "credits pass what was copied";
    if (tail_ - end.depth() < journal_->credited) return "credits were given and are lost";
    auto* slots = half_.as<SlotsRegion>()->slots;
    const std::string before(reinterpret_cast<const char*>(slots), kStepSlots * sizeof slots[0]);
    while (end.CanSubmit()) end.Submit(PatternMessage(Mix::kBare, 0));
    std::string wrong;
    for (uint64_t n = journal_->copied; n < tail_; ++n) {
      const size_t at = n % kStepSlots * sizeof slots[0];
      if (memcmp(&slots[n % kStepSlots], &before[at], sizeof slots[0]) != 0) {
        wrong = absl::StrCat("message ", n, " was overwritten before it was copied");
      }
    }
    memcpy(static_cast<void*>(slots), before.data(), before.size());
    return wrong;
  }

  // Rule 5: the second drain, by a consumer that knows nothing of the first.
  std::string AuditDead(const std::string& bytes) const {
    uint64_t credit;
    memcpy(&credit, bytes.data() + kWordsBytes, sizeof credit);
    if (credit > journal_->drained) return "credits pass what was drained";
    if (memcmp(dead_half_.bytes(), dead_left_.data(), dead_left_.size()) != 0) {
      return "what a dead producer left was changed";
    }
    ConsumerEnd<Hardware> again(dead_half_.as<SlotsRegion>()->slots, nullptr, nullptr, kStepSlots);
    Message message;
    uint64_t n = 0;
    for (; again.Take(&message) == LinkResult::kOk; ++n) {
      if (!IsPattern(Mix::kMixed, n, message)) return "a message of the dead is not whole";
    }
    return n == kLeft && again.fault() == LinkFault::kNone ? "" : "messages of the dead are lost";
  }

  StepCase case_;
  SharedBox<StepJournal> journal_;
  Region half_ = MakeSlots(kStepProducer);
  Region dead_half_ = MakeSlots(kDeadPeer);
  std::string dead_left_;
  Arena arena_ = Must(Arena::Create(kStepProducer, {{{kBlockBytes, kStepSlots}}}));
  Region words_, dead_words_;
  std::atomic<uint64_t> taken_copy_{0};
  std::atomic<uint64_t> returns_copy_[kStepSlots] = {};
  ProducerEnd<Hardware> end_{half_.as<SlotsRegion>()->slots, &taken_copy_, returns_copy_,
                             kStepSlots};
  uint64_t tail_ = 0;
  uint64_t freed_ = 0;
  std::map<uint32_t, uint64_t> lent_;
  std::vector<uint32_t> offsets_;
};

std::unique_ptr<StepWorld> Make(const StepCase& c) { return std::make_unique<ProducerSurvives>(c); }

}  // namespace

StepReport StepConsumer(const StepCase& c) { return StepThrough(c, Make); }

StepReport KillConsumer(const StepCase& c, int kills, uint64_t seed) {
  return KillAtRandom(c, Make, kills, seed);
}

}  // namespace millrace
