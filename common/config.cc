#include "common/config.h"

#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/config_schema.h"
#include "common/config_yaml.h"
#include "common/fault_rule.h"
#include "common/time_edges.h"

namespace millrace {
namespace {

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

const ConfigField* FindField(std::string_view section, std::string_view name) {
  for (const ConfigField& field : ConfigSchema()) {
    if (field.section == section && field.name == name) return &field;
  }
  return nullptr;
}

std::string Names(std::string_view section) {
  std::string names;
  for (const ConfigField& field : ConfigSchema()) {
    if (field.section == section) {
      absl::StrAppend(&names, names.empty() ? "" : ", ", Abseil(field.name));
    }
  }
  return names;
}

// What may stand at the top of the file.
std::string Sections() {
  std::string names = Names("");
  std::string_view last;
  for (const ConfigField& field : ConfigSchema()) {
    if (field.section != last) absl::StrAppend(&names, ", ", Abseil(field.section));
    last = field.section;
  }
  return names;
}

class Parser {
 public:
  explicit Parser(ConfigResult* result) : result_(*result) {}

  void Parse(std::string_view yaml) {
    const std::optional<YAML::Node> root = LoadYaml(yaml, &result_.faults);
    if (!root.has_value() || root->IsNull()) return;
    YamlMap(*root, "", &result_.faults,
            [this](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
              Top(key, at, value);
            });
    CheckBetweenFields();
  }

 private:
  void Top(const std::string& key, const YAML::Node& at, const YAML::Node& value) {
    if (const ConfigField* field = FindField("", key)) return Set(*field, at, value);
    if (key.empty() || ConfigSectionSentence(key).empty()) {
      return AddFault(at, key,
                      absl::StrCat("is neither a field nor a section; the file has ", Sections()),
                      &result_.faults);
    }
    if (value.IsNull()) return;  // a section whose fields are all commented out
    YamlMap(value, key, &result_.faults,
            [this, &key](const std::string& name, const YAML::Node& name_at,
                         const YAML::Node& field_value) {
              const ConfigField* field = FindField(key, name);
              if (field != nullptr) return Set(*field, name_at, field_value);
              AddFault(name_at, key + "." + name,
                       absl::StrCat("is not a field; ", key, " has ", Names(key)), &result_.faults);
            });
  }

  void Set(const ConfigField& field, const YAML::Node& at, const YAML::Node& value) {
    const std::string name = field.FullName();
    lines_[name] = YamlLine(at);
    if (field.rule == TextRule::kFaultRules && !value.IsNull()) return SetRules(field, value);
    if (!value.IsScalar()) {
      AddFault(at, name, value.IsNull() ? "has no value" : "must be a single value",
               &result_.faults);
      return;
    }
    const std::string fault =
        field.IsInteger() ? SetInteger(field, value.Scalar()) : SetText(field, value.Scalar());
    if (!fault.empty()) AddFault(at, name, fault, &result_.faults);
  }

  std::string SetInteger(const ConfigField& field, const std::string& text) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(text, &number)) return "must be an integer";
    if (number < field.min || number > field.max) {
      return absl::StrCat("must be from ", field.min, " to ", field.max, ", and is ", number);
    }
    result_.config.*std::get<int64_t Config::*>(field.member) = number;
    return "";
  }

  std::string SetText(const ConfigField& field, const std::string& text) {
    std::string fault = TextFault(field, text);
    if (!fault.empty()) return fault;
    result_.config.*std::get<std::string Config::*>(field.member) = text;
    return "";
  }

  // A list stands in the file; its text in the configuration that processes are given.
  void SetRules(const ConfigField& field, const YAML::Node& value) {
    const size_t before = result_.faults.size();
    std::string text;
    std::vector<FaultRule> rules;
    if (value.IsScalar()) {
      text = value.Scalar();
      rules = ReadFaultRules(text, &result_.faults);
    } else {
      ReadFaultRules(value, &rules, &result_.faults);
      text = YAML::Dump(value);
    }
    if (result_.faults.size() != before) return;
    result_.config.*std::get<std::string Config::*>(field.member) = rules.empty() ? "" : text;
  }

