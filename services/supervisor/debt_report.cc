#include "services/supervisor/debt_report.h"

namespace millrace {
namespace {

using nlohmann::json;

// Whether the limit is as it may be.
bool TakeLimit(const json& request, const char* name, int64_t most, int64_t* limit) {
  const auto given = request.find(name);
  if (given == request.end()) return true;
  if (!given->is_number_integer() || *given < 0 || *given > most) return false;
  *limit = *given;
  return true;
}

}  // namespace

DebtLimits DebtLimitsOf(const Config& config) {
  return {config.max_age_days, config.max_untagged_percent};
}

json AnswerDebt(const Fleet& fleet, DebtLimits limits, const json& request, int64_t wall_s) {
  if (!TakeLimit(request, "max_age_days", 36'500, &limits.max_age_days)) {
    return {{"ok", false}, {"error", "max_age_days: must be an integer from 0 to 36500"}};
  }
  if (!TakeLimit(request, "max_untagged_percent", 100, &limits.max_untagged_percent)) {
    return {{"ok", false}, {"error", "max_untagged_percent: must be an integer from 0 to 100"}};
  }
  const Catalog& catalog = fleet.catalog().catalog();
  json debt = json::array();
  for (const DebtItem& item : DebtOf(catalog, limits, fleet.behind(), wall_s)) {
    debt.push_back({{"model", item.model},
                    {"version", item.version},
                    {"kind", DebtKindName(item.kind)},
                    {"owner", item.owner},
                    {"sentence", item.sentence},
                    {"since_s", item.since_s == 0 ? json() : json(item.since_s)}});
  }
  json versions = json::array();
  for (const Model& model : catalog.models()) {
    const int64_t days = WeightsAgeDays(catalog, model, wall_s);
    versions.push_back({{"model", model.name()},
                        {"version", model.version()},
                        {"weights_age_days", days < 0 ? json() : json(days)},
                        {"read_only", IsReadOnly(catalog, model, limits, wall_s)}});
  }
  return {{"ok", true},
          {"limits",
           {{"max_age_days", limits.max_age_days},
            {"max_untagged_percent", limits.max_untagged_percent}}},
          {"versions", std::move(versions)},
          {"debt", std::move(debt)}};
}

}  // namespace millrace
