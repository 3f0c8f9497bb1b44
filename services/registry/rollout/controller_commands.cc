// RolloutController: what it is told by hand, and what it tells.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "services/registry/rollout/controller.h"
#include "services/registry/rollout/step_route.h"

namespace millrace {
namespace {

using nlohmann::json;

json CountsJson(const VersionCounts& counts) {
  return {{"requests", counts.requests},
          {"errors", counts.errors},
          {"internal", counts.internal},
          {"answers", counts.answers()}};
}

json EvidenceJson(const StepEvidence& seen) {
  return {{"baseline", CountsJson(seen.baseline)}, {"candidate", CountsJson(seen.candidate)},
          {"compared_copies", seen.compared_now},  {"compared_rows", seen.compared.rows},
          {"changed_rows", seen.compared.changed}, {"lasted_ms", seen.lasted_ms}};
}

// What was done, and why who did it says.
std::string Because(const std::string& what, const std::string& why) {
  return why.empty() ? what : absl::StrCat(what, ": ", why);
}

absl::StatusOr<std::string> WhyOf(const json& command) {
  constexpr size_t kMostBytes = 500;  // as of a route's change
  const json why = command.value("why", json(""));
  if (!why.is_string()) return absl::InvalidArgumentError("why: must be a string");
  std::string text = why;
  if (text.size() <= kMostBytes) return text;
  return absl::InvalidArgumentError(absl::StrCat("why: must be at most ", kMostBytes, " bytes"));
}

std::string Dump(const json& reply) {
  return reply.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

std::string RolloutController::Report(const std::string& only) const {
  json list = json::array();
  for (const auto& [name, rollout] : rollouts_) {
    if (!only.empty() && name != only) continue;
    const RolloutPlan& plan = rollout.plan;
    json one = WritePlan(plan);
    one["phase"] = PhaseName(rollout.phase);
    one["step"] = rollout.step;
    one["of_steps"] = plan.judged_steps() + 1;
    const bool promoted = rollout.phase == RolloutPhase::kPromoted;
    const bool moving =
        rollout.phase == RolloutPhase::kRunning || rollout.phase == RolloutPhase::kPaused;
    one["share"] = promoted ? 100 : moving ? plan.PartsOf(rollout.step) / 100.0 : 0;
    one["reason"] = rollout.reason;
    one["started_ms"] = rollout.started_wall_ms;
    one["journal"] = JournalJson(rollout);
    const auto live = live_.find(name);
    if (live != live_.end()) {
      one["waits_for"] = live->second.waits_for;
      one["seen"] = EvidenceJson(live->second.seen);
    }
    list.push_back(std::move(one));
  }
  return Dump({{"rollouts", std::move(list)}});
}

// From a command to a rollout whose versions are there.
absl::StatusOr<Rollout> RolloutController::Plan(const std::string& command_json) {
  absl::StatusOr<RolloutPlan> read =
      ReadPlan(json::parse(command_json, nullptr, /*allow_exceptions=*/false));
  if (!read.ok()) return read.status();
  Rollout rollout;
  RolloutPlan& plan = rollout.plan;
  plan = std::move(*read);
  if (plan.name.empty()) return absl::InvalidArgumentError("name: which route is it of?");
  if (plan.to.empty()) return absl::InvalidArgumentError("to: which version shall it be?");
  rollout.before = hands_->RouteNow(plan.name);
  const absl::StatusOr<std::optional<RouteTarget>> from = FromOf(rollout.before);
  if (!from.ok()) return from.status();
  if (plan.model.empty()) plan.model = from->has_value() ? (*from)->model() : plan.name;
  if (from->has_value() && (*from)->model() != plan.model) {
    return absl::FailedPreconditionError(
        absl::StrCat("the route '", plan.name, "' goes to model '", (*from)->model(), "'"));
  }
  const std::string now = from->has_value() ? (*from)->version() : hands_->LatestOf(plan.model);
  if (plan.from.empty()) plan.from = now;
  if (from->has_value() && plan.from != now) {
    return absl::FailedPreconditionError(
        absl::StrCat("from: the route '", plan.name, "' goes to version ", now));
  }
  if (plan.from == plan.to) {
    return absl::FailedPreconditionError(
        absl::StrCat("to: version ", plan.to, " has all requests already",
                     from->has_value() ? "" : " (it is the latest: name another with from)"));
  }
  for (const std::string& version : {plan.from, plan.to}) {
    if (!hands_->Serves(plan.model, version)) {
      return absl::NotFoundError(absl::StrCat("version ", version, " of model '", plan.model,
                                              "' is not served: load it first"));
    }
  }
  if (absl::Status may = hands_->MayGrow(plan.model, plan.to); !may.ok()) return may;
  return rollout;
}

absl::StatusOr<std::string> RolloutController::Start(const std::string& command_json,
                                                     const std::string& name,
                                                     const std::string& who,
                                                     const std::string& why) {
  size_t running = 0;
  for (const auto& [other, rollout] : rollouts_) running += HasEnded(rollout.phase) ? 0 : 1;
  const Place known = rollouts_.find(name);
  if (known != rollouts_.end() && !HasEnded(known->second.phase)) {
    return absl::FailedPreconditionError(
        absl::StrCat("a rollout of '", name, "' to version ", known->second.plan.to, " is ",
                     std::string(PhaseName(known->second.phase)), ": abort it first"));
  }
  if (running >= kMostRunning) {
    return absl::ResourceExhaustedError(absl::StrCat(running, " rollouts are running already"));
  }
  absl::StatusOr<Rollout> planned = Plan(command_json);
  if (!planned.ok()) return planned.status();
  if (known != rollouts_.end()) rollouts_.erase(known);
  const Place place = rollouts_.emplace(name, std::move(*planned)).first;
  place->second.started_wall_ms = hands_->WallMs();
  SetPhase(place, RolloutPhase::kRunning, who,
           Because(absl::StrCat("a rollout from version ", place->second.plan.from, " to ",
                                place->second.plan.to),
                   why));
  EnterStep(place);
  WatchAgain();
  return Report(name);
}

absl::StatusOr<std::string> RolloutController::ByHand(const std::string& action,
                                                      const std::string& name,
                                                      const std::string& who,
                                                      const std::string& why) {
  const Place place = rollouts_.find(name);
  if (place == rollouts_.end() || HasEnded(place->second.phase)) {
    return absl::NotFoundError(absl::StrCat("no rollout of '", name, "' is running"));
  }
  const RolloutPhase phase = place->second.phase;
  const bool moving = phase == RolloutPhase::kRunning || phase == RolloutPhase::kPaused;
  if (!moving) {
    return absl::FailedPreconditionError(
        absl::StrCat("the rollout is ", std::string(PhaseName(phase)), " already"));
  }
  if (action == "pause" || action == "resume") {
    const bool pause = action == "pause";
    if (pause == (phase == RolloutPhase::kPaused)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the rollout is ", std::string(PhaseName(phase)), " already"));
    }
    SetPhase(place, pause ? RolloutPhase::kPaused : RolloutPhase::kRunning, who,
             Because(pause ? "paused" : "resumed, with a fresh window", why));
    if (pause) {
      Save();
    } else {
      EnterStep(place);
    }
  } else {
    const bool promote = action == "promote";
    const RolloutPlan& plan = place->second.plan;
    const absl::Status may = promote ? hands_->MayGrow(plan.model, plan.to) : absl::OkStatus();
    if (!may.ok()) return may;
    End(place, promote ? RolloutPhase::kPromoting : RolloutPhase::kAborting,
        promote ? why : Because("by hand", why), who);
  }
  return Report(name);
}

absl::StatusOr<std::string> RolloutController::Command(const std::string& command_json,
                                                       const std::string& who) {
  const json command = json::parse(command_json, nullptr, /*allow_exceptions=*/false);
  if (!command.is_object()) return absl::InvalidArgumentError("a command must be a JSON object");
  const json action = command.value("action", json());
  const json name = command.value("name", json(""));
  if (!action.is_string()) return absl::InvalidArgumentError("action: must be a string");
  if (!name.is_string()) return absl::InvalidArgumentError("name: must be a string");
  const absl::StatusOr<std::string> why = WhyOf(command);
  if (!why.ok()) return why.status();
  if (action == "start") return Start(command_json, name, who, *why);
  if (action == "status") {
    const bool known = name == "" || rollouts_.count(name) > 0 ||
                       hands_->RouteNow(name).has_value() || !hands_->LatestOf(name).empty();
    if (known) return Report(name);
    return absl::NotFoundError(
        absl::StrCat("no route and no model is called '", name.get<std::string>(), "'"));
  }
  for (const char* known : {"pause", "resume", "promote", "abort"}) {
    if (action == known) return ByHand(action, name, who, *why);
  }
  return absl::InvalidArgumentError(
      "action: must be start, status, pause, resume, promote or abort");
}

}  // namespace millrace