  // What one field alone cannot tell. A value that was itself at fault stands at its default here,
  // so each fault is said once.
  void CheckBetweenFields() {
    const Config& config = result_.config;
    if (config.default_deadline_ms > config.max_deadline_ms) {
      Between("ingress.default_deadline_ms", "ingress.max_deadline_ms",
              "must be at most ingress.max_deadline_ms");
    }
    if (config.default_deadline_ms <= config.hang_ms) {
      Between("ingress.default_deadline_ms", "supervisor.hang_ms",
              "must be more than supervisor.hang_ms");
    }
    if (const std::string_view fault = ClientShmFault(config); !fault.empty()) {
      Between("ingress.allow_client_shm", "ingress.workers", std::string(fault));
    }
    CheckKeys();
    CheckManifests();
    CheckIngressProcesses();
    CheckScaling("features", config.features_workers, config.features_min_workers,
                 config.features_max_workers);
    CheckScaling("execution", config.execution_workers, config.execution_min_workers,
                 config.execution_max_workers);
    CheckScaling("aggregation", config.aggregation_workers, config.aggregation_min_workers,
                 config.aggregation_max_workers);
    CheckObserver();
    if (config.over_budget == "evict_idle" && config.execution_budget_mb == 0) {
      Between("execution.over_budget", "execution.memory_budget_mb",
              "evict_idle is of use only with execution.memory_budget_mb above 0");
    }
    if (config.tls_certificate.empty() != config.tls_key.empty()) {
      Between("ingress.tls_certificate", "ingress.tls_key",
              "is of use only together with ingress.tls_key");
    } else if (!config.tls_client_ca.empty() && config.tls_key.empty()) {
      Between("ingress.tls_client_ca", "ingress.tls_client_ca",
              "is of use only together with ingress.tls_certificate and ingress.tls_key");
    }
    const bool any_port = config.grpc_listen.size() > 2 &&
                          config.grpc_listen.compare(config.grpc_listen.size() - 2, 2, ":0") == 0;
    if (config.grpc_listen == config.http_listen && !config.grpc_listen.empty() && !any_port) {
      Between("ingress.grpc_listen", "ingress.http_listen",
              "must not be the address of ingress.http_listen");
    }
  }

  void CheckScaling(const std::string& stage, int64_t workers, int64_t min, int64_t max) {
    if (max == 0) return;
    if (min > max) {
      Between(stage + ".min_workers", stage + ".max_workers",
              absl::StrCat("must be at most ", stage, ".max_workers"));
    } else if (workers < min || workers > max) {
      Between(stage + ".workers", stage + ".max_workers",
              absl::StrCat("must lie within ", stage, ".min_workers and ", stage, ".max_workers"));
    }
  }

  void CheckIngressProcesses() {
    const Config& config = result_.config;
    if (config.ingress_workers > config.ingress_max_workers) {
      Between("ingress.workers", "ingress.max_workers", "must be at most ingress.max_workers");
    }
    // An arena's offsets have 32 bits.
    constexpr int64_t kMostBytes = 128 << 20;
    if (config.ingress_max_workers * config.max_request_bytes > kMostBytes) {
      Between("ingress.max_workers", "ingress.max_request_bytes",
              "times ingress.max_request_bytes must be at most 134217728 (128 MiB)");
    }
  }

  void CheckManifests() {
    const Config& config = result_.config;
    if (config.allow_unsigned == "false" && config.trusted_keys.empty()) {
      Between("registry.allow_unsigned", "registry.trusted_keys",
              "may be false only where registry.trusted_keys names a key");
    }
    if (config.manifest != "off") return;
    if (config.allow_unsigned == "false") {
      Between("registry.manifest", "registry.allow_unsigned",
              "may not be off where registry.allow_unsigned is false");
    }
    if (config.strict_manifest == "true") {
      Between("registry.manifest", "registry.strict",
              "may not be off where registry.strict is true");
    }
  }

  void CheckObserver() {
    const Config& config = result_.config;
    if (!IsTimeEdge(static_cast<uint64_t>(config.slo_ms) * 1'000'000)) {
      Between("observer.slo_ms", "observer.slo_ms",
              "must be 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6 or 8 times a power of ten");
    }
    if (!IsLocalListen(config.metrics_listen)) {
      Between("observer.metrics", "observer.metrics",
              "must be an address of this machine only, or a Unix socket");
    }
  }

  void CheckKeys() {
    const Config& config = result_.config;
    for (const auto& [field, listen] : {std::pair("ingress.grpc_listen", &config.grpc_listen),
                                        std::pair("ingress.http_listen", &config.http_listen)}) {
      const std::string_view fault = OpenListenFault(config, *listen);
      if (!fault.empty()) Between(field, field, std::string(fault));
    }
    if (!config.keys_file.empty() && config.allow_anonymous == "true") {
      Between("ingress.allow_anonymous", "ingress.keys_file",
              "must be false where ingress.keys_file is set");
    }
  }

  // The fault stands at `field`, or, where the file does not name it, at the line of `other`.
  void Between(const std::string& field, const std::string& other, std::string message) {
    const bool named = lines_.count(field) > 0;
    result_.faults.push_back({lines_[named ? field : other], field, std::move(message)});
  }

