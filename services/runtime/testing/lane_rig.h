// Lanes with real memory in one process, polled by hand.
//
// Purpose: tests of lanes and workers that are deterministic: the test decides who polls when. It
//   plays supervisor (roster) and control thread (views, halves). Also peers made of bare regions,
//   into which a test writes whatever a hostile process could.
// Who may call: one thread. Ownership: the rig owns lanes and raw peers; references stay valid.
// Invariants: 1. an incarnation is given once. What fails: set-up ends the process.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ipc/ledger.h"
#include "ipc/roster.h"
#include "services/runtime/lane.h"

namespace millrace {

// Remembers everything. Returns each message at once unless `hold` is set.
class Recorder : public LaneHandler {
 public:
  explicit Recorder(Lane* lane) : lane_(lane) { lane->set_handler(this); }

  void OnMessage(Inbound& from, const Message& message) override;
  void OnPeer(const std::shared_ptr<PeerLane>& peer) override { peers.push_back(peer->id); }
  void OnPeerLost(const std::shared_ptr<PeerLane>& peer) override;
  void OnBlockFree(uint64_t tag) override { freed.push_back(tag); }

  void ReturnHeld();

  bool hold = false;
  std::vector<Message> messages;
  std::vector<std::string> texts;  // each message's block, as the peer's arena shows it
  std::vector<std::pair<Inbound*, Message>> held;
  std::vector<LaneId> peers;
  std::vector<uint32_t> lost;
  std::vector<size_t> messages_when_lost;
  std::vector<uint64_t> freed;
  std::function<void(Inbound& from, const Message& message)> on_message;  // in place of the default

 private:
  Lane* lane_;
};

struct TestLane {
  TestLane(LaneId id, Lane::Memory memory);
  uint32_t incarnation() const { return lane.id().incarnation; }
  // A block that holds `text`, referenced once.
  BlockRef Write(std::string_view text, uint64_t tag = 0);
  // Whether somebody woke it since the last look.
  bool TakeWake();

  std::vector<std::pair<uint32_t, uint32_t>> link_ups;
  std::vector<std::pair<uint32_t, std::string>> faults;
  Lane lane;
  std::unique_ptr<Ledger> ledger;  // ingress
};

// `text`, filled up so that it travels in a block and not in its message.
std::string ForBlock(std::string text);

// What a process that obeys no rule could have made. Its half of a link to a lane is `slots`, of a
// link from a lane `returns`.
struct RawPeer {
  LaneId id;
  Region page;
  Region arena;
  Fd wake;
  Region slots;
  Region returns;

  SlotsRegion* out() { return slots.as<SlotsRegion>(); }
  ReturnsRegion* back() { return returns.as<ReturnsRegion>(); }
  // Publishes as an honest producer would; `n` counts from 0.
  void Publish(uint64_t n, const Message& message);
};

class LaneRig {
 public:
  LaneRig();

  // In the roster as ready from here on. `shape`: a few blocks of each size if empty.
  TestLane& Add(Stage stage, ArenaShape shape = {});
  RawPeer& AddRaw(Stage stage);
  // A lane of another process: only its entry in the roster.
  LaneId AddRemote(Stage stage, RosterState state) { return NextId(stage, state); }
  int roster_fd() const { return roster_.fd(); }
  // Both ends, given to their lanes; taken up in their next Poll.
  void Link(TestLane& producer, TestLane& consumer);
  // Only one end, the other being raw.
  void Link(RawPeer& producer, TestLane& consumer);
  void Link(TestLane& producer, RawPeer& consumer);
  // The newest roster does not name it any more.
  void Leave(uint32_t incarnation);
  void SetState(uint32_t incarnation, RosterState state);
  void SetWait(uint32_t incarnation, WaitMode wait);
  // How `lane` sees `peer`: one view for all links between the two.
  std::shared_ptr<PeerLane> View(TestLane& lane, TestLane& peer);
  std::shared_ptr<PeerLane> View(TestLane& lane, RawPeer& peer);

 private:
  LaneId NextId(Stage stage, RosterState state = RosterState::kReady);
  std::shared_ptr<PeerLane> MakeView(uint32_t lane, const LaneId& peer, const Region& page,
                                     const Region& arena, const Ledger* ledger, const Fd& wake);

  RosterWriter roster_;
  std::vector<RosterEntry> entries_;
  uint32_t next_incarnation_ = 1;
  std::vector<std::unique_ptr<TestLane>> lanes_;
  std::vector<std::unique_ptr<RawPeer>> raws_;
  std::map<std::pair<uint32_t, uint32_t>, std::shared_ptr<PeerLane>> views_;
};

}  // namespace millrace
