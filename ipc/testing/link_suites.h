// Lanes on small links, as the interleaving search runs them: the link's own code, both ends.
//
// Purpose: what lanes do with links and parking, in every order; and what they would do wrong.
// Who may call: tests, through Search of ipc/testing/interleaving.h.
// Invariants (each is asserted in every schedule, and races are looked for in every byte):
//   1. Messages come once, in order, with what was sent.
//   2. A block does not change from when it is lent until it is returned, and comes back once.
//   3. A lane sleeps only while there is nothing for it; else the run ends as a deadlock.
// What fails: the run of the suite.
#pragma once

#include <stdint.h>

#include <vector>

#include "ipc/link_shm.h"
#include "ipc/parking_shm.h"
#include "ipc/testing/relacy_memory.h"

namespace millrace {

// What a suite gets wrong on purpose.
enum class Mistake {
  kNone,
  // Orders, with the model Forgetful: each word's release and acquire.
  kSubmitRelaxed,
  kTakeRelaxed,
  kReturnRelaxed,
  kCollectReturnsRelaxed,
  kPublishCreditsRelaxed,
  kCollectCreditsRelaxed,
  // Lanes.
  kPublishBeforePayload,
  kReturnBeforeRead,
  kReadAfterCredit,
  kReuseBeforeReturn,
  // Parking.
  kNoSecondLook,
  kWakeBeforePublish,
  kClearBeforeSleep,
  kFlagForEpoch,  // with the model Forgetful
};

// The memory of one link and of its producer's blocks.
template <typename M, Mistake kMistake, uint64_t kSlots>
struct Wires {
  using Word = typename M::template Word<uint64_t>;

  Wires() {
    if constexpr (kMistake == Mistake::kSubmitRelaxed)
      for (auto& slot : ring) slot.seq.release = false;
    if constexpr (kMistake == Mistake::kTakeRelaxed)
      for (auto& slot : ring) slot.seq.acquire = false;
    if constexpr (kMistake == Mistake::kReturnRelaxed)
      for (auto& word : returns) word.release = false;
    if constexpr (kMistake == Mistake::kCollectReturnsRelaxed)
      for (auto& word : returns) word.acquire = false;
    if constexpr (kMistake == Mistake::kPublishCreditsRelaxed) taken.release = false;
    if constexpr (kMistake == Mistake::kCollectCreditsRelaxed) taken.acquire = false;
  }

  LinkSlot<M> ring[kSlots];
  Word taken;
  Word returns[kSlots];
  rl::var<uint64_t> blocks[kSlots];
};

constexpr uint32_t kBlockBytes = 64;
inline uint64_t Content(uint64_t n) { return n * 1000 + 7; }

template <typename M, Mistake kMistake, uint64_t kSlots>
class Sender {
 public:
  explicit Sender(Wires<M, kMistake, kSlots>* wires)
      : wires_(wires), end_(wires->ring, &wires->taken, wires->returns, kSlots) {
    for (uint32_t i = 0; i < kSlots; ++i) free_.push_back(i * kBlockBytes);
  }

  // Whether Send may be called, after a look at what came back.
  bool CanSend() {
    if (end_.CanSubmit() && !free_.empty()) return true;
    Collect();
    return end_.CanSubmit() && !free_.empty();
  }
  void Send(uint64_t n, bool with_block) {
    Message message;
    message.id = n;
    if (!with_block) {
      message.kind = MessageKind::kInline;
      message.code = sizeof n;
      const uint64_t content = Content(n);
      memcpy(message.payload, &content, sizeof content);
      end_.Submit(message);
      return;
    }
    message.block = {free_.back(), sizeof n};
    if (kMistake != Mistake::kReuseBeforeReturn) free_.pop_back();
    rl::var<uint64_t>& block = wires_->blocks[message.block.offset / kBlockBytes];
    if (kMistake != Mistake::kPublishBeforePayload) block(Step(Where::current())) = Content(n);
    end_.Submit(message);
    if (kMistake == Mistake::kPublishBeforePayload) block(Step(Where::current())) = Content(n);
  }
  void Collect() {
    const size_t before = free_.size();
    const LinkResult result = end_.CollectReturns(&free_);
    RL_ASSERT(result != LinkResult::kFault);
    if (kMistake == Mistake::kReuseBeforeReturn) free_.resize(before);
  }
  // Everything was taken and came back.
  bool Idle() const { return end_.depth() == 0 && end_.lent() == 0; }

