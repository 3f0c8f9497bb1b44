// Reading YAML with faults that name lines, and without exceptions.
//
// Purpose: what every YAML file of ours is read with (the configuration, feature views).
// Who may call: any thread; a YAML::Node is used by one thread at a time.
// Invariants: 1. no exception of the library leaves these functions. 2. A text is one document of
//   at most kMaxYamlBytes; duplicate keys of a map are reported by YamlMap.
// What fails: each function appends to `faults` and says so by its result.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"

namespace millrace {

struct FaultRule;

inline constexpr size_t kMaxYamlBytes = 1 << 20;

// The root of the one document in `text`; a null node for an empty one. Nothing: see `faults`.
std::optional<YAML::Node> LoadYaml(std::string_view text, std::vector<ConfigFault>* faults);

// 1-based line of a node; 0 where the library does not know it.
int YamlLine(const YAML::Node& node);

void AddFault(const YAML::Node& at, std::string_view field, std::string message,
              std::vector<ConfigFault>* faults);

// Calls `entry` once for each key of a map, in order. A node that is no map, a key that is no
// plain text and a key that stands twice are faults; `field` names the map in them.
bool YamlMap(const YAML::Node& map, std::string_view field, std::vector<ConfigFault>* faults,
             const std::function<void(const std::string& key, const YAML::Node& key_node,
                                      const YAML::Node& value)>& entry);

// The rules of a list (common/fault_rule.h); those at fault are left out.
void ReadFaultRules(const YAML::Node& list, std::vector<FaultRule>* rules,
                    std::vector<ConfigFault>* faults);

}  // namespace millrace
