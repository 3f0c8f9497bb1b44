#include "services/registry/rollout/rollout_state.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kForm = 1;
constexpr size_t kMostEnded = 100;
constexpr std::string_view kPhases[] = {"running",      "paused",   "promoting",
                                        "rolling_back", "aborting", "promoted",
                                        "rolled_back",  "aborted",  "overruled"};

absl::Status Bad(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("rollouts.json: ", why));
}

json WriteOne(const Rollout& rollout) {
  json one = {{"plan", WritePlan(rollout.plan)},
              {"phase", PhaseName(rollout.phase)},
              {"step", rollout.step},
              {"reason", rollout.reason},
              {"started_ms", rollout.started_wall_ms},
              {"journal", JournalJson(rollout)}};
  // The bytes of ipc/routes.proto: what is put back is what was there.
  one["before"] = rollout.before.has_value()
                      ? json(absl::Base64Escape(rollout.before->SerializeAsString()))
                      : json();
  return one;
}

absl::StatusOr<Rollout> ReadOne(const json& one) {
  Rollout rollout;
  absl::StatusOr<RolloutPlan> plan = ReadPlan(one.at("plan"));
  if (!plan.ok()) return plan.status();
  rollout.plan = std::move(*plan);
  const std::string phase = one.at("phase");
  const auto* found = std::find(std::begin(kPhases), std::end(kPhases), phase);
  if (found == std::end(kPhases)) return Bad("phase: is not known");
  rollout.phase = static_cast<RolloutPhase>(found - std::begin(kPhases));
  rollout.step = one.at("step");
  if (rollout.step > rollout.plan.judged_steps()) return Bad("step: there is no such step");
  rollout.reason = one.at("reason");
  rollout.started_wall_ms = one.at("started_ms");
  for (const json& event : one.at("journal")) {
    rollout.Note(event.at("ms"), event.at("who"), event.at("what"));
  }
  if (one.at("before").is_null()) return rollout;
  std::string bytes;
  const std::string text = one.at("before");
  rollout.before.emplace();
  if (!absl::Base64Unescape(text, &bytes) || !rollout.before->ParseFromString(bytes)) {
    return Bad("before: is no route");
  }
  return rollout;
}

}  // namespace

std::string_view PhaseName(RolloutPhase phase) { return kPhases[static_cast<size_t>(phase)]; }

void Rollout::Note(int64_t wall_ms, const std::string& who, const std::string& what) {
  if (journal.size() >= kMostJournal) journal.erase(journal.begin());
  journal.push_back({wall_ms, who, what});
}

json JournalJson(const Rollout& rollout) {
  json events = json::array();
  for (const RolloutEvent& event : rollout.journal) {
    events.push_back({{"ms", event.wall_ms}, {"who", event.who}, {"what", event.what}});
  }
  return events;
}

absl::StatusOr<Rollouts> ReadRollouts(const std::string& text) {
  const json all = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!all.is_object() || all.value("rollouts_form", 0) != kForm) return Bad("is of no known form");
  Rollouts rollouts;
  try {
    for (const json& one : all.at("rollouts")) {
      absl::StatusOr<Rollout> rollout = ReadOne(one);
      if (!rollout.ok()) return rollout.status();
      const std::string name = rollout->plan.name;
      if (!rollouts.emplace(name, std::move(*rollout)).second) {
        return Bad("names '" + name + "' twice");
      }
    }
  } catch (const json::exception& fault) {
    return Bad(fault.what());
  }
  return rollouts;
}

std::string WriteRollouts(const Rollouts& rollouts) {
  std::vector<std::pair<int64_t, const Rollout*>> ended;
  json list = json::array();
  for (const auto& [name, rollout] : rollouts) {
    if (HasEnded(rollout.phase)) {
      ended.emplace_back(-rollout.started_wall_ms, &rollout);
    } else {
      list.push_back(WriteOne(rollout));
    }
  }
  std::sort(ended.begin(), ended.end());
  for (size_t i = 0; i < std::min(ended.size(), kMostEnded); ++i) {
    list.push_back(WriteOne(*ended[i].second));
  }
  const json all = {{"rollouts_form", kForm}, {"rollouts", std::move(list)}};
  return all.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace millrace