 private:
  Wires<M, kMistake, kSlots>* wires_;
  ProducerEnd<M> end_;
  std::vector<uint32_t> free_;
};

template <typename M, Mistake kMistake, uint64_t kSlots>
class Receiver {
 public:
  explicit Receiver(Wires<M, kMistake, kSlots>* wires)
      : wires_(wires), end_(wires->ring, &wires->taken, wires->returns, kSlots) {}

  bool HasNext() const { return end_.HasNext(); }
  bool Take() {
    Message message;
    const LinkResult result = end_.Take(&message);
    RL_ASSERT(result != LinkResult::kFault);
    if (result != LinkResult::kOk) return false;
    RL_ASSERT(message.id == taken_);
    if (message.HasBlock()) {
      held_.push_back({taken_, message.block.offset});
    } else {
      uint64_t content = 0;
      memcpy(&content, message.payload, message.code);
      RL_ASSERT(content == Content(taken_));
    }
    ++taken_;
    return true;
  }
  // Reads a block that is held, whichever, and gives it back.
  void ReturnOne(size_t which) {
    const Held held = held_[which];
    held_.erase(held_.begin() + static_cast<ptrdiff_t>(which));
    if (kMistake == Mistake::kReturnBeforeRead) end_.Return(held.offset);
    const uint64_t content = wires_->blocks[held.offset / kBlockBytes](Step(Where::current()));
    RL_ASSERT(content == Content(held.n));
    if (kMistake != Mistake::kReturnBeforeRead) end_.Return(held.offset);
  }
  void PublishCredits() {
    end_.PublishCredits();
    if (kMistake != Mistake::kReadAfterCredit || taken_ == 0) return;
    Message again;
    M::Read(wires_->ring[(taken_ - 1) % kSlots].body, &again);
  }
  size_t held() const { return held_.size(); }
  uint64_t taken() const { return taken_; }

 private:
  struct Held {
    uint64_t n;
    uint32_t offset;
  };

  Wires<M, kMistake, kSlots>* wires_;
  ConsumerEnd<M> end_;
  std::vector<Held> held_;
  uint64_t taken_ = 0;
};

// One link: laps of messages with and without blocks, which come back early or late, in any order;
// credits after each message or after some.
template <typename M, Mistake kMistake, uint64_t kSlots, uint64_t kMessages>
struct LinkSuite : rl::test_suite<LinkSuite<M, kMistake, kSlots, kMessages>, 2> {
  void thread(unsigned index) { index == 0 ? Produce() : Consume(); }

  void Produce() {
    Sender<M, kMistake, kSlots> sender(&wires);
    for (uint64_t n = 0; n < kMessages; ++n) {
      while (!sender.CanSend()) rl::yield(1, Step(Where::current()));
      sender.Send(n, rl::rand(2) == 0);
    }
    for (sender.Collect(); !sender.Idle(); sender.Collect()) rl::yield(1, Step(Where::current()));
  }

  void Consume() {
    Receiver<M, kMistake, kSlots> receiver(&wires);
    while (receiver.taken() < kMessages || receiver.held() > 0) {
      const bool took = receiver.taken() < kMessages && receiver.Take();
      const bool late = took && rl::rand(2) == 0;
      if (late) continue;
      if (receiver.held() > 0) receiver.ReturnOne(rl::rand(static_cast<unsigned>(receiver.held())));
      receiver.PublishCredits();
      if (!took) rl::yield(1, Step(Where::current()));
    }
    receiver.PublishCredits();
  }

  Wires<M, kMistake, kSlots> wires;
};

// What a lane sleeps with.
template <typename M, Mistake kMistake>
struct Bed {
  Bed() {
    if constexpr (kMistake == Mistake::kFlagForEpoch) parked.parity = true;
  }
  typename M::template Word<uint64_t> parked;
  Bell bell;
};

template <typename M, Mistake kMistake>
class Sleeper {
 public:
  explicit Sleeper(Bed<M, kMistake>* bed) : bed_(bed), word_(&bed->parked) {}

