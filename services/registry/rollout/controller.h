// Rollouts: who moves, when, how far, and back.
//
// Purpose: `millrace rollout`: takes a version up step by step, has each step judged (judge.h), and
//   changes the route. It does no I/O of its own (RolloutHands) and reads no clock.
// Who may call: one thread at a time.
// Ownership: the state of all rollouts; `hands` outlives it.
// Invariants:
//   1. At most one rollout of a route runs. A route is changed by its rollout only in the rule that
//      takes every request (step_route.h); when it is taken back it is what it was, to the byte.
//   2. A way up is saved before it is gone, so that a registry that was started again goes it
//   again:
//      a step is set anew, with a fresh window. A way back waits for no disk: the route is set
//      first; what cannot be set is saved, and gone to its end.
//   3. A route that somebody else changed meanwhile is left as it is, and the rollout ends.
//   4. No step is taken by counts from before it, or by sums that went back: the window begins
//   anew.
//   5. Whatever cannot be set, saved or counted takes the candidate back, never up.
//   6. No step up to a version that may not grow; a way back is never refused.
// What fails: Command, with a status and a sentence. A way back that cannot be gone is tried again
// at
//   each Tick, and logged.
#pragma once

#include <stdint.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/control.pb.h"
#include "ipc/routes.pb.h"
#include "services/registry/rollout/judge.h"
#include "services/registry/rollout/rollout_state.h"

namespace millrace {

class RolloutHands {
 public:
  virtual ~RolloutHands() = default;
  virtual int64_t NowNs() = 0;   // CLOCK_MONOTONIC
  virtual int64_t WallMs() = 0;  // since the epoch
  virtual std::optional<NamedRoute> RouteNow(const std::string& name) = 0;
  // Nothing: without the route.
  virtual absl::Status SetRoute(const std::string& name, const std::optional<NamedRoute>& route,
                                const std::string& who, const std::string& why) = 0;
  // In the catalog; the latest of a model, or empty.
  virtual bool Serves(const std::string& model, const std::string& version) = 0;
  virtual std::string LatestOf(const std::string& model) = 0;
  // Whether it may get more requests than it has; else why not.
  virtual absl::Status MayGrow(const std::string& model, const std::string& version) = 0;
  // Statistics of these are wanted, of no others.
  virtual void Watch(const WatchVersions& versions) = 0;
  virtual absl::Status Save(const std::string& text) = 0;
};

class RolloutController {
 public:
  static constexpr size_t kMostRunning = 12;  // what a message of statistics has room for

  explicit RolloutController(RolloutHands* hands) : hands_(hands) {}

  // Goes on with what was saved; the catalog and the routes are there.
  absl::Status Resume(const std::string& saved);
  // The supervisor may have forgotten what is wanted of it.
  void WatchAgain();

  // {"action": "start" | "status" | "pause" | "resume" | "promote" | "abort", "name": ...}; the
  // reply as JSON.
  absl::StatusOr<std::string> Command(const std::string& command_json, const std::string& who);
  void OnStatistics(const VersionStatistics& statistics);
  // About once a second.
  void Tick();

  const Rollouts& rollouts() const { return rollouts_; }

 private:
  // Of one that has not ended: what is not kept.
  struct Live {
    explicit Live(const RolloutPlan& plan) : judge(plan) {}
    Judge judge;
    int64_t entered_ns = 0;  // the step
    bool begun = false;      // there is a first count
    VersionCounts from_then, to_then;
    StepEvidence seen;       // of this step, as last looked at
    VersionCounts compared;  // in the steps before
    std::string waits_for;
    std::string route;  // as we set it, as bytes
  };
  using Place = Rollouts::iterator;

  absl::StatusOr<Rollout> Plan(const std::string& command_json);
  absl::StatusOr<std::string> Start(const std::string& command_json, const std::string& name,
                                    const std::string& who, const std::string& why);
  absl::StatusOr<std::string> ByHand(const std::string& action, const std::string& name,
                                     const std::string& who, const std::string& why);
  std::string Report(const std::string& name) const;
  void EnterStep(Place place);
  void End(Place place, RolloutPhase way, const std::string& reason, const std::string& who);
  void GoOnEnding(Place place);
  void Look(Place place, Live* live);
  bool Overruled(Place place, const Live& live);
  void SetPhase(Place place, RolloutPhase phase, const std::string& who, const std::string& what);
  bool Save();

  RolloutHands* const hands_;
  Rollouts rollouts_;
  std::map<std::string, Live> live_;
};

}  // namespace millrace
