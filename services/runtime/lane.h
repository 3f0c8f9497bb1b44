// A lane: one thread with its page, its arena and its ends of links, in one duty cycle.
//
// Purpose: everything that the lanes of all stages do alike: take messages, return blocks, act on
//   the roster, take up links, wake peers, beat, park.
// Who may call: Post any thread; Cancel..., everything else only the lane's thread.
// Ownership: a Lane owns its memory and its ends of links; a PeerLane lives while a link or an item
//   still uses its memory.
// Invariants:
//   1. Poll is bounded: at most kDrain messages a link, so that no producer starves another.
//   2. A peer that the newest roster does not name has ended: what it published is taken, then the
//      handler hears OnPeerLost once, and every block lent to it is back in the arena.
//   3. Credits are published in the cycle that took the messages; a stage returns an input before
//   it
//      sends the output made from it, so that whoever holds the answer knows the input is returned.
//   4. A peer that breaks the link's rules is reported (Fault) once and treated as ended.
// What fails: nothing after Create; a broken invariant of ours aborts.
#pragma once

#include <stdint.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "ipc/arena.h"
#include "ipc/idler.h"
#include "ipc/ledger.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/roster.h"
#include "ipc/stats.h"
#include "ipc/topology.h"
#include "ipc/waiter.h"
#include "services/runtime/turn_clock.h"

namespace millrace {

struct LaneId {
  uint32_t incarnation = 0;
  Stage stage = Stage::kNone;
  uint8_t index = 0;
  uint8_t lane = 0;
};

class TraceWriter;

// Another lane, as one lane of ours sees it.
struct PeerLane {
  LaneId id;
  Region page_region;
  ArenaView arena;
  std::shared_ptr<const void> attached;  // a stage's own, let go before the arena is unmapped
  std::unique_ptr<LedgerView> ledger;    // ingress lanes only
  Waker waker;
  bool wake_pending = false;
  bool lost = false;

  const Page& page() const { return *page_region.as<const Page>(); }
  // What a message of this peer carries, in itself or in its arena; nothing where the block lies
  // outside. Valid as long as the message and the peer.
  std::optional<absl::Span<const std::byte>> Payload(const Message& message) const;
};

struct Inbound {
  std::shared_ptr<PeerLane> peer;
  LinkConsumer link;
  size_t held = 0;  // messages that are not returned yet
  bool ended = false;
};

struct Outbound {
  std::shared_ptr<PeerLane> peer;
  LinkProducer link;
};

// What a stage makes of a lane's events. All calls come from Poll, on the lane's thread.
class LaneHandler {
 public:
  virtual ~LaneHandler() = default;
  // The handler owns the message until it calls Lane::Return, once for each.
  virtual void OnMessage(Inbound& from, const Message& message) = 0;
  // It follows soon if its peer lives: the lines that it needs may be asked for.
  virtual void OnComing(Inbound&, const Message&) {}
  // A new peer; its links come up one by one.
  virtual void OnPeer(const std::shared_ptr<PeerLane>& peer) = 0;
  virtual void OnPeerLost(const std::shared_ptr<PeerLane>& peer) = 0;
  // The last reference to a block of our arena is gone.
  virtual void OnBlockFree(uint64_t tag) = 0;
};

// What a lane tells its control thread. Called on the lane's thread; must not block.
struct LaneReports {
  std::function<void(uint32_t producer, uint32_t consumer)> link_up;
  std::function<void(uint32_t incarnation, const std::string& reason)> fault;
};

class Lane {
 public:
  struct Memory {
    Region page;
    Arena arena;
    Fd wake;
    RosterReader roster;
  };
  Lane(LaneId id, Memory memory, LaneReports reports);

  const LaneId& id() const { return id_; }
  Page& page() { return *memory_.page.as<Page>(); }
  Arena& arena() { return memory_.arena; }
  // The page's statistics, on the lane's thread.
  StatsWriter& stats() { return stats_; }
  // On the lane's thread: its trace ring (services/runtime/lane_traces.h); null: it has none.
  TraceWriter* traces() { return traces_; }
  void set_traces(TraceWriter* traces) { traces_ = traces; }
  const Memory& memory() const { return memory_; }
  void set_handler(LaneHandler* handler) { handler_ = handler; }

