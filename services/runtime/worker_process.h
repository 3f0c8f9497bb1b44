// A process with one working lane: features, execution, aggregation.
//
// Purpose: the lane's thread, its idling, catalogs and draining; the stage adds only its work.
// Who may call: main() calls RunWorker once. WorkerStage::Start, OnPeerMapped and Prepare run on
// the
//   control thread, the rest on the lane's thread. Invariants:
//   1. While there is work the lane never blocks; without any it waits as its entry of the roster
//      says (ipc/idler.h), parks in the end, and wakes at the latest after Waiter::kMaxSleepMs to
//      beat.
//   2. A worker has drained when it held nothing for kQuietNs.
// What fails: Prepare, with the reason why this worker cannot serve by a catalog.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "services/runtime/process.h"
#include "services/runtime/worker.h"

namespace millrace {

class WorkerStage {
 public:
  virtual ~WorkerStage() = default;
  // Builds what the catalog asks for; the returned action puts it into use on the lane's thread.
  virtual absl::StatusOr<std::function<void()>> Prepare(CatalogWithPlans catalog) = 0;
  // No request in flight began before this catalog: what only older ones had may go. On the control
  // thread.
  virtual void Settled(uint64_t) {}
  // Works through some of the queue. The count of items worked on.
  virtual size_t Work(Worker& worker) = 0;
  // Once, before everything else, on the control thread. As StageProcess::OnStart.
  struct Setup {
    Worker& worker;
    const Config& config;
    bool without_device = false;
    std::function<void(FromProcess)> tell;
  };
  virtual absl::Status Start(Setup setup) = 0;
  // As StageProcess::OnPeerMapped, on the control thread.
  virtual void OnPeerMapped(PeerLane*) {}
  // Whether it holds nothing beside the worker's queue.
  virtual bool Idle() const { return true; }
};

int RunWorker(int argc, char** argv, Stage stage, WorkerStage* work);

}  // namespace millrace
