// Rollouts as they are kept: what a registry that was started again goes on with.
//
// Purpose: the form of rollouts.json. Who may call: any thread.
// Invariants: 1. ReadRollouts(WriteRollouts(r)) is r. 2. A file that cannot be read whole is
// refused
//   whole. 3. Journals are bounded by kMostJournal, and of rollouts that ended kMostEnded are kept.
// What fails: ReadRollouts, with a sentence.
#pragma once

#include <stdint.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/routes.pb.h"
#include "nlohmann/json_fwd.hpp"
#include "services/registry/rollout/plan.h"

namespace millrace {

enum class RolloutPhase : uint8_t {
  kRunning,
  kPaused,       // goes no step further by itself; still taken back
  kPromoting,    // the route is to be all the candidate's
  kRollingBack,  // the route is to be as before
  kAborting,     // likewise, by hand
  kPromoted,
  kRolledBack,
  kAborted,
  kOverruled,  // somebody else changed the route: it stays as that left it
};
std::string_view PhaseName(RolloutPhase phase);
inline bool HasEnded(RolloutPhase phase) { return phase >= RolloutPhase::kPromoted; }

struct RolloutEvent {
  int64_t wall_ms = 0;
  std::string who;
  std::string what;
};

struct Rollout {
  static constexpr size_t kMostJournal = 200;

  RolloutPlan plan;
  std::optional<NamedRoute> before;  // nothing: there was no route
  RolloutPhase phase = RolloutPhase::kRunning;
  size_t step = 0;     // of plan.PartsOf
  std::string reason;  // why it was taken back
  int64_t started_wall_ms = 0;
  std::vector<RolloutEvent> journal;

  void Note(int64_t wall_ms, const std::string& who, const std::string& what);
};

// By the route's name: one each, running or the last that ended.
using Rollouts = std::map<std::string, Rollout>;

absl::StatusOr<Rollouts> ReadRollouts(const std::string& text);
std::string WriteRollouts(const Rollouts& rollouts);

nlohmann::json JournalJson(const Rollout& rollout);

}  // namespace millrace
