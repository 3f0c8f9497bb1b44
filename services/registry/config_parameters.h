// The parameters of a config.pbtxt: each is taken once, and what nobody asked for is a fault.
//
// Purpose: no parameter is ever ignored. Who may call: one thread; refers to the config and its
//   lines, which outlive it. What fails: INVALID_ARGUMENT with the parameter's name and line.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "services/registry/config_text.h"
#include "services/registry/text.h"

namespace millrace {

inline constexpr std::string_view kKindPrefix = "output_kind.";

class Parameters {
 public:
  Parameters(const registry::ModelConfig& config, const ConfigLines& lines) : lines_(lines) {
    for (const auto& [key, parameter] : config.parameters()) left_[key] = parameter.string_value();
  }

  std::optional<std::string> Take(const std::string& key) {
    const auto found = left_.find(key);
    if (found == left_.end()) return std::nullopt;
    std::string value = found->second;
    left_.erase(found);
    return value;
  }

  absl::Status Bad(const std::string& key, const std::string& sentence) const {
    return lines_.Bad("parameters." + key, absl::StrCat("parameters ", Printable(key), sentence));
  }
  std::string Place(const std::string& key) const { return lines_.Place("parameters." + key); }

  absl::Status CheckNoneLeft() const {
    if (left_.empty()) return absl::OkStatus();
    const std::string& key = left_.begin()->first;
    if (key.rfind(kKindPrefix, 0) == 0) return Bad(key, ": there is no output of that name");
    return Bad(key, " is not supported for this platform");
  }

 private:
  const ConfigLines& lines_;
  std::map<std::string, std::string> left_;
};

}  // namespace millrace
