#include "services/registry/rollout/controller.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "common/log.h"
#include "services/registry/rollout/step_route.h"

namespace millrace {
namespace {

constexpr char kSelf[] = "rollout";  // who changes a route when nobody does by hand

std::string Percent(uint32_t parts) { return absl::StrFormat("%.4g %%", parts / 100.0); }

bool IsMoving(RolloutPhase phase) {
  return phase == RolloutPhase::kRunning || phase == RolloutPhase::kPaused;
}

std::vector<uint64_t> WordsOf(const VersionStatistics& statistics, const std::string& model,
                              const std::string& version) {
  for (const VersionStatistics::Version& one : statistics.versions()) {
    if (one.model() == model && one.version() == version) {
      return {one.words().begin(), one.words().end()};
    }
  }
  return {};  // nothing was counted yet
}

}  // namespace

bool RolloutController::Save() {
  const absl::Status saved = hands_->Save(WriteRollouts(rollouts_));
  if (!saved.ok()) {
    Log(LogLevel::kError, "rollouts_not_saved", {{"reason", std::string(saved.message())}});
  }
  return saved.ok();
}

void RolloutController::SetPhase(Place place, RolloutPhase phase, const std::string& who,
                                 const std::string& what) {
  Rollout& rollout = place->second;
  rollout.phase = phase;
  rollout.Note(hands_->WallMs(), who, what);
  Log(phase == RolloutPhase::kRollingBack ? LogLevel::kWarning : LogLevel::kInfo, "rollout",
      {{"route", rollout.plan.name},
       {"model", rollout.plan.model},
       {"to", rollout.plan.to},
       {"phase", std::string(PhaseName(phase))},
       {"who", who},
       {"what", what}});
}

void RolloutController::WatchAgain() {
  WatchVersions watch;
  for (const auto& [name, rollout] : rollouts_) {
    if (!IsMoving(rollout.phase)) continue;
    for (const std::string& version : {rollout.plan.from, rollout.plan.to}) {
      WatchVersions::Version* one = watch.add_versions();
      one->set_model(rollout.plan.model);
      one->set_version(version);
    }
  }
  hands_->Watch(watch);
}

// The step of `rollout.step`, from its beginning: the route is set, the window is empty.
void RolloutController::EnterStep(Place place) {
  Rollout& rollout = place->second;
  const RolloutPlan& plan = rollout.plan;
  const uint32_t parts = plan.PartsOf(rollout.step);
  if (parts == kRolloutParts) {
    End(place, RolloutPhase::kPromoting, "", kSelf);
    return;
  }
  const std::string what =
      parts == 0 ? absl::StrCat("version ", plan.to, " gets copies only")
                 : absl::StrCat(Percent(parts), " of the requests go to version ", plan.to);
  rollout.Note(hands_->WallMs(), kSelf, what);
  if (!Save()) {
    End(place, RolloutPhase::kRollingBack, "the state of the rollout cannot be saved", kSelf);
    return;
  }
  const absl::Status set =
      hands_->SetRoute(plan.name, StepRoute(plan, rollout.before, parts), kSelf, what);
  if (!set.ok()) {
    const std::string why = absl::StrCat("the route cannot be set: ", set.message());
    End(place, RolloutPhase::kRollingBack, why, kSelf);
    return;
  }
  Log(LogLevel::kInfo, "rollout_step",
      {{"route", plan.name}, {"version", plan.to}, {"step", rollout.step}, {"parts", parts}});
  Live& live = live_.try_emplace(plan.name, plan).first->second;
  AddComparisons(live.seen.baseline, &live.compared);
  AddComparisons(live.seen.candidate, &live.compared);
  live.seen = {};
  live.judge.BeginStep();
  live.entered_ns = hands_->NowNs();
  live.begun = false;
  live.waits_for.clear();
  const std::optional<NamedRoute> now = hands_->RouteNow(plan.name);
  live.route = now.has_value() ? now->SerializeAsString() : "";
}

void RolloutController::End(Place place, RolloutPhase way, const std::string& reason,
                            const std::string& who) {
  Rollout& rollout = place->second;
  const bool up = way == RolloutPhase::kPromoting;
  rollout.reason = up ? "" : reason;
  const std::string version = absl::StrCat("version ", rollout.plan.to);
  const std::string what =
      up ? absl::StrCat("all requests go to ", version) : absl::StrCat(version, " is taken back");
  SetPhase(place, way, who, reason.empty() ? what : absl::StrCat(what, ": ", reason));
  if (way == RolloutPhase::kPromoting) Save();
  GoOnEnding(place);
}

void RolloutController::GoOnEnding(Place place) {
  Rollout& rollout = place->second;
  const RolloutPlan& plan = rollout.plan;
  const bool up = rollout.phase == RolloutPhase::kPromoting;
  std::optional<NamedRoute> route = rollout.before;
  if (up) {
    route = StepRoute(plan, rollout.before, kRolloutParts);
  } else if (!route.has_value() && hands_->LatestOf(plan.model) != plan.from) {
    // There was no route, and without one the latest version would be asked: the candidate.
    route = StepRoute(plan, rollout.before, 0);
    for (RouteRule& rule : *route->mutable_rules()) rule.clear_shadows();
  }
  const std::string why = rollout.journal.empty() ? "" : rollout.journal.back().what;
  const absl::Status set = hands_->SetRoute(plan.name, route, kSelf, why);
  if (!set.ok()) {
    Log(LogLevel::kError, "rollout_route_not_set",
        {{"route", plan.name}, {"reason", std::string(set.message())}});
    if (up) {
      End(place, RolloutPhase::kRollingBack,
          absl::StrCat("the route cannot be set: ", set.message()), kSelf);
    } else {
      Save();
    }
    return;  // the way back is tried again
  }
  SetPhase(place,
           up                                            ? RolloutPhase::kPromoted
           : rollout.phase == RolloutPhase::kRollingBack ? RolloutPhase::kRolledBack
                                                         : RolloutPhase::kAborted,
           kSelf, up ? "promoted" : "the route is as it was before");
  Save();
  live_.erase(plan.name);
  WatchAgain();
}

bool RolloutController::Overruled(Place place, const Live& live) {
  const std::optional<NamedRoute> now = hands_->RouteNow(place->first);
  if ((now.has_value() ? now->SerializeAsString() : "") == live.route) return false;
  place->second.reason = "the route was changed by somebody else, and stays so";
  SetPhase(place, RolloutPhase::kOverruled, kSelf, place->second.reason);
  Save();
  live_.erase(place->first);
  WatchAgain();
  return true;
}

void RolloutController::Look(Place place, Live* live) {
  Rollout& rollout = place->second;
  StepEvidence& seen = live->seen;
  seen.shadow = rollout.plan.PartsOf(rollout.step) == 0;
  seen.lasted_ms = (hands_->NowNs() - live->entered_ns) / kNanosPerMilli;
  VersionCounts now;
  AddComparisons(seen.baseline, &now);
  AddComparisons(seen.candidate, &now);
  seen.compared_now = now.compared();
  seen.compared = live->compared;
  AddComparisons(now, &seen.compared);
  const Verdict verdict = live->judge.Look(seen);
  live->waits_for = verdict.reason;
  switch (verdict.kind) {
    case Verdict::Kind::kRollBack:
      End(place, RolloutPhase::kRollingBack, verdict.reason, kSelf);
      break;
    case Verdict::Kind::kPromote:
      if (rollout.phase == RolloutPhase::kPaused) {
        live->waits_for = "it is paused";
        break;
      }
      if (const absl::Status may = hands_->MayGrow(rollout.plan.model, rollout.plan.to);
          !may.ok()) {
        End(place, RolloutPhase::kRollingBack, std::string(may.message()), kSelf);
        break;
      }
      rollout.step += 1;
      EnterStep(place);
      break;
    case Verdict::Kind::kWait:
      break;
  }
}

void RolloutController::OnStatistics(const VersionStatistics& statistics) {
  for (Place place = rollouts_.begin(); place != rollouts_.end(); ++place) {
    const auto found = live_.find(place->first);
    if (found == live_.end() || !IsMoving(place->second.phase)) continue;
    Live& live = found->second;
    // Of before the step: it may have been on its way.
    if (statistics.taken_ns() < live.entered_ns) continue;
    if (Overruled(place, live)) continue;
    const RolloutPlan& plan = place->second.plan;
    if (!hands_->Serves(plan.model, plan.to)) {
      End(place, RolloutPhase::kRollingBack, absl::StrCat("version ", plan.to, " is not served"),
          kSelf);
      continue;
    }
    const VersionCounts from = CountsOf(WordsOf(statistics, plan.model, plan.from));
    const VersionCounts to = CountsOf(WordsOf(statistics, plan.model, plan.to));
    if (!live.begun || !Since(live.from_then, from, &live.seen.baseline) ||
        !Since(live.to_then, to, &live.seen.candidate)) {
      live.seen = {};
      live.judge.BeginStep();
      live.entered_ns = hands_->NowNs();
      live.begun = true;
      live.from_then = from;
      live.to_then = to;
      continue;
    }
    Look(place, &live);
  }
}

void RolloutController::Tick() {
  for (Place place = rollouts_.begin(); place != rollouts_.end(); ++place) {
    Rollout& rollout = place->second;
    if (HasEnded(rollout.phase)) continue;
    if (!IsMoving(rollout.phase)) {
      GoOnEnding(place);
      continue;
    }
    const auto live = live_.find(place->first);
    if (live == live_.end() || live->second.begun) continue;
    // Nothing was ever counted in this step: missing metrics count as failure.
    const int64_t lasted_ms = (hands_->NowNs() - live->second.entered_ns) / kNanosPerMilli;
    if (lasted_ms < rollout.plan.every_ms + rollout.plan.patience_ms) continue;
    End(place, RolloutPhase::kRollingBack,
        absl::StrCat("nothing was counted in ", lasted_ms, " ms"), kSelf);
  }
}

absl::Status RolloutController::Resume(const std::string& saved) {
  absl::StatusOr<Rollouts> rollouts = ReadRollouts(saved);
  if (!rollouts.ok()) return rollouts.status();
  rollouts_ = std::move(*rollouts);
  for (Place place = rollouts_.begin(); place != rollouts_.end(); ++place) {
    if (IsMoving(place->second.phase)) {
      EnterStep(place);
    } else if (!HasEnded(place->second.phase)) {
      GoOnEnding(place);
    }
  }
  WatchAgain();
  return absl::OkStatus();
}

}  // namespace millrace
