#include "common/config_yaml.h"

#include <set>

#include "common/check.h"

namespace millrace {

std::optional<YAML::Node> LoadYaml(std::string_view text, std::vector<ConfigFault>* faults) {
  MR_CHECK(faults != nullptr, "faults have a place to go");
  if (text.size() > kMaxYamlBytes) {
    faults->push_back({0, "", "the file is larger than 1 MiB"});
    return std::nullopt;
  }
  if (text.find('\0') != std::string_view::npos) {
    faults->push_back({0, "", "the file holds a zero byte, so it is not YAML"});
    return std::nullopt;
  }
  try {
    std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) {
      AddFault(documents[1], "", "the file holds more than one YAML document", faults);
      return std::nullopt;
    }
    return documents.empty() ? YAML::Node() : documents[0];
  } catch (const YAML::Exception& error) {
    faults->push_back({error.mark.is_null() ? 0 : error.mark.line + 1, "", error.msg});
  } catch (const std::exception& error) {
    faults->push_back({0, "", std::string("cannot be read as YAML: ") + error.what()});
  }
  return std::nullopt;
}

int YamlLine(const YAML::Node& node) {
  const YAML::Mark mark = node.Mark();
  return mark.is_null() ? 0 : mark.line + 1;
}

void AddFault(const YAML::Node& at, std::string_view field, std::string message,
              std::vector<ConfigFault>* faults) {
  faults->push_back({YamlLine(at), std::string(field), std::move(message)});
}

bool YamlMap(const YAML::Node& map, std::string_view field, std::vector<ConfigFault>* faults,
             const std::function<void(const std::string& key, const YAML::Node& key_node,
                                      const YAML::Node& value)>& entry) {
  if (!map.IsMap()) {
    AddFault(map, field, "must be a map of names to values", faults);
    return false;
  }
  std::set<std::string> seen;
  for (const auto& pair : map) {
    if (!pair.first.IsScalar()) {
      AddFault(pair.first, field, "has a key that is not a name", faults);
      continue;
    }
    const std::string& key = pair.first.Scalar();
    if (!seen.insert(key).second) {
      const std::string full = field.empty() ? key : std::string(field) + "." + key;
      AddFault(pair.first, full, "stands twice", faults);
      continue;
    }
    entry(key, pair.first, pair.second);
  }
  return true;
}

}  // namespace millrace
