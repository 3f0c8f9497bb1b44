#include "common/fault_rule.h"

#include <signal.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/config_yaml.h"

namespace millrace {
namespace {

constexpr double kLongestDelayMs = 60'000;
constexpr int64_t kMostActive = 1 << 20;

constexpr std::pair<std::string_view, FaultKind> kKinds[] = {
    {"delay", FaultKind::kDelay},
    {"loss", FaultKind::kLoss},
    {"error", FaultKind::kError},
    {"crash", FaultKind::kCrash},
    {"hang", FaultKind::kHang},
    {"no_memory", FaultKind::kNoMemory},
    {"wrong_output", FaultKind::kWrongOutput},
    {"device_lost", FaultKind::kDeviceLost},
};
constexpr std::string_view kStages[] = {"ingress", "features", "execution", "aggregation"};
constexpr std::pair<std::string_view, int> kSignals[] = {
    {"SEGV", SIGSEGV}, {"ABRT", SIGABRT}, {"BUS", SIGBUS},
    {"ILL", SIGILL},   {"FPE", SIGFPE},   {"KILL", SIGKILL},
};

// The names of a table, for a sentence.
template <typename Table>
std::string NamesOf(const Table& table) {
  std::string names;
  for (const auto& row : table) {
    std::string_view name;
    if constexpr (requires { row.first; }) {
      name = row.first;
    } else {
      name = row;
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(name));
  }
  return "must be one of " + names;
}

template <typename Table, typename Value>
std::string Choose(const Table& table, const std::string& text, Value* value) {
  for (const auto& [name, meant] : table) {
    if (name != text) continue;
    *value = meant;
    return "";
  }
  return NamesOf(table);
}

std::string ReadNumber(const std::string& text, double least, double most, double* value) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !std::isfinite(number) || number < least ||
      number > most) {
    return absl::StrCat("must be a number from ", least, " to ", most);
  }
  *value = number;
  return "";
}

std::string ReadSwitch(const std::string& text, bool* value) {
  if (text != "true" && text != "false") return "must be false or true";
  *value = text == "true";
  return "";
}

// What is wrong with that value of that key; empty: nothing is.
std::string Set(const std::string& key, const std::string& text, FaultRule* rule) {
  double number = 0;
  std::string fault;
  if (key == "stage") {
    if (std::find(std::begin(kStages), std::end(kStages), text) == std::end(kStages)) {
      return NamesOf(kStages);
    }
    rule->stage = text;
  } else if (key == "kind") {
    return Choose(kKinds, text, &rule->kind);
  } else if (key == "model") {
    rule->model = text;
  } else if (key == "version") {
    rule->version = text;
  } else if (key == "header") {
    if (text.empty() || text.size() > 64) return "must be a name of 1 to 64 characters";
    rule->header = text;
  } else if (key == "fraction") {
    return ReadNumber(text, 0, 1, &rule->fraction);
  } else if (key == "delay_ms") {
    fault = ReadNumber(text, 0, kLongestDelayMs, &number);
    rule->delay_ns = static_cast<int64_t>(number * kNanosPerMilli);
  } else if (key == "per") {
    if (text != "row" && text != "request") return "must be row or request";
    rule->per_row = text == "row";
  } else if (key == "busy") {
    return ReadSwitch(text, &rule->busy);
  } else if (key == "once") {
    return ReadSwitch(text, &rule->once);
  } else if (key == "signal") {
    return Choose(kSignals, text, &rule->signal);
  } else if (key == "max_active") {
    fault = ReadNumber(text, 0, kMostActive, &number);
    rule->max_active = static_cast<int64_t>(number);
  } else {
    return "is not a key of a rule; a rule has stage, kind, model, version, fraction, header, "
           "delay_ms, per, busy, once, signal, max_active";
  }
  return fault;
}

// What one key alone cannot tell.
std::string RuleFault(const FaultRule& rule, const std::vector<std::string>& keys) {
  const auto has = [&](const char* key) {
    return std::find(keys.begin(), keys.end(), key) != keys.end();
  };
  const bool ingress = rule.stage == "ingress";
  if (!has("stage")) return "stage: is missing";
  if (!has("kind")) return "kind: is missing";
  const bool delays = rule.kind == FaultKind::kDelay;
  if (delays != has("delay_ms")) return "delay_ms: belongs to kind delay, and only to that";
  if (!delays && (has("per") || has("busy"))) return "per and busy belong to kind delay";
  if (delays && ingress && (rule.busy || rule.per_row)) {
    return "busy and per: row are of the stages behind ingress";
  }
  if (rule.kind != FaultKind::kCrash && has("signal")) return "signal: belongs to kind crash";
  if (rule.kind == FaultKind::kWrongOutput && ingress) {
    return "kind: wrong_output is of the stages behind ingress";
  }
  if (rule.kind == FaultKind::kDeviceLost && rule.stage != "execution") {
    return "kind: device_lost is of execution only";
  }
  if (!rule.version.empty() && (rule.model.empty() || ingress)) {
    return "version: belongs to model, at a stage behind ingress";
  }
  const bool holds = ingress && (delays || rule.kind == FaultKind::kLoss);
  if (has("max_active") && !holds) return "max_active: belongs to delay and loss of ingress";
  return "";
}

void ReadRule(const YAML::Node& node, const std::string& name, std::vector<FaultRule>* rules,
              std::vector<ConfigFault>* faults) {
  FaultRule rule;
  rule.signal = SIGSEGV;
  std::vector<std::string> keys;
  const size_t before = faults->size();
  YamlMap(node, name, faults,
          [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
            keys.push_back(key);
            std::string fault =
                value.IsScalar() ? Set(key, value.Scalar(), &rule) : "must be a single value";
            if (!fault.empty()) AddFault(at, name + "." + key, std::move(fault), faults);
          });
  if (faults->size() != before) return;
  if (std::string fault = RuleFault(rule, keys); !fault.empty()) {
    return AddFault(node, name, std::move(fault), faults);
  }
  rules->push_back(std::move(rule));
}

}  // namespace

std::vector<FaultRule> ReadFaultRules(std::string_view yaml, std::vector<ConfigFault>* faults) {
  std::vector<FaultRule> rules;
  const std::optional<YAML::Node> root = LoadYaml(yaml, faults);
  if (!root.has_value() || root->IsNull()) return rules;
  ReadFaultRules(*root, &rules, faults);
  return rules;
}

void ReadFaultRules(const YAML::Node& list, std::vector<FaultRule>* rules,
                    std::vector<ConfigFault>* faults) {
  const std::string name = "faults.rules";
  if (!list.IsSequence()) return AddFault(list, name, "must be a list of rules", faults);
  if (list.size() > kMaxFaultRules) {
    return AddFault(list, name, absl::StrCat("has more than ", kMaxFaultRules, " rules"), faults);
  }
  for (size_t i = 0; i < list.size(); ++i) {
    ReadRule(list[i], absl::StrCat(name, "[", i, "]"), rules, faults);
  }
}

std::vector<FaultRule> FaultRulesOf(const Config& config) {
  if (config.fault_rules.empty()) return {};
  std::vector<ConfigFault> faults;
  std::vector<FaultRule> rules = ReadFaultRules(config.fault_rules, &faults);
  MR_CHECK(faults.empty(), "the plan of faults was checked with the configuration");
  return rules;
}

std::string_view FaultPlanFault(const Config& config, bool enabled) {
  if (enabled || config.fault_rules.empty()) return "";
  return "faults.rules: a plan of faults needs the server to be started with --enable-faults";
}

}  // namespace millrace
