// The words of a link: one direction between two lanes, in two halves with one writer each.
//
// Purpose: hand messages from a producer to a consumer, and blocks back, without a lock.
// Who may call: ProducerEnd the producing lane, ConsumerEnd the consuming lane. Ownership: none of
//   the memory; ipc/link.h makes, checks and maps it.
// Layout: the producer's half holds slots of one cache line, a power of two of them; message n lies
//   in slot n % slots and is there once the slot's seq is n + 1. The consumer's half holds `taken`
//   (how many messages it has taken) and a ring of returned blocks, each word seq << 32 | offset.
// Invariants:
//   1. A slot is written only when the consumer has taken what was in it.
//   2. A block is lent for each message that names one, and returned once, in any order; at most
//      as many blocks are lent as there are slots, so that the return ring cannot overflow.
//   3. What the other end writes is copied once and checked. A value that cannot be right is a
//      fault: the link is dead from then on and the caller reports the peer, with fault().
//   4. A producer killed at any instruction leaves at worst a slot without its seq: invisible.
// What fails: Take and CollectReturns with kFault; Submit aborts on a full link.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "common/check.h"
#include "ipc/memory_model.h"
#include "ipc/message.h"

namespace millrace {

enum class LinkResult { kEmpty, kOk, kFault };

// What an end refused, and the sentence for it.
enum class LinkFault : uint8_t { kNone, kSequence, kKind, kInlineLength, kTaken, kNotLent, kCount };
const char* FaultSentence(LinkFault fault);

template <typename M>
struct LinkSlot {
  typename M::template Word<uint32_t> seq;
  typename M::MessageBody body;
};
static_assert(sizeof(LinkSlot<Hardware>) == 64 && offsetof(LinkSlot<Hardware>, body) == 4);

template <typename M>
class ProducerEnd {
 public:
  using Word = typename M::template Word<uint64_t>;

  ProducerEnd() = default;
  // `slots`: a power of two. `returns` has as many words.
  ProducerEnd(LinkSlot<M>* ring, const Word* taken, const Word* returns, uint64_t slots)
      : ring_(ring), taken_(taken), returns_(returns), slots_(slots) {
    lent_.reserve(slots);
  }

  // A slot is free and a block may be lent, as far as is known: CollectReturns may find more room.
  bool CanSubmit() const { return tail_ - head_ < slots_ && lent_.size() < slots_; }

  // Publishes one message. The caller has seen CanSubmit and wakes the consumer after its batch.
  void Submit(const Message& message) {
    MR_CHECK(CanSubmit(), "a link is full past admission: the windows are wrong");
    LinkSlot<M>& slot = ring_[tail_ & (slots_ - 1)];
    M::Write(&slot.body, message);
    ++tail_;
    // release: meets the acquire in ConsumerEnd::Take; publishes the slot and the block's bytes.
    slot.seq.store(static_cast<uint32_t>(tail_), std::memory_order_release);
    if (message.HasBlock()) lent_.push_back(message.block.offset);
  }

  // Takes in credits and returned blocks: appends their offsets. It reads two lines that the
  // consumer writes, so a lane calls it when it needs room or has nothing better to do.
  LinkResult CollectReturns(std::vector<uint32_t>* offsets) {
    // acquire: meets the release in ConsumerEnd::PublishCredits; the slots' old bytes are copied.
    const uint64_t taken = taken_->load(std::memory_order_acquire);
    if (taken < head_ || taken > tail_) return Fault(LinkFault::kTaken);
    head_ = taken;
    LinkResult result = LinkResult::kEmpty;
    while (true) {
      // acquire: meets the release in ConsumerEnd::Return; its reads of the block are done.
      const uint64_t word = returns_[returned_ & (slots_ - 1)].load(std::memory_order_acquire);
      if (static_cast<uint32_t>(word >> 32) != static_cast<uint32_t>(returned_ + 1)) return result;
      const uint32_t offset = static_cast<uint32_t>(word);
      auto found = std::find(lent_.begin(), lent_.end(), offset);
      if (found == lent_.end()) return Fault(LinkFault::kNotLent);
      *found = lent_.back();
      lent_.pop_back();
      offsets->push_back(offset);
      ++returned_;
      result = LinkResult::kOk;
    }
  }

