#include "services/registry/rollout/plan.h"

#include <math.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

using nlohmann::json;

absl::Status Bad(std::string_view field, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(field), ": ", std::string(why)));
}

struct NumberField {
  const char* name;
  double RolloutLimits::*at;
  double least, most;
};
constexpr NumberField kNumbers[] = {
    {"error_excess", &RolloutLimits::error_excess, 0, 1},
    {"p99_ratio", &RolloutLimits::p99_ratio, 1, 1000},
    {"changed", &RolloutLimits::changed, 0.00001, 1},
    {"cosine_loss", &RolloutLimits::cosine_loss, 0.00001, 1},
    {"rank_loss", &RolloutLimits::rank_loss, 0.00001, 1},
    {"copy_failures", &RolloutLimits::copy_failures, 0.00001, 1},
    {"false_alarms", &RolloutLimits::false_alarms, 1e-9, 0.5},
};

absl::Status ReadLimits(const json& fields, RolloutLimits* limits) {
  if (!fields.is_object()) return Bad("limits", "must be an object");
  for (const auto& [name, value] : fields.items()) {
    const std::string field = "limits." + name;
    const auto* number = std::find_if(std::begin(kNumbers), std::end(kNumbers),
                                      [&](const NumberField& f) { return name == f.name; });
    if (number != std::end(kNumbers)) {
      if (!value.is_number() || !(value >= number->least && value <= number->most)) {
        return Bad(field, absl::StrCat("must be from ", number->least, " to ", number->most));
      }
      limits->*(number->at) = value;
      continue;
    }
    const bool count = name == "min_requests" || name == "min_compared" || name == "p99_slack_us";
    if (!count) return Bad(field, "is not known");
    if (!value.is_number_integer() || value < 0 || value > 1'000'000'000) {
      return Bad(field, "must be a whole number up to 1000000000");
    }
    if (name == "min_requests") limits->min_requests = value;
    if (name == "min_compared") limits->min_compared = value;
    if (name == "p99_slack_us") limits->p99_slack_us = value;
  }
  return absl::OkStatus();
}

absl::Status ReadSteps(const json& fields, std::vector<uint32_t>* steps) {
  constexpr size_t kMostSteps = 50;
  if (!fields.is_array() || fields.empty() || fields.size() > kMostSteps) {
    return Bad("steps", "must be a list of 1 to 50 numbers");
  }
  for (const json& step : fields) {
    if (!step.is_number() || !(step > 0 && step <= 100)) {
      return Bad("steps", "each must be above 0 and up to 100 (percent)");
    }
    const auto parts = static_cast<uint32_t>(llround(step.get<double>() * 100));
    if (parts == 0 || (!steps->empty() && parts <= steps->back())) {
      return Bad("steps", "must grow, by 0.01 or more");
    }
    steps->push_back(parts);
  }
  if (steps->back() != kRolloutParts) return Bad("steps", "must end with 100");
  return absl::OkStatus();
}

absl::Status ReadText(const json& fields, const char* name, std::string* to) {
  const auto found = fields.find(name);
  if (found == fields.end()) return absl::OkStatus();
  if (!found->is_string()) return Bad(name, "must be a string");
  *to = *found;
  return absl::OkStatus();
}

absl::Status ReadMillis(const json& fields, const char* name, int64_t least, int64_t* to) {
  constexpr int64_t kMostMs = int64_t{90} * 24 * 3600 * 1000;
  const auto found = fields.find(name);
  if (found == fields.end()) return absl::OkStatus();
  if (!found->is_number_integer() || *found < least || *found > kMostMs) {
    return Bad(name, absl::StrCat("must be from ", least, " to ", kMostMs));
  }
  *to = *found;
  return absl::OkStatus();
}

absl::Status ReadBool(const json& fields, const char* name, bool* to) {
  const auto found = fields.find(name);
  if (found == fields.end()) return absl::OkStatus();
  if (!found->is_boolean()) return Bad(name, "must be true or false");
  *to = *found;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RolloutPlan> ReadPlan(const json& fields) {
  constexpr std::string_view kKnown[] = {
      "verb",     "action",      "name",         "model",   "from",   "to", "steps",
      "every_ms", "patience_ms", "shadow_first", "compare", "limits", "why"};
  if (!fields.is_object()) return absl::InvalidArgumentError("a plan must be an object");
  for (const auto& [name, value] : fields.items()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) {
      return Bad(name, "is not known");
    }
  }
  RolloutPlan plan;
  absl::Status status;
  for (const auto& [name, to] : {std::pair("name", &plan.name), std::pair("model", &plan.model),
                                 std::pair("from", &plan.from), std::pair("to", &plan.to)}) {
    if (status = ReadText(fields, name, to); !status.ok()) return status;
  }
  const json steps = fields.contains("steps") ? fields["steps"] : json({1, 5, 25, 50, 100});
  if (status = ReadSteps(steps, &plan.steps); !status.ok()) return status;
  if (status = ReadMillis(fields, "every_ms", 100, &plan.every_ms); !status.ok()) return status;
  plan.patience_ms = 3 * plan.every_ms;
  if (status = ReadMillis(fields, "patience_ms", 0, &plan.patience_ms); !status.ok()) return status;
  if (status = ReadBool(fields, "shadow_first", &plan.shadow_first); !status.ok()) return status;
  if (status = ReadBool(fields, "compare", &plan.compare); !status.ok()) return status;
  if (fields.contains("limits")) {
    if (status = ReadLimits(fields["limits"], &plan.limits); !status.ok()) return status;
  }
  if (plan.shadow_first && !plan.compare) {
    return Bad("shadow_first", "needs compare: in the shadow there is nothing else to judge by");
  }
  return plan;
}

json WritePlan(const RolloutPlan& plan) {
  json steps = json::array(), limits;
  for (const uint32_t parts : plan.steps) steps.push_back(parts / 100.0);
  for (const NumberField& field : kNumbers) limits[field.name] = plan.limits.*(field.at);
  limits["min_requests"] = plan.limits.min_requests;
  limits["min_compared"] = plan.limits.min_compared;
  limits["p99_slack_us"] = static_cast<uint64_t>(plan.limits.p99_slack_us);
  return {{"name", plan.name},
          {"model", plan.model},
          {"from", plan.from},
          {"to", plan.to},
          {"steps", std::move(steps)},
          {"every_ms", plan.every_ms},
          {"patience_ms", plan.patience_ms},
          {"shadow_first", plan.shadow_first},
          {"compare", plan.compare},
          {"limits", std::move(limits)}};
}

}  // namespace millrace
