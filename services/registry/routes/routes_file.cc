#include "services/registry/routes/routes_file.h"

#include <math.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/config_yaml.h"
#include "services/registry/manifest/field_check.h"
#include "services/registry/routes/routes_fields.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kEnd = "\n...\n";
constexpr double kPartsAPercent = 100;

std::string TextAt(const YAML::Node& map, const char* name) {
  const YAML::Node node = map[name];
  return node ? node.Scalar() : "";
}

Json ElementOf(const YAML::Node& node) {
  if (node.IsNull()) return nullptr;
  if (IsJsonNumber(node)) return Json::parse(node.Scalar(), nullptr, /*allow_exceptions=*/false);
  const bool plain = node.Tag() != "!";
  if (plain && node.Scalar() == "true") return true;
  if (plain && node.Scalar() == "false") return false;
  return node.Scalar();
}

// Takes what FieldCheck found good.
class RuleReader {
 public:
  RuleReader(std::string route, FieldCheck* check) : route_(std::move(route)), check_(*check) {}

  void Read(const YAML::Node& node, const std::string& path, RouteRule* rule) {
    rule->set_label(TextAt(node, "label"));
    for (const YAML::Node& header : node["headers"]) {
      RouteRule::Header* added = rule->add_headers();
      added->set_name(TextAt(header, "name"));
      added->set_value(TextAt(header, "value"));
      const bool secret = added->name() == "authorization" || added->name() == "x-api-key" ||
                          added->name() == "cookie";
      if (secret) check_.Add(header, path + ".headers", "'" + added->name() + "' holds a secret");
    }
    rule->set_path(TextAt(node, "path"));
    for (const char* reserved : {"/v1", "/v2"}) {
      if (rule->path() != reserved && rule->path().rfind(std::string(reserved) + "/", 0) != 0) {
        continue;
      }
      check_.Add(node["path"], path + ".path", absl::StrCat(reserved, " is the protocol's own"));
    }
    for (const YAML::Node& tenant : node["tenants"]) rule->add_tenants(tenant.Scalar());
    ReadTargets(node["to"], path + ".to", rule);
    size_t i = 0;
    for (const YAML::Node& shadow : node["shadows"]) {
      ReadShadow(shadow, absl::StrCat(path, ".shadows[", i++, "]"), rule->add_shadows());
    }
    i = 0;
    for (const YAML::Node& fallback : node["fallbacks"]) {
      ReadFallback(fallback, absl::StrCat(path, ".fallbacks[", i++, "]"), rule->add_fallbacks());
    }
  }

 private:
  std::string ModelAt(const YAML::Node& node) const {
    const std::string model = TextAt(node, "model");
    return model.empty() ? route_ : model;
  }

  std::optional<uint32_t> Parts(const YAML::Node& node, const std::string& path, uint32_t left_out,
                                double least) {
    if (!node) return left_out;
    double percent = 0;
    MR_CHECK(absl::SimpleAtod(node.Scalar(), &percent), "the form was checked");
    const double parts = percent * kPartsAPercent;
    if (percent < least || percent > 100 || fabs(parts - round(parts)) > 1e-6) {
      check_.Add(node, path, "must be per cent, from 0 to 100, to two decimals");
      return std::nullopt;
    }
    return static_cast<uint32_t>(lround(parts));
  }

  void ReadTargets(const YAML::Node& list, const std::string& path, RouteRule* rule) {
    if (!list) return;
    uint32_t sum = 0;
    bool good = true;
    size_t i = 0;
    for (const YAML::Node& node : list) {
      const std::string here = absl::StrCat(path, "[", i++, "]");
      RouteTarget* target = rule->add_targets();
      target->set_model(ModelAt(node));
      target->set_version(TextAt(node, "version"));
      if (!node["weight"] && list.size() > 1) {
        good = check_.Add(node, here + ".weight", "is missing: there is more than one target");
        continue;
      }
      const auto parts = Parts(node["weight"], here + ".weight", kAllParts, 0);
      good &= parts.has_value();
      target->set_weight(parts.value_or(0));
      sum += target->weight();
      for (int k = 0; k + 1 < rule->targets_size(); ++k) {
        if (rule->targets(k).model() != target->model()) continue;
        if (rule->targets(k).version() != target->version()) continue;
        good = check_.Add(node, here, "is there twice");
      }
    }
    if (!good || sum == kAllParts) return;
    check_.Add(
        list, path,
        absl::StrFormat("weights are %g per cent together, and must be 100", sum / kPartsAPercent));
  }

  void ReadShadow(const YAML::Node& node, const std::string& path, ShadowTarget* shadow) {
    shadow->set_model(ModelAt(node));
    shadow->set_version(TextAt(node, "version"));
    shadow->set_parts(Parts(node["share"], path + ".share", kAllParts, 0.01).value_or(0));
    shadow->set_beside_version(TextAt(node, "beside"));
  }

  void ReadFallback(const YAML::Node& node, const std::string& path, Fallback* fallback) {
    if (node["constant"]) {
      if (node["version"] || node["model"]) {
        check_.Add(node, path, "is a version or a constant, not both");
      }
      fallback->set_constant(ReadConstant(node["constant"], path + ".constant"));
    } else if (!node["version"]) {
      check_.Add(node, path, "must have a version or a constant");
    } else {
      fallback->mutable_target()->set_model(ModelAt(node));
      fallback->mutable_target()->set_version(TextAt(node, "version"));
    }
  }

