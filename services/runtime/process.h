// The frame of every process that has lanes: its life between the supervisor's messages.
//
// Purpose: the main thread of ingress, features, execution and aggregation. It makes the lanes'
//   memory, announces it, makes and joins halves of links, hands catalogs on, drains and stops.
// Who may call: main() calls RunProcess once. Stage's methods are called on the main (control)
//   thread; lanes run on threads that the Stage starts.
// Ownership: the process owns lanes and memory and outlives the Stage's threads.
// Invariants:
//   1. The main thread holds the liveness word and never works on a request.
//   2. SIGTERM and SIGINT are ignored: the supervisor decides; when its socket closes without a
//      Stop, the process ends with kExitOrphan.
// Exit codes: ExitCode below.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/config.h"
#include "ipc/catalog.pb.h"
#include "ipc/control.pb.h"
#include "ipc/ledger.h"
#include "ipc/routes.pb.h"
#include "services/runtime/lane.h"

namespace millrace {

enum ExitCode : int {
  kExitOk = 0,
  kExitUsage = 64,       // started by hand or with wrong arguments
  kExitMemory = 71,      // shared memory cannot be reserved
  kExitDevice = 72,      // the configuration asks for a device that is not there
  kExitProtocol = 76,    // the supervisor said what cannot be right
  kExitOrphan = 77,      // the supervisor's socket closed
  kExitDeviceLost = 78,  // the device failed for good: another process may have more luck
};

struct CatalogWithPlans {
  std::shared_ptr<const Catalog> catalog;
  std::map<uint32_t, Fd> plans;  // by route; execution only
};

class StageProcess {
 public:
  virtual ~StageProcess() = default;

  // All lanes exist and are announced; starts their threads. `ledgers` matches `lanes` (ingress).
  struct Start {
    Config config;
    std::vector<Lane*> lanes;
    std::vector<Ledger*> ledgers;
    std::map<std::string, Fd> listeners;
    bool without_device = false;  // as Configure says
    bool hold = false;            // ingress: nobody is accepted before OnOpen
    // To the supervisor, from any thread.
    std::function<void(FromProcess)> tell;
  };
  // FailedPrecondition: a device is asked for that is not there (kExitDevice).
  virtual absl::Status OnStart(Start start) = 0;
  // A peer whose messages will come here: its memory is mapped, and no message was taken yet. What
  // is put in `attached` ends before the mapping.
  virtual void OnPeerMapped(PeerLane*) {}
  // Takes up a catalog; `ready` may be called from any thread, once it serves by it.
  virtual void OnCatalog(CatalogWithPlans catalog, std::function<void(absl::Status)> ready) = 0;
  // Every execution worker serves this generation (ingress: route by it from now on).
  virtual void OnCatalogLive(uint64_t generation) = 0;
  // Ingress: the routes to go by; `taken` may be called from any thread, once each lane does.
  virtual void OnRoutes(std::shared_ptr<const Routes>, std::function<void()>) {}
  // The answer to a ChangeRoutes that this process told, once, whoever dies meanwhile.
  virtual void OnRoutesChanged(const RoutesChanged&) {}
  // The answer to a ChangeModel that this process told.
  virtual void OnModelChanged(const ModelChanged&) {}
  // A stage's breaker, as the supervisor has it; ingress only.
  virtual void OnStageBreaker(const StageBreakerChanged&) {}
  // Finish what is there; `drained` may be called from any thread.
  virtual void OnDrain(std::function<void()> drained) = 0;
  // Likewise, while others serve: clients are told to move to them and are served until they have.
  virtual void OnMove(std::function<void()> drained) { OnDrain(std::move(drained)); }
  virtual void OnOpen() {}  // ingress
  // Stops and joins the lanes' threads.
  virtual void OnStop() = 0;
};

// Parses --control_fd (default 3) and runs until Stop. The exit code.
int RunProcess(int argc, char** argv, Stage stage, StageProcess* process);

}  // namespace millrace
