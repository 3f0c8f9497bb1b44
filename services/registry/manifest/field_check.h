// A YAML node held against the table of fields.
//
// Purpose: every fault of form, each with its line and field, before anything is taken out.
// Who may call: one thread an object. Ownership: keeps a reference to `faults`.
// Invariants: 1. A node that Check finds good may be read by the table's types without a further
//   look. 2. At most kMaxNodes nodes are visited, whatever aliases the text has.
// What fails: Check says so by its result, and appends to `faults` (at most kMaxFaults).
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>
#include <vector>

#include "common/config.h"
#include "services/registry/manifest/manifest_fields.h"

namespace millrace {

class FieldCheck {
 public:
  static constexpr size_t kMaxNodes = 1 << 20, kMaxFaults = 200;

  explicit FieldCheck(std::vector<ConfigFault>* faults) : faults_(*faults) {}

  bool Check(const ManifestField& field, const YAML::Node& node, const std::string& path);
  bool Add(const YAML::Node& at, const std::string& path, std::string message);  // false

 private:
  bool CheckMap(const ManifestField& field, const YAML::Node& node, const std::string& path);
  bool CheckList(const ManifestField& field, const YAML::Node& node, const std::string& path);
  bool CheckText(const ManifestField& field, const YAML::Node& node, const std::string& path);
  bool CheckInteger(const ManifestField& field, const YAML::Node& node, const std::string& path);
  bool CheckRange(const YAML::Node& node, const std::string& path);

  std::vector<ConfigFault>& faults_;
  size_t nodes_ = 0;
};

// Whether the scalar is a number as JSON writes it, and not in quotes.
bool IsJsonNumber(const YAML::Node& node);

}  // namespace millrace
