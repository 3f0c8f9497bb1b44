// A lane of the world: the product's lane and its stage, and the thread that would turn them.
//
// Purpose: the loops of WorkerProcess and of ingress's LaneThread, a turn at a time, on the world's
//   clock. Who may call: the simulation's one thread.
// Ownership: owns the lane, its ledger and its stage; PeerLanes as the product does.
// Invariants:
//   1. A turn is the product's duty cycle, whole; it takes time of the world and may be stopped
//      where the fiber (fiber.h) allows.
//   2. A lane that parked runs again when its eventfd was written or its time is up, as the
//   product's
//      does. Its looks before parking are the product's.
// What fails: set-up ends the process.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "ipc/ledger.h"
#include "services/ingress/core/ingress_lane.h"
#include "services/runtime/worker.h"
#include "services/runtime/worker_process.h"
#include "services/simulation/fiber.h"

namespace millrace::sim {

class SimProcess;
class World;

// Stands between a lane and its worker and looks at what comes.
class WindowWatch : public LaneHandler {
 public:
  WindowWatch(World* world, LaneHandler* worker) : world_(world), worker_(worker) {}
  // A window is 64 units: an ingress lane never has more of its messages held here, whatever ended.
  void OnMessage(Inbound& from, const Message& message) override;
  void OnPeer(const std::shared_ptr<PeerLane>& peer) override { worker_->OnPeer(peer); }
  void OnPeerLost(const std::shared_ptr<PeerLane>& peer) override { worker_->OnPeerLost(peer); }
  void OnBlockFree(uint64_t tag) override { worker_->OnBlockFree(tag); }

 private:
  World* const world_;
  LaneHandler* const worker_;
};

class SimLane {
 public:
  SimLane(World* world, SimProcess* process, const LaneId& id, int roster_fd);
  ~SimLane();

  // A worker's, before Begin.
  Worker& MakeWorker();
  // Its thread begins. `stage`: the process's, for a worker; null for ingress.
  void Begin(WorkerStage* stage);

  // Ingress: in its next turn, as the protocols' servers do between two polls.
  void Call(std::function<void(IngressLane&)> call);
  // Reports once nothing is left; ingress then takes no calls any more.
  void Drain(std::function<void()> drained);

  void Rung();  // somebody wrote its eventfd
  // A slow machine: each turn takes so many times as long.
  void set_slowness(int64_t times) { slowness_ = times; }

  Lane& lane() { return *lane_; }
  const Page& page() const { return *lane_->memory().page.as<const Page>(); }
  Ledger* ledger() { return ledger_.get(); }
  Worker* worker() { return worker_.get(); }
  IngressLane* ingress() { return ingress_.get(); }
  WorkerStage* stage() { return stage_; }
  SimProcess& process() const { return *process_; }
  bool draining() const { return drained_ != nullptr; }
  // When the turn before the one that runs now began.
  int64_t turn_before_ns() const { return turn_before_ns_; }
  uint32_t incarnation() const { return lane_->id().incarnation; }
  // Nothing in flight, in limbo, queued, held or lent.
  bool Quiet();

 private:
  void StepAt(int64_t when_ns);
  void Step();
  void Turn();
  void TurnWorker();
  void TurnIngress();
  void Rest();
  bool HasWork();
  int64_t TurnNs();

  World* const world_;
  SimProcess* const process_;
  std::unique_ptr<Lane> lane_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<WindowWatch> watch_;  // of worker_
  std::unique_ptr<IngressLane> ingress_;
  WorkerStage* stage_ = nullptr;
  std::deque<std::function<void(IngressLane&)>> calls_;
  std::function<void()> drained_;
  Fiber fiber_;
  uint64_t token_ = 0;  // of the step that is due; others are past
  size_t done_ = 0;     // by the last turn
  int idle_turns_ = 0;
  bool asleep_ = false;
  bool rung_ = false;
  int64_t slowness_ = 1;
  int64_t last_work_ns_ = 0;
  int64_t turn_before_ns_ = 0;
  int64_t turn_ns_ = 0;
};

}  // namespace millrace::sim
