// Rollouts in the registry: the controller, its file, its clock and the routes that it changes.
//
// Purpose: the border between deciding (controller.h) and the rest of the registry.
// Who may call: any thread. Ownership: owns the controller and a thread that ticks; `routes` and
// what
//   the host's function uses outlive it.
// Invariants: 1. The controller is called by one thread at a time. 2. The file is replaced by
// rename;
//   one that cannot be read is kept beside it as FILE.damaged, and routes stay as they are.
// What fails: Command, with a status and a sentence.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "services/registry/rollout/controller.h"
#include "services/registry/routes/routes_desk.h"

namespace millrace {

class RolloutDesk : private RolloutHands {
 public:
  using WatchFn = std::function<void(const WatchVersions& versions)>;

  // `file`: rollouts.json.
  RolloutDesk(std::string file, RoutesDesk* routes, WatchFn watch);
  ~RolloutDesk() override { Stop(); }

  // Goes on with what was saved. Once; the routes are there.
  void Start();
  // Ends its thread, which may call `watch` until then.
  void Stop();
  // A command of the verb "rollout". Its generation is that of the routes that it leads to.
  RouteOutcome Command(const std::string& command_json, const std::string& who);
  void OnStatistics(const VersionStatistics& statistics);
  void WatchAgain();

 private:
  int64_t NowNs() override;
  int64_t WallMs() override;
  std::optional<NamedRoute> RouteNow(const std::string& name) override;
  absl::Status SetRoute(const std::string& name, const std::optional<NamedRoute>& route,
                        const std::string& who, const std::string& why) override;
  bool Serves(const std::string& model, const std::string& version) override;
  std::string LatestOf(const std::string& model) override;
  absl::Status MayGrow(const std::string& model, const std::string& version) override {
    return routes_->MayGrow(model, version);
  }
  void Watch(const WatchVersions& versions) override { watch_(versions); }
  absl::Status Save(const std::string& text) override;
  void TickAlong();

  const std::string file_;
  RoutesDesk* const routes_;
  const WatchFn watch_;
  std::mutex mutex_;  // guards the controller
  RolloutController controller_{this};
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread ticker_;
};

// Whether a command is for here, and not one of routes.
bool IsRolloutCommand(const std::string& command_json);

// "repository/routes.yaml" to "repository/routes.rollouts.json".
std::string RolloutsPath(const std::string& routes_file);

}  // namespace millrace
