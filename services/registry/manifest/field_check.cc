#include "services/registry/manifest/field_check.h"

#include <math.h>

#include <map>
#include <regex>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/config_yaml.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

size_t Digits(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && IsDigit(text[end])) ++end;
  return end - at;
}

// -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
bool HasNumberForm(std::string_view text) {
  size_t at = !text.empty() && text[0] == '-' ? 1 : 0;
  const size_t whole = Digits(text, at);
  if (whole == 0 || (whole > 1 && text[at] == '0')) return false;
  at += whole;
  if (at < text.size() && text[at] == '.') {
    const size_t fraction = Digits(text, at + 1);
    if (fraction == 0) return false;
    at += 1 + fraction;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const size_t exponent = Digits(text, at);
    if (exponent == 0) return false;
    at += exponent;
  }
  return at == text.size();
}

bool IsQuoted(const YAML::Node& node) { return node.Tag() == "!"; }

bool IsBool(const YAML::Node& node) {
  return !IsQuoted(node) && (node.Scalar() == "true" || node.Scalar() == "false");
}

// The table's patterns are few, and each is dear to compile.
const std::regex& Compiled(std::string_view pattern) {
  thread_local std::map<std::string_view, std::regex> patterns;
  const auto found = patterns.find(pattern);
  if (found != patterns.end()) return found->second;
  return patterns.emplace(pattern, std::regex(pattern.begin(), pattern.end())).first->second;
}

std::string Names(const ManifestField& map) {
  std::string names;
  for (const ManifestField& field : map.fields) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", ToAbsl(field.name));
  }
  return names;
}

std::string Below(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : absl::StrCat(path, ".", ToAbsl(name));
}

}  // namespace

bool IsJsonNumber(const YAML::Node& node) {
  double value = 0;
  return node.IsScalar() && !IsQuoted(node) && HasNumberForm(node.Scalar()) &&
         absl::SimpleAtod(node.Scalar(), &value) && isfinite(value);
}

bool FieldCheck::Add(const YAML::Node& at, const std::string& path, std::string message) {
  if (faults_.size() < kMaxFaults) {
    AddFault(at, path, std::move(message), &faults_);
  } else if (faults_.size() == kMaxFaults) {
    faults_.push_back({0, "", "there are more faults than are told"});
  }
  return false;
}

bool FieldCheck::Check(const ManifestField& field, const YAML::Node& node,
                       const std::string& path) {
  if (++nodes_ > kMaxNodes) {
    return nodes_ == kMaxNodes + 1 ? Add(node, path, "the manifest holds too much") : false;
  }
  if (node.IsNull() && field.kind != FieldKind::kElement) return Add(node, path, "has no value");
  switch (field.kind) {
    case FieldKind::kText:
      return CheckText(field, node, path);
    case FieldKind::kInteger:
      return CheckInteger(field, node, path);
    case FieldKind::kNumber:
      return IsJsonNumber(node) || Add(node, path, "must be a number");
    case FieldKind::kRange:
      return CheckRange(node, path);
    case FieldKind::kElement:
      return node.IsScalar() || node.IsNull() || Add(node, path, "must be a single value");
    case FieldKind::kList:
      return CheckList(field, node, path);
    case FieldKind::kMap:
      return CheckMap(field, node, path);
  }
  return false;
}

bool FieldCheck::CheckMap(const ManifestField& field, const YAML::Node& node,
                          const std::string& path) {
  bool good = true;
  std::vector<bool> seen(field.fields.size());
  const size_t before = faults_.size();
  const bool is_map =
      YamlMap(node, path, &faults_,
              [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
                for (size_t i = 0; i < field.fields.size(); ++i) {
                  if (field.fields[i].name != key) continue;
                  seen[i] = true;
                  // A null has no line of its own.
                  good &= value.IsNull() ? Add(at, Below(path, key), "has no value")
                                         : Check(field.fields[i], value, Below(path, key));
                  return;
                }
                good = Add(at, Below(path, Printable(key)),
                           absl::StrCat("is not a field; there are ", Names(field)));
              });
  if (!is_map) return false;
  for (size_t i = 0; i < field.fields.size(); ++i) {
    if (seen[i] || !field.fields[i].required) continue;
    good = Add(node, Below(path, field.fields[i].name), "is missing");
  }
  return good && faults_.size() == before;
}

bool FieldCheck::CheckList(const ManifestField& field, const YAML::Node& node,
                           const std::string& path) {
  if (!node.IsSequence()) return Add(node, path, "must be a list");
  const auto size = static_cast<int64_t>(node.size());
  if (size < field.min || size > field.max) {
    return Add(node, path,
               field.min == field.max
                   ? absl::StrCat("must be a list of ", field.min)
                   : absl::StrCat("must be a list of ", field.min, " to ", field.max));
  }
  bool good = true;
  size_t i = 0;
  for (const YAML::Node& element : node) {
    if (nodes_ > kMaxNodes) return false;
    const std::string name = absl::StrCat(path, "[", i++, "]");
    if (element.IsNull() && field.fields[0].kind != FieldKind::kElement) {
      good = Add(node, name, "has no value");
    } else {
      good &= Check(field.fields[0], element, name);
    }
  }
  return good;
}

bool FieldCheck::CheckText(const ManifestField& field, const YAML::Node& node,
                           const std::string& path) {
  if (!node.IsScalar()) return Add(node, path, "must be a text");
  if (IsJsonNumber(node) || IsBool(node)) {
    return Add(node, path, "must be a text: put it in quotes");
  }
  const std::string& text = node.Scalar();
  const auto size = static_cast<int64_t>(text.size());
  if (size < field.min || size > field.max) {
    return Add(node, path,
               absl::StrCat("must be a text of ", field.min, " to ", field.max, " bytes"));
  }
  if (std::regex_match(text, Compiled(field.pattern))) return true;
  return Add(node, path,
             absl::StrCat("is '", Printable(text), "', and must match ", ToAbsl(field.pattern)));
}

bool FieldCheck::CheckInteger(const ManifestField& field, const YAML::Node& node,
                              const std::string& path) {
  int64_t value = 0;
  if (!IsJsonNumber(node) || !absl::SimpleAtoi(node.Scalar(), &value)) {
    return Add(node, path, "must be an integer");
  }
  if (value >= field.min && value <= field.max) return true;
  return Add(node, path,
             field.min == field.max
                 ? absl::StrCat("must be ", field.min, ", and is ", value)
                 : absl::StrCat("must be from ", field.min, " to ", field.max, ", and is ", value));
}

bool FieldCheck::CheckRange(const YAML::Node& node, const std::string& path) {
  bool good = node.IsSequence() && node.size() == 2;
  for (size_t i = 0; good && i < 2; ++i) good = node[i].IsNull() || IsJsonNumber(node[i]);
  return good || Add(node, path, "must be [low, high], each a number or null");
}

}  // namespace millrace