  // Any thread: runs `action` on the lane's thread, in its next cycle.
  void Post(std::function<void()> action);
  // On the lane's thread, through Post: an end of a link that is attached on both sides.
  void TakeUp(std::shared_ptr<PeerLane> peer, LinkConsumer link);
  void TakeUp(std::shared_ptr<PeerLane> peer, LinkProducer link);

  // On the lane's thread: the roster of the supervisor that took over, published at least once.
  void ReadRoster(RosterReader roster) { memory_.roster = std::move(roster); }

  // One turn: posted actions, roster, returned blocks, messages. The count of what was done.
  size_t Poll();

  // Each turn, with a time that the caller has read anyway: the page's worst turn (turn_clock.h).
  void Turned(int64_t now_ns) {
    if (turns_.Turned(now_ns)) page().Set(Counter::kWorstTurnNs, turns_.worst_ns());
  }

  // Whether a message may go to this lane now: a live link with room.
  bool CanSend(uint32_t incarnation) const;
  // Publishes; the receiver is woken by Flush. Adds a reference to the message's block for the time
  // it is lent; data of at most kInlineBytes goes in the message instead. False: no live link (the
  // block is untouched). A full link is a fault of its peer.
  bool Send(uint32_t incarnation, const Message& message);
  void Return(Inbound& from, const Message& message);
  // Drops a reference to a block of ours.
  void Release(const BlockRef& block);
  // Wakes whoever got something since the last Flush.
  void Flush();
  void WakeAll();

  // Parking. Arm, then HasWork; if there is none, sleep on wake_fd(), then Unpark.
  void Arm();
  bool HasWork() const;
  bool Sleep(int timeout_ms) { return waiter_.Sleep(timeout_ms); }
  void Unpark() {
    waiter_.Unpark();
    turns_.Slept();
  }
  int wake_fd() const { return waiter_.fd(); }

  // How this lane shall wait: as its own entry of the roster says, YIELD before it stands there.
  WaitMode wait_mode() const { return wait_mode_; }
  // Where that is YIELD: whether it and its peers tell of kCrowd requests in flight, or did within
  // kCrowdNs (between two batches none are). Idler::ShouldPark says what that changes.
  bool InACrowd();
  static constexpr uint64_t kCrowd = 16;
  static constexpr int64_t kCrowdNs = 5 * kNanosPerMilli;

  const RosterSnapshot& roster() const { return roster_; }
  PeerLane* FindPeer(uint32_t incarnation) const;
  const std::vector<std::shared_ptr<PeerLane>>& peers() const { return peers_; }
  // A peer wrote what cannot be right: counted, reported, and treated as ended.
  void Fault(PeerLane& peer, const std::string& reason);

  // Messages that one turn takes from a link.
  static constexpr int kDrain = 64;
  // Of them, those that are taken at once: the lines that the later ones need come meanwhile.
  static constexpr size_t kAhead = 8;

 private:
  size_t RunPosted();
  size_t CheckRoster();
  size_t CollectReturns(Outbound& out);
  // What to publish: the message, its block lent; or `whole`, with the data in the message itself.
  const Message& Lend(const Message& message, Message* whole);
  size_t Drain(Inbound& in, int limit);
  void End(const std::shared_ptr<PeerLane>& peer);
  void AddPeer(const std::shared_ptr<PeerLane>& peer);
  bool IsLive(const PeerLane& peer);

  LaneId id_;
  Memory memory_;
  LaneReports reports_;
  LaneHandler* handler_ = nullptr;
  Waiter waiter_;
  StatsWriter stats_;
  TurnClock turns_;
  TraceWriter* traces_ = nullptr;
  RosterSnapshot roster_;
  WaitMode wait_mode_ = WaitMode::kYield;
  int64_t crowd_until_ns_ = 0;  // 0: no crowd was seen of late
  std::vector<std::shared_ptr<PeerLane>> peers_;
  std::vector<std::unique_ptr<Inbound>> inbound_;
  std::vector<std::unique_ptr<Outbound>> outbound_;
  std::vector<uint32_t> returned_;  // scratch

  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;
  std::atomic<bool> has_posted_{false};
};

}  // namespace millrace
