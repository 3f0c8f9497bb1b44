// What the two processes of the kill torture have in common: memory, links to one peer, a journal.
//
// Purpose: an end that takes up links, sends, receives, parks and ends links as a lane does
//   (services/runtime/lane.cc), told by the supervisor's messages (ipc/control.proto), and writes
//   down what it does. Who may call: a process of the torture, one object. Ownership: its regions.
// Invariants:
//   1. One peer at a time; links to the next one are taken up when those to the last have ended.
//   2. What a dead peer had published is taken, every block lent to it is taken back.
// What fails: a fault of the peer, which is honest, ends the process after it is written down.
#pragma once

#include <stdint.h>

#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "ipc/arena.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/testing/history.h"
#include "ipc/waiter.h"

namespace millrace {

// Faults that a test plants, to see them found.
enum class Planted {
  kNothing,
  kDrainNothing,   // what the dead peer had published is left where it is
  kTakeBackEarly,  // blocks are taken back while the consumer lives
  kPublishFirst,   // a message is published before its payload is written
  kSameAttempt,    // what the dead worker held is sent again under the same attempt
  kForgetBlocks,   // blocks that the dead peer had are not taken back
  kWakeSeldom,     // one wake-up in four is left out
};

struct TortureSetup {
  uint32_t incarnation = 0;
  bool is_owner = false;
  uint64_t slots = 0;
  uint64_t seed = 0;
  Planted planted = Planted::kNothing;
};

class TortureEnd {
 public:
  TortureEnd(const TortureSetup& setup, ControlChannel channel, Journal* journal);
  virtual ~TortureEnd() = default;
  // Until it was told to finish and nothing is left to do.
  void Run();

 protected:
  struct Peer {
    uint32_t incarnation = 0;
    Region page;
    ArenaView arena;
    Waker waker;
    LinkProducer out;
    LinkConsumer in;
    int halves = 0;  // of 2: attached
    bool ended = false;
    bool wake_pending = false;
    uint64_t taken = 0;
  };
  struct Held {
    std::shared_ptr<Peer> from;
    Message message;
  };
  // What is sent: the bytes follow from `seed`.
  struct Item {
    uint64_t entry = 0;
    uint8_t attempt = 0;
    uint64_t seed = 0;
    uint16_t length = 0;
    BlockRef block;  // length 0: inline
  };

  // A message was taken and written down.
  virtual void OnMessage(const Held& held) = 0;
  // The links to a peer are about to be written down as ended: let go of what it sent.
  virtual void OnEnd(const std::shared_ptr<Peer>& peer) = 0;
  // Does some work: how much was done.
  virtual size_t Work() = 0;
  // Nothing is left that this end is to do.
  virtual bool Quiet() const = 0;
  virtual void OnBlockBack(uint32_t offset) = 0;

  static uint64_t EntryOf(const Message& message) {
    return uint64_t{message.origin} << 32 | PartId::Unpack(message.id).sequence;
  }
  // A random length, inline or in a block; nothing where no block of the class is free.
  std::optional<Item> MakeItem(uint64_t entry, uint8_t attempt);
  bool CanOffer();
  void Offer(const Item& item);
  // Looks at the bytes once more, writes that down, and returns the block to a living peer.
  void Finish(const Held& held);
  void Log(What what, uint32_t peer, Event event = {});
  // With the digest of the bytes that the message has or names.
  void Log(What what, const Held& held);
  uint64_t Random(uint64_t below) { return random_() % below; }

  const TortureSetup setup_;
  Arena arena_;
  std::shared_ptr<Peer> peer_;  // linked, or about to be
  Journal* const journal_;
  bool finishing_ = false;

 private:
  size_t Step();
  size_t Receive();
  size_t CollectReturns();
  void Flush();
  void Park();
  bool Control();
  void Meet(uint32_t incarnation, const std::vector<Fd>& fds);
  void Attach(const PeerHalf& half, const Fd& fd);
  void End(uint32_t incarnation);
  void TakeBackAll();
  void CheckFault(LinkResult result, LinkFault fault);

  ControlChannel channel_;
  Region page_;
  Fd wake_;
  Waiter waiter_;
  std::mt19937_64 random_;
  uint64_t spins_;  // turns without work before it parks
};

std::unique_ptr<TortureEnd> MakeTortureEnd(const TortureSetup& setup, ControlChannel channel,
                                           Journal* journal);

}  // namespace millrace
