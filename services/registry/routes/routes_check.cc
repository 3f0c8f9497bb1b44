#include "services/registry/routes/routes_check.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/datatype.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

std::string Quoted(const std::string& model, const std::string& version) {
  return absl::StrCat("version ", version, " of '", model, "'");
}

bool SameTensor(const TensorSpec& a, const TensorSpec& b) {
  return a.name() == b.name() && a.datatype() == b.datatype() &&
         std::equal(a.dims().begin(), a.dims().end(), b.dims().begin(), b.dims().end());
}

// Whether a client of `from` can be answered by `to` and not notice by the form.
std::string Misfit(const Model& from, const Model& to) {
  for (const TensorSpec& input : to.inputs()) {
    const bool same =
        std::any_of(from.inputs().begin(), from.inputs().end(),
                    [&](const TensorSpec& other) { return SameTensor(input, other); });
    if (!same) return absl::StrCat("takes another input '", input.name(), "'");
  }
  if (from.inputs_size() != to.inputs_size()) return "takes fewer inputs";
  for (const OutputSpec& output : from.outputs()) {
    const bool same =
        std::any_of(to.outputs().begin(), to.outputs().end(), [&](const OutputSpec& other) {
          return other.tensor().name() == output.tensor().name() &&
                 other.tensor().datatype() == output.tensor().datatype();
        });
    if (!same) return absl::StrCat("makes no output '", output.tensor().name(), "' of that type");
  }
  return "";
}

class RuleCheck {
 public:
  RuleCheck(const NamedRoute& route, int rule, const Catalog& catalog, RouteFaults* faults)
      : route_(route),
        rule_(route.rules(rule)),
        catalog_(catalog),
        where_(absl::StrCat("route '", route.name(), "', rules[", rule, "]: ")),
        faults_(*faults) {}

  void Check() {
    const Model* const latest = FindLatest(catalog_, route_.name());
    if (rule_.targets().empty() && latest == nullptr) {
      Missing(absl::StrCat("has no targets, and no model '", route_.name(), "' is loaded"));
    }
    for (const RouteTarget& target : rule_.targets()) {
      Known(target.model(), target.version());
      if (latest != nullptr && target.model() != route_.name()) {
        Wrong(absl::StrCat("'", route_.name(), "' is a model, and goes to one of another: ",
                           "an alias needs a name that no model has"));
      }
    }
    first_ = rule_.targets().empty()
                 ? latest
                 : FindVersion(catalog_, rule_.targets(0).model(), rule_.targets(0).version());
    for (const RouteTarget& target : rule_.targets()) Fits(target.model(), target.version());
    for (const ShadowTarget& shadow : rule_.shadows()) CheckShadow(shadow);
    CheckFallbacks();
  }

 private:
  void Wrong(const std::string& what) { faults_.wrong.push_back(where_ + what); }
  void Missing(const std::string& what) { faults_.missing.push_back(where_ + what); }

  bool Known(const std::string& model, const std::string& version) {
    if (FindVersion(catalog_, model, version) != nullptr) return true;
    const bool is_model = FindLatest(catalog_, model) != nullptr;
    Missing(is_model ? absl::StrCat(Quoted(model, version),
                                    " is not loaded (config.pbtxt's version_policy says which are)")
                     : absl::StrCat("no model '", model, "' is loaded"));
    return false;
  }

  void Fits(const std::string& model, const std::string& version) {
    const Model* const to = FindVersion(catalog_, model, version);
    if (first_ == nullptr || to == nullptr || to == first_) return;
    const std::string misfit = Misfit(*first_, *to);
    if (misfit.empty()) return;
    Wrong(absl::StrCat(Quoted(model, version), " does not fit ",
                       Quoted(first_->name(), first_->version()), ": it ", misfit));
  }

  bool IsTarget(const std::string& model, const std::string& version) const {
    return std::any_of(rule_.targets().begin(), rule_.targets().end(), [&](const RouteTarget& t) {
      return t.model() == model && t.version() == version;
    });
  }

  void CheckShadow(const ShadowTarget& shadow) {
    if (Known(shadow.model(), shadow.version())) Fits(shadow.model(), shadow.version());
    if (rule_.targets_size() == 1 && IsTarget(shadow.model(), shadow.version())) {
      Wrong(absl::StrCat(Quoted(shadow.model(), shadow.version()), " is in its own shadow"));
    }
    const bool beside =
        shadow.beside_version().empty() ||
        std::any_of(rule_.targets().begin(), rule_.targets().end(), [&](const RouteTarget& target) {
          return target.version() == shadow.beside_version();
        });
    if (!beside) Wrong(absl::StrCat("beside ", shadow.beside_version(), ", which is no target"));
  }

  void CheckFallbacks() {
    std::set<std::pair<std::string, std::string>> seen;
    for (int i = 0; i < rule_.fallbacks_size(); ++i) {
      const Fallback& fallback = rule_.fallbacks(i);
      if (fallback.has_constant()) {
        if (i + 1 < rule_.fallbacks_size()) Wrong("behind a constant nothing is ever asked");
        CheckConstant(fallback.constant());
        continue;
      }
      const RouteTarget& target = fallback.target();
      if (Known(target.model(), target.version())) Fits(target.model(), target.version());
      const bool again = !seen.emplace(target.model(), target.version()).second ||
                         (rule_.targets_size() == 1 && IsTarget(target.model(), target.version()));
      if (again) {
        Wrong(absl::StrCat("falls back to ", Quoted(target.model(), target.version()),
                           ", which could not answer already"));
      }
    }
  }

  void CheckConstant(const std::string& text) {
    const Json constant = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (first_ == nullptr || !constant.is_object()) return;
    for (const OutputSpec& output : first_->outputs()) {
      const TensorSpec& spec = output.tensor();
      const Json* found = nullptr;
      for (const Json& each : constant["outputs"]) {
        if (each["name"] == spec.name()) found = &each;
      }
      size_t columns = 1;
      for (const int64_t dim : spec.dims()) columns *= static_cast<size_t>(dim);
      const std::string type(DataTypeName(static_cast<DataType>(spec.datatype())));
      if (found == nullptr) {
        Wrong(absl::StrCat("the constant lacks output '", spec.name(), "'"));
      } else if ((*found)["datatype"] != type || (*found)["data"].size() != columns) {
        Wrong(absl::StrCat("the constant's output '", spec.name(), "' must be ", type, " [1, ",
                           columns, "]"));
      }
    }
  }

  const NamedRoute& route_;
  const RouteRule& rule_;
  const Catalog& catalog_;
  const std::string where_;
  RouteFaults& faults_;
  const Model* first_ = nullptr;  // that clients see by the form
};

}  // namespace

const Model* FindVersion(const Catalog& catalog, const std::string& model,
                         const std::string& version) {
  for (const Model& each : catalog.models()) {
    if (each.name() == model && each.version() == version) return &each;
  }
  return nullptr;
}

const Model* FindLatest(const Catalog& catalog, const std::string& model) {
  for (const Model& each : catalog.models()) {
    if (each.name() == model && each.latest()) return &each;
  }
  return nullptr;
}

void CheckRoute(const NamedRoute& route, const Catalog& catalog, RouteFaults* faults) {
  for (int i = 0; i < route.rules_size(); ++i) RuleCheck(route, i, catalog, faults).Check();
}

RouteFaults CheckRoutes(const Routes& routes, const Catalog& catalog) {
  RouteFaults faults;
  for (const NamedRoute& route : routes.routes()) CheckRoute(route, catalog, &faults);
  return faults;
}

}  // namespace millrace