  ConfigResult& result_;
  std::map<std::string, int> lines_;
};

std::string Bounds(const ConfigField& field) {
  if (field.IsInteger()) return absl::StrCat(field.min, " to ", field.max);
  switch (field.rule) {
    case TextRule::kPath:
      return "a path";
    case TextRule::kOptionalPath:
      return "a path, or empty";
    case TextRule::kListen:
      return "`host:port`, `unix:/path`, or empty: not opened; port 0: any free port";
    case TextRule::kUnixListen:
      return "`unix:/path`, or empty: not opened";
    case TextRule::kOtlp:
      return "`http://host:port/path`, `grpc://host:port`, or empty: nowhere";
    case TextRule::kWebhook:
      return "`http://host:port/path` of this machine or a private network, or empty";
    case TextRule::kUser:
      return "a user's name, or empty: the server's own";
    case TextRule::kPublicKeys:
      return "keys, commas between them";
    case TextRule::kUids:
      return "numbers such as `1000,1001`, or empty";
    case TextRule::kPrefixes:
      return "beginnings of names, comma-separated, without `/`, or empty: any name";
    case TextRule::kCpus:
      return "CPUs such as `0-1,4`, or empty: all";
    case TextRule::kFaultRules:
      return "a list of rules";
    case TextRule::kChoice: {
      std::string choices;
      for (std::string_view choice : field.choices) {
        absl::StrAppend(&choices, choices.empty() ? "`" : ", `", Abseil(choice), "`");
      }
      return choices;
    }
    case TextRule::kNone:
      break;
  }
  MR_CHECK(false, "a text has a rule");
  return "";
}

std::string Default(const ConfigField& field) {
  const Config config;
  if (field.IsInteger()) {
    return absl::StrCat(config.*std::get<int64_t Config::*>(field.member));
  }
  const std::string& text = config.*std::get<std::string Config::*>(field.member);
  return text.empty() ? "empty" : absl::StrCat("`", text, "`");
}

}  // namespace

std::string_view ClientShmFault(const Config& config) {
  if (config.allow_client_shm != "true" || config.ingress_workers == 1) return "";
  return "must be false where ingress.workers is more than 1: a region that a client registers "
         "with "
         "one of these processes would be unknown to the other";
}

std::string_view OpenListenFault(const Config& config, std::string_view listen) {
  if (!config.keys_file.empty() || config.allow_anonymous == "true") return "";
  if (IsLocalListen(listen)) return "";
  return "can be reached from other machines: set ingress.keys_file, or ingress.allow_anonymous: "
         "true to serve everybody";
}

ConfigResult ParseConfig(std::string_view yaml) {
  ConfigResult result;
  Parser(&result).Parse(yaml);
  std::stable_sort(result.faults.begin(), result.faults.end(),
                   [](const ConfigFault& a, const ConfigFault& b) { return a.line < b.line; });
  return result;
}

std::vector<std::string> FormatFaults(std::string_view file,
                                      const std::vector<ConfigFault>& faults) {
  std::vector<std::string> lines;
  for (const ConfigFault& fault : faults) {
    const std::string line = fault.line == 0 ? "" : absl::StrCat(":", fault.line);
    lines.push_back(absl::StrCat(Abseil(file), line, ": ", fault.field,
                                 fault.field.empty() ? "" : ": ", fault.message));
  }
  return lines;
}

std::string ConfigReference() {
  std::string page =
      "# Configuration\n\n"
      "One YAML file, checked whole before anything starts: `millrace serve --check-config FILE` "
      "tells every fault by file, line and field. An unknown field is a fault. Every field may be "
      "left out; an empty file gives the defaults.\n\n"
      "This page is made from the schema (`common/config_schema.cc`); a test holds the two "
      "equal.\n";
  const ConfigField* last = nullptr;
  for (const ConfigField& field : ConfigSchema()) {
    if (last == nullptr || last->section != field.section) {
      const bool top = field.section.empty();
      absl::StrAppend(&page, "\n## ", top ? "Top" : absl::StrCat("`", Abseil(field.section), "`"),
                      "\n\n", Abseil(ConfigSectionSentence(field.section)), "\n\n",
                      "| field | default | may be | what it is |\n|---|---|---|---|\n");
    }
    absl::StrAppend(&page, "| `", Abseil(field.name), "` | ", Default(field), " | ", Bounds(field),
                    " | ", Abseil(field.sentence), " |\n");
    last = &field;
  }
  return page;
}

}  // namespace millrace
