// The owner opens entries, sends them, and keeps each until it is answered; the worker answers.
#include <map>

#include "ipc/testing/torture_end.h"

namespace millrace {
namespace {

constexpr uint64_t kMostEntriesPerPeer = 1500;

class Owner : public TortureEnd {
 public:
  using TortureEnd::TortureEnd;

 private:
  void OnMessage(const Held& held) override {
    const uint64_t entry = EntryOf(held.message);
    const uint8_t attempt = PartId::Unpack(held.message.id).attempt;
    auto found = sent_.find(entry);
    if (found != sent_.end() && found->second.attempt == attempt) {
      Log(What::kDone, held.from->incarnation, {.entry = entry, .attempt = attempt});
      const BlockRef block = found->second.block;
      sent_.erase(found);
      if (block.length > 0) arena_.Release(block.offset);
    }
    held_.push_back(held);
  }

  void OnEnd(const std::shared_ptr<Peer>&) override {
    for (const Held& held : held_) Finish(held);
    held_.clear();
    for (auto& [entry, item] : sent_) {
      if (setup_.planted != Planted::kSameAttempt) ++item.attempt;
      waiting_.push_back(item);
    }
    sent_.clear();
    opened_here_ = 0;
  }

  size_t Work() override {
    size_t done = 0;
    while (held_.size() > Random(8)) {
      std::swap(held_[Random(held_.size())], held_.back());
      Finish(held_.back());
      held_.pop_back();
      ++done;
    }
    if (waiting_.empty()) window_ = WindowOf(Random(4));
    while (CanOffer() && sent_.size() < window_) {
      if (waiting_.empty() && !Open()) break;
      const Item item = waiting_.back();
      waiting_.pop_back();
      sent_[item.entry] = item;
      if (item.block.length > 0) arena_.AddReference(item.block.offset);
      Offer(item);
      ++done;
    }
    return done;
  }

  bool Open() {
    if (finishing_ || opened_here_ == kMostEntriesPerPeer) return false;
    const uint64_t entry = uint64_t{setup_.incarnation} << 32 | ++opened_;
    const std::optional<Item> item = MakeItem(entry, 0);
    if (!item.has_value()) {
      --opened_;
      return false;
    }
    ++opened_here_;
    Log(What::kOpen, 0, {.entry = entry, .offset = item->block.offset, .length = item->length});
    waiting_.push_back(*item);
    return true;
  }

  // Now one at a time, so that both park often, now as many as there is room for.
  size_t WindowOf(uint64_t which) const {
    return which == 0 ? 1 : which == 1 ? 4 : setup_.slots / which;
  }

  bool Quiet() const override { return sent_.empty() && waiting_.empty() && held_.empty(); }
  void OnBlockBack(uint32_t offset) override { arena_.Release(offset); }

  std::map<uint64_t, Item> sent_;
  std::vector<Item> waiting_;  // opened, or held by a worker that died
  std::vector<Held> held_;     // answers whose blocks are not returned yet
  size_t window_ = 1;
  uint64_t opened_ = 0;
  uint64_t opened_here_ = 0;  // since the last peer ended
};

class Worker : public TortureEnd {
 public:
  using TortureEnd::TortureEnd;

 private:
  void OnMessage(const Held& held) override { held_.push_back(held); }

  void OnEnd(const std::shared_ptr<Peer>&) override {
    for (const Held& held : held_) Finish(held);  // nobody wants the answers
    held_.clear();
  }

  size_t Work() override {
    size_t done = 0;
    for (uint64_t most = Random(8); done < most && !held_.empty() && CanOffer(); ++done) {
      std::swap(held_[Random(held_.size())], held_.back());
      const Held held = held_.back();
      const std::optional<Item> answer =
          MakeItem(EntryOf(held.message), PartId::Unpack(held.message.id).attempt);
      if (!answer.has_value()) break;
      held_.pop_back();
      Finish(held);
      Offer(*answer);
    }
    return done;
  }

  bool Quiet() const override { return held_.empty(); }
  void OnBlockBack(uint32_t offset) override { arena_.Release(offset); }

  std::vector<Held> held_;
};

}  // namespace

std::unique_ptr<TortureEnd> MakeTortureEnd(const TortureSetup& setup, ControlChannel channel,
                                           Journal* journal) {
  if (setup.is_owner) return std::make_unique<Owner>(setup, std::move(channel), journal);
  return std::make_unique<Worker>(setup, std::move(channel), journal);
}

}  // namespace millrace