  std::string ReadConstant(const YAML::Node& list, const std::string& path) {
    Json outputs = Json::array();
    size_t i = 0;
    for (const YAML::Node& node : list) {
      const std::string here = absl::StrCat(path, "[", i++, "]");
      Json shape = Json::array(), data = Json::array();
      for (const YAML::Node& dimension : node["shape"]) shape.push_back(ElementOf(dimension));
      for (const YAML::Node& element : node["data"]) data.push_back(ElementOf(element));
      if (shape[0] != 1) check_.Add(node, here + ".shape", "must be [1, columns]: one row");
      if (data.size() != shape[1]) check_.Add(node, here + ".data", "must be as many as columns");
      outputs.push_back({{"name", TextAt(node, "name")},
                         {"datatype", TextAt(node, "datatype")},
                         {"shape", std::move(shape)},
                         {"data", std::move(data)}});
    }
    return Json{{"outputs", std::move(outputs)}}.dump();
  }

  const std::string route_;
  FieldCheck& check_;
};

std::optional<YAML::Node> Open(std::string_view yaml, const ManifestField& table, FieldCheck* check,
                               std::vector<ConfigFault>* faults) {
  if (!IsUtf8(yaml)) {
    faults->push_back({0, "", "the text is not UTF-8"});
    return std::nullopt;
  }
  std::optional<YAML::Node> root = LoadYaml(yaml, faults);
  if (!root.has_value() || !check->Check(table, *root, "")) return std::nullopt;
  return root;
}

bool HasCondition(const RouteRule& rule) {
  return rule.headers_size() > 0 || !rule.path().empty() || rule.tenants_size() > 0;
}

Json Percent(uint32_t parts) {
  if (parts % 100 == 0) return parts / 100;
  return parts / kPartsAPercent;
}

Json TargetJson(const std::string& model, const std::string& version) {
  return {{"model", model}, {"version", std::stoll(version)}};
}

Json RuleJson(const RouteRule& rule) {
  Json json = Json::object();
  if (!rule.label().empty()) json["label"] = rule.label();
  for (const RouteRule::Header& header : rule.headers()) {
    json["headers"].push_back({{"name", header.name()}, {"value", header.value()}});
  }
  if (!rule.path().empty()) json["path"] = rule.path();
  for (const std::string& tenant : rule.tenants()) json["tenants"].push_back(tenant);
  for (const RouteTarget& target : rule.targets()) {
    Json one = TargetJson(target.model(), target.version());
    one["weight"] = Percent(target.weight());
    json["to"].push_back(std::move(one));
  }
  for (const ShadowTarget& shadow : rule.shadows()) {
    Json one = TargetJson(shadow.model(), shadow.version());
    one["share"] = Percent(shadow.parts());
    if (!shadow.beside_version().empty()) one["beside"] = std::stoll(shadow.beside_version());
    json["shadows"].push_back(std::move(one));
  }
  for (const Fallback& fallback : rule.fallbacks()) {
    json["fallbacks"].push_back(
        fallback.has_target()
            ? TargetJson(fallback.target().model(), fallback.target().version())
            : Json{{"constant", Json::parse(fallback.constant(), nullptr, false)["outputs"]}});
  }
  return json;
}

Json RouteAsJson(const NamedRoute& route) {
  Json rules = Json::array();
  for (const RouteRule& rule : route.rules()) rules.push_back(RuleJson(rule));
  return {{"name", route.name()}, {"rules", std::move(rules)}};
}

}  // namespace

RoutesResult ReadRoutes(std::string_view yaml) {
  RoutesResult result;
  FieldCheck check(&result.faults);
  const auto root = Open(yaml, RoutesTable(), &check, &result.faults);
  if (yaml.size() < kEnd.size() || yaml.substr(yaml.size() - kEnd.size()) != kEnd) {
    result.faults.push_back({0, "", "is not whole: its last line must be ..."});
  }
  if (!root.has_value()) return result;
  size_t i = 0;
  for (const YAML::Node& node : (*root)["routes"]) {
    const std::string path = absl::StrCat("routes[", i++, "]");
    NamedRoute* route = result.routes.add_routes();
    route->set_name(TextAt(node, "name"));
    for (int k = 0; k + 1 < result.routes.routes_size(); ++k) {
      if (result.routes.routes(k).name() != route->name()) continue;
      check.Add(node, path + ".name", "'" + route->name() + "' is there twice");
    }
    RuleReader reader(route->name(), &check);
    size_t r = 0;
    for (const YAML::Node& rule : node["rules"]) {
      const std::string here = absl::StrCat(path, ".rules[", r++, "]");
      if (route->rules_size() > 0 && !HasCondition(*route->rules().rbegin())) {
        check.Add(rule, here, "is never reached: the one before it takes every request");
      }
      reader.Read(rule, here, route->add_rules());
    }
  }
  return result;
}

RuleResult ReadRule(std::string_view yaml, const std::string& route_name) {
  RuleResult result;
  FieldCheck check(&result.faults);
  const auto root = Open(yaml, RuleTable(), &check, &result.faults);
  if (root.has_value()) RuleReader(route_name, &check).Read(*root, "rule", &result.rule);
  return result;
}

std::string RouteJson(const NamedRoute& route) { return RouteAsJson(route).dump(); }

// Each rule is JSON, which is YAML.
std::string WriteRoutes(const Routes& routes) {
  std::string text =
      "# Written by `millrace route`. By hand: then `millrace reload`.\nroutes_format: 1\n";
  absl::StrAppend(&text, routes.routes().empty() ? "routes: []\n" : "routes:\n");
  for (const NamedRoute& route : routes.routes()) {
    absl::StrAppend(&text, "  - name: ", Json(route.name()).dump(), "\n    rules:\n");
    for (const RouteRule& rule : route.rules()) {
      absl::StrAppend(&text, "      - ", RuleJson(rule).dump(), "\n");
    }
  }
  absl::StrAppend(&text, "...\n");
  return text;
}

}  // namespace millrace