  // Returns once `look` sees something. The order is ipc/waiter.h's.
  template <typename Look>
  void Await(Look look) {
    while (!look()) {
      word_.Arm();
      if (kMistake == Mistake::kNoSecondLook || !look()) {
        if (kMistake == Mistake::kClearBeforeSleep) bed_->bell.Clear();
        bed_->bell.Sleep();
      }
      word_.Disarm();
      bed_->bell.Clear();
    }
  }

 private:
  Bed<M, kMistake>* bed_;
  ParkWord<M> word_;
};

template <typename M, Mistake kMistake>
class Alarm {
 public:
  explicit Alarm(Bed<M, kMistake>* bed) : bed_(bed), gate_(&bed->parked) {}

  template <typename Publish>
  void After(Publish publish) {
    if (kMistake != Mistake::kWakeBeforePublish) publish();
    if (gate_.ShouldWake()) bed_->bell.Ring();
    if (kMistake == Mistake::kWakeBeforePublish) publish();
  }

 private:
  Bed<M, kMistake>* bed_;
  WakeGate<M> gate_;
};

// Producers that never wait for an answer, and one consumer that sleeps whenever it can.
template <typename M, Mistake kMistake, int kProducers, uint64_t kSlots, uint64_t kMessages>
struct FanInSuite
    : rl::test_suite<FanInSuite<M, kMistake, kProducers, kSlots, kMessages>, kProducers + 1> {
  void thread(unsigned index) { index < kProducers ? Produce(&wires[index]) : Consume(); }

  void Produce(Wires<M, kMistake, kSlots>* link) {
    Sender<M, kMistake, kSlots> sender(link);
    Alarm<M, kMistake> alarm(&bed);
    for (uint64_t n = 0; n < kMessages; ++n) {
      while (!sender.CanSend()) rl::yield(1, Step(Where::current()));
      alarm.After([&] { sender.Send(n, n % 2 == 1); });
    }
  }

  void Consume() {
    std::vector<Receiver<M, kMistake, kSlots>> receivers;
    for (auto& link : wires) receivers.emplace_back(&link);
    Sleeper<M, kMistake> sleeper(&bed);
    uint64_t left = kProducers * kMessages;
    while (left > 0) {
      sleeper.Await([&] {
        for (auto& receiver : receivers)
          if (receiver.HasNext()) return true;
        return false;
      });
      for (auto& receiver : receivers) {
        while (receiver.Take()) left -= 1;
        while (receiver.held() > 0) receiver.ReturnOne(0);
        receiver.PublishCredits();
      }
    }
  }

  Wires<M, kMistake, kSlots> wires[kProducers];
  Bed<M, kMistake> bed;
};

// Two lanes that ask and answer, each asleep while it waits: a lost wake-up stops both. Whoever
// holds an answer has room to ask again, without looking twice.
template <typename M, Mistake kMistake, uint64_t kSlots, uint64_t kRounds>
struct AskSuite : rl::test_suite<AskSuite<M, kMistake, kSlots, kRounds>, 2> {
  void thread(unsigned index) {
    Sender<M, kMistake, kSlots> sender(&wires[index]);
    Receiver<M, kMistake, kSlots> receiver(&wires[1 - index]);
    Sleeper<M, kMistake> sleeper(&beds[index]);
    Alarm<M, kMistake> alarm(&beds[1 - index]);
    for (uint64_t n = 0; n < kRounds; ++n) {
      if (index == 1) Receive(&receiver, &sleeper);
      RL_ASSERT(sender.CanSend());
      alarm.After([&] { sender.Send(n, (n + index) % 2 == 0); });
      if (index == 0) Receive(&receiver, &sleeper);
    }
  }

  void Receive(Receiver<M, kMistake, kSlots>* receiver, Sleeper<M, kMistake>* sleeper) {
    sleeper->Await([&] { return receiver->HasNext(); });
    const bool took = receiver->Take();
    RL_ASSERT(took);
    while (receiver->held() > 0) receiver->ReturnOne(0);
    receiver->PublishCredits();
  }

  Wires<M, kMistake, kSlots> wires[2];
  Bed<M, kMistake> beds[2];
};

}  // namespace millrace
