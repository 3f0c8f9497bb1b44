// The registry's side of the control socket.
//
// Purpose: answer Configure and Reload with a catalog, ChangeModel with one and ModelChanged,
//   ChangeRoutes with RoutesChanged; Drain and Stop at once.
// Who may call: main(), one thread. Ownership: owns the socket and, through the builder, the plans.
// Words: routes are changed on the inbox's thread, so that no change waits for a compilation.
//   A load that is to wait for its pace (load_pace.h) waits in a queue of its own; what is not
//   about loads passes it.
// Invariants: 1. every catalog that is sent is complete and sealed. 2. A repository that cannot be
//   read ends the process at the first build and is only logged at a later one, when the last
//   catalog goes on being served.
// What fails: Run returns an exit code (README.md).
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/config.h"
#include "ipc/control.pb.h"
#include "services/registry/catalog_builder.h"
#include "services/registry/control_inbox.h"
#include "services/registry/debt/debt_watch.h"
#include "services/registry/load_pace.h"
#include "services/registry/model_use_book.h"
#include "services/registry/rollout/rollout_desk.h"
#include "services/registry/routes/routes_desk.h"
#include "services/registry/watch/repository_watch.h"

namespace millrace {

// Beside those of services/runtime/process.h.
enum RegistryExitCode : int {
  kExitConfigurationRefused = 65,
  kExitRepositoryUnreadable = 67,
  kExitCompilerMissing = 70,
};

class RegistryService {
 public:
  RegistryService(Fd socket, std::string compiler)
      : inbox_(std::move(socket)), compiler_(std::move(compiler)) {}

  // First the threads that use the desks.
  ~RegistryService() {
    inbox_.Stop();
    if (rollouts_ != nullptr) rollouts_->Stop();
  }

  // Until Stop, or until the supervisor is gone.
  int Run();

 private:
  // A value: exit with it.
  std::optional<int> Handle(const ToProcess& message);
  // A turn of its thread: sleeps until there is something to do, and does one thing of each kind.
  std::optional<int> Turn();
  std::optional<int> NextLoad();
  std::optional<int> OnConfigure(const Configure& configure);
  std::optional<int> BuildAndPublish();
  std::optional<int> OnChangeModel(const ChangeModel& change);
  // Builds what the watch says is due.
  std::optional<int> FollowRepository();
  absl::Status Publish(const BuiltCatalog& built);
  void UseCatalog(const Catalog& catalog);
  bool Send(const FromProcess& message, absl::Span<const int> fds = {}) {
    return inbox_.Send(message, fds);
  }
  // For the builder: what is used, and what has to stay.
  PlanUse UseNow(uint64_t generation) const;
  void SetMemory(const Configure& configure);
  // On the inbox's thread: whether it was about routes.
  bool HandleRoutes(const ToProcess& message);
  void OnChangeRoutes(const ChangeRoutes& change);
  void SayRoutes(const Routes& routes);

  ControlInbox inbox_;
  ModelUseBook use_;
  mutable std::mutex watched_mutex_;
  WatchVersions watched_;    // by rollouts
  std::mutex routes_mutex_;  // guards the pointers, which are set once
  std::unique_ptr<RoutesDesk> routes_;
  std::unique_ptr<RolloutDesk> rollouts_;
  std::string compiler_;
  Config config_;
  std::unique_ptr<CatalogBuilder> builder_;
  std::unique_ptr<RepositoryWatch> watch_;
  std::unique_ptr<DebtWatch> debt_;  // null: nobody is to be told
  LoadPace pace_{0};
  std::deque<ToProcess> loads_;  // that were asked for, in their order
  bool published_ = false;
  const BuiltCatalog* newest_ = nullptr;  // the builder's, published or about to be
};

}  // namespace millrace