  // The consumer has ended: every block still lent, once for each time it was lent.
  std::vector<uint32_t> TakeBackAll() { return std::exchange(lent_, {}); }

  uint64_t depth() const { return tail_ - head_; }
  size_t lent() const { return lent_.size(); }
  LinkFault fault() const { return fault_; }

 protected:
  void Bind(const Word* taken, const Word* returns) {
    taken_ = taken;
    returns_ = returns;
  }
  uint64_t slots() const { return slots_; }

 private:
  LinkResult Fault(LinkFault fault) {
    fault_ = fault;
    return LinkResult::kFault;
  }

  LinkSlot<M>* ring_ = nullptr;
  const Word* taken_ = nullptr;
  const Word* returns_ = nullptr;
  uint64_t slots_ = 0;
  uint64_t tail_ = 0;           // messages published
  uint64_t head_ = 0;           // of these, taken by the consumer as far as we know
  uint64_t returned_ = 0;       // entries read from the return ring
  std::vector<uint32_t> lent_;  // offsets, unordered; few, so that a scan is the fastest set
  LinkFault fault_ = LinkFault::kNone;
};

template <typename M>
class ConsumerEnd {
 public:
  using Word = typename M::template Word<uint64_t>;

  ConsumerEnd() = default;
  ConsumerEnd(const LinkSlot<M>* ring, Word* taken, Word* returns, uint64_t slots)
      : ring_(ring), taken_(taken), returns_(returns), slots_(slots) {}

  // Copies the next message, if there is one.
  LinkResult Take(Message* message) {
    const LinkSlot<M>& slot = ring_[next_ & (slots_ - 1)];
    // acquire: meets the release in ProducerEnd::Submit.
    const uint32_t seq = slot.seq.load(std::memory_order_acquire);
    if (seq != static_cast<uint32_t>(next_ + 1)) {
      // Else it must be what this slot held a lap ago.
      const auto before = static_cast<uint32_t>(next_ < slots_ ? 0 : next_ + 1 - slots_);
      return seq == before ? LinkResult::kEmpty : Fault(LinkFault::kSequence);
    }
    M::Read(slot.body, message);
    switch (message->kind) {
      case MessageKind::kData:
      case MessageKind::kError:
        break;
      case MessageKind::kInline:
        if (message->code > kInlineBytes) return Fault(LinkFault::kInlineLength);
        break;
      default:
        return Fault(LinkFault::kKind);
    }
    ++next_;
    return LinkResult::kOk;
  }

  // Whether Take would give something: the look before parking.
  bool HasNext() const {
    const LinkSlot<M>& slot = ring_[next_ & (slots_ - 1)];
    // relaxed: only a hint to Take, or the look between the fences of ipc/parking_shm.h.
    return slot.seq.load(std::memory_order_relaxed) == static_cast<uint32_t>(next_ + 1);
  }

  // Gives a block back. Visible to the producer at once; wake it only if it may wait for blocks.
  void Return(uint32_t offset) {
    const uint64_t place = returned_++ & (slots_ - 1);
    const uint64_t word = uint64_t{static_cast<uint32_t>(returned_)} << 32 | offset;
    // release: meets the acquire in ProducerEnd::CollectReturns.
    returns_[place].store(word, std::memory_order_release);
  }

  // Tells the producer how many messages were taken; once for a batch.
  void PublishCredits() {
    if (credited_ == next_) return;
    credited_ = next_;
    // release: meets the acquire in ProducerEnd::CollectReturns.
    taken_->store(next_, std::memory_order_release);
  }

  uint64_t slots() const { return slots_; }
  LinkFault fault() const { return fault_; }

 protected:
  void Bind(const LinkSlot<M>* ring) { ring_ = ring; }

 private:
  LinkResult Fault(LinkFault fault) {
    fault_ = fault;
    return LinkResult::kFault;
  }

  const LinkSlot<M>* ring_ = nullptr;
  Word* taken_ = nullptr;
  Word* returns_ = nullptr;
  uint64_t slots_ = 0;
  uint64_t next_ = 0;      // messages taken
  uint64_t credited_ = 0;  // of these, told to the producer
  uint64_t returned_ = 0;  // blocks returned
  LinkFault fault_ = LinkFault::kNone;
};

}  // namespace millrace
