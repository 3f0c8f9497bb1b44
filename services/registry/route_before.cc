#include "services/registry/route_before.h"

#include <string.h>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "ipc/memfd.h"

namespace millrace {
namespace {

constexpr char kStandIn[] = "; served instead: version ";

// A model without what its place in a catalog gave it.
std::string Identity(Model model) {
  model.clear_route();
  model.clear_latest();
  model.clear_config_json();  // has no effect of its own
  model.clear_golden();       // changes no answer
  model.clear_provenance();   // nor does who signed it
  return model.SerializeAsString();
}

bool SamePlan(const Fd& a, const Fd& b) {
  if (!a.valid() || !b.valid()) return a.valid() == b.valid();
  const auto map_a = MapImmutable(a.get(), SIZE_MAX);
  const auto map_b = MapImmutable(b.get(), SIZE_MAX);
  return map_a.ok() && map_b.ok() && map_a->get_size() == map_b->get_size() &&
         memcmp(map_a->get_address(), map_b->get_address(), map_a->get_size()) == 0;
}

}  // namespace

uint32_t RouteBefore(const BuiltCatalog& last, const LoadedModel& loaded) {
  const std::string identity = Identity(loaded.model);
  for (const Model& model : last.catalog.models()) {
    if (model.name() != loaded.model.name() || model.version() != loaded.model.version()) continue;
    const auto plan = last.plans.find(model.route());
    const Fd none;
    const Fd& last_plan = plan == last.plans.end() ? none : plan->second;
    const bool same = Identity(model) == identity && SamePlan(last_plan, loaded.plan);
    return same ? model.route() : 0;
  }
  return 0;
}

void TellStandIn(const std::string& name, int64_t version, const char* what, Catalog* catalog) {
  Log(LogLevel::kWarning, "model_stood_in_for",
      {{"model", name}, {"served", version}, {"what", what}});
  for (FailedModel& failed : *catalog->mutable_failed()) {
    if (failed.name() != name || failed.reason().find(kStandIn) != std::string::npos) continue;
    failed.set_reason(absl::StrCat(failed.reason(), kStandIn, version, ", ", what));
    return;
  }
}

void KeepFailure(const Catalog& last, const std::string& name, int64_t version, Catalog* to) {
  for (const FailedModel& failed : last.failed()) {
    if (failed.name() == name && failed.version() == std::to_string(version)) {
      *to->add_failed() = failed;
    }
  }
}

}  // namespace millrace
