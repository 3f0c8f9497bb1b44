// A process of the world: what services/runtime's control thread does, without sockets.
//
// Purpose: the supervisor's messages turned into lanes, halves of links, catalogs, drains; the
//   memory is real, and each process maps its peers' as it would.
// Who may call: the simulation's one thread. Ownership: owns lanes, the stage, halves not yet
//   joined; a peer's memory until the supervisor says that it is gone.
// Invariants: 1. messages are handled in the order they were sent, each later than it was sent.
//   2. A stopped process handles none. What fails: set-up ends the process.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/link.h"
#include "services/simulation/sim_lane.h"
#include "services/supervisor/hands.h"

namespace millrace::sim {

class SimProcess {
 public:
  SimProcess(World* world, uint32_t key, Stage stage, uint32_t index);

  // To it, by the supervisor.
  void Deliver(const ToProcess& message, FdList fds);
  // By it, to the supervisor.
  void Tell(FromProcess message, std::vector<Fd> fds = {});

  uint32_t key() const { return key_; }
  Stage stage() const { return stage_; }
  uint32_t index() const { return index_; }
  int64_t paused_until_ns() const { return paused_until_ns_; }
  void set_paused_until_ns(int64_t until_ns) { paused_until_ns_ = until_ns; }
  bool dying() const { return dying_; }
  void set_dying() { dying_ = true; }
  bool live() const { return live_; }  // ingress: it was told what to route by
  bool leaving() const { return leaving_; }
  const std::vector<std::unique_ptr<SimLane>>& lanes() const { return lanes_; }

 private:
  using LinkName = std::pair<uint32_t, uint32_t>;  // producer, consumer
  struct HalfLink {
    SimLane* lane;
    std::shared_ptr<PeerLane> peer;
    std::variant<LinkProducer, LinkConsumer> end;
  };

  void HandleNext();
  void Handle(const ToProcess& message, const FdList& fds);
  void OnConfigure(const Configure& configure, const FdList& fds);
  void OnPeer(const Peer& peer, const FdList& fds);
  void OnPeerHalf(const PeerHalf& half, const FdList& fds);
  void OnPeerGone(uint32_t gone);
  void OnCatalog(const CatalogUpdate& update, const FdList& fds);
  void OnDrain();
  void OnAdopted(const FdList& fds);
  void MakeStage(bool without_device, const Config& config);
  template <typename End>
  void MakeHalf(SimLane* lane, const std::shared_ptr<PeerLane>& peer, LinkName name, End end);

  World* const world_;
  const uint32_t key_;
  const Stage stage_;
  const uint32_t index_;
  std::unique_ptr<WorkerStage> work_;
  std::vector<std::unique_ptr<SimLane>> lanes_;
  std::map<LinkName, HalfLink> halves_;
  std::multimap<uint32_t, std::shared_ptr<PeerLane>> peers_;
  std::deque<std::pair<ToProcess, FdList>> inbox_;
  int64_t last_in_ns_ = 0;   // when the last message comes here
  int64_t last_out_ns_ = 0;  // when our last one comes there
  uint64_t catalog_seen_ = 0, catalog_taken_ = 0;
  bool drained_ = false;
  int64_t paused_until_ns_ = 0;
  bool dying_ = false;
  bool live_ = false;
  bool leaving_ = false;
};

}  // namespace millrace::sim
