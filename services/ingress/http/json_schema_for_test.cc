#include "services/ingress/http/json_schema_for_test.h"

#include <regex>
#include <set>

namespace millrace::http {
namespace {

using Json = nlohmann::json;

const std::set<std::string>& ObjectKeywords() {
  static const auto* const words = new std::set<std::string>{
      "required", "properties", "additionalProperties", "propertyNames", "minProperties"};
  return *words;
}
const std::set<std::string>& ArrayKeywords() {
  static const auto* const words = new std::set<std::string>{"items", "minItems", "maxItems"};
  return *words;
}
const std::set<std::string>& ChoiceKeywords() {
  static const auto* const words = new std::set<std::string>{"anyOf", "oneOf", "not"};
  return *words;
}
const std::set<std::string>& PlainKeywords() {
  static const auto* const words = new std::set<std::string>{
      "$ref", "type", "enum", "const", "minLength", "pattern", "minimum", "maximum", "description"};
  return *words;
}

bool IsType(const std::string& type, const Json& value) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_number_integer();
  return false;
}

bool HasType(const Json& types, const Json& value) {
  if (types.is_string()) return IsType(types, value);
  for (const Json& type : types) {
    if (IsType(type, value)) return true;
  }
  return false;
}

std::string Fault(const std::string& at, const std::string& key, const Json& rule,
                  const Json& value) {
  return at + ": " + value.dump().substr(0, 80) + " breaks " + key + " " + rule.dump();
}

}  // namespace

const Json* JsonSchema::Resolve(const Json& node) const {
  if (!node.is_object() || !node.contains("$ref")) return &node;
  const std::string target = node["$ref"];
  if (!target.starts_with("#/")) return nullptr;
  const Json::json_pointer pointer(target.substr(1));
  return document_->contains(pointer) ? &document_->at(pointer) : nullptr;
}

std::string JsonSchema::CheckSchema(const Json& schema) const {
  if (schema.is_boolean()) return "";
  for (const auto& [key, rule] : schema.items()) {
    std::string fault;
    if (key == "$ref") {
      if (Resolve(schema) == nullptr) return rule.dump() + " leads nowhere";
    } else if (key == "properties") {
      for (const auto& [name, inner] : rule.items()) fault += CheckSchema(inner);
    } else if (key == "anyOf" || key == "oneOf") {
      for (const Json& inner : rule) fault += CheckSchema(inner);
    } else if (key == "items" || key == "additionalProperties" || key == "propertyNames" ||
               key == "not") {
      fault = CheckSchema(rule);
    } else if (!PlainKeywords().contains(key) && !ObjectKeywords().contains(key) &&
               !ArrayKeywords().contains(key)) {
      fault = "the keyword " + key + " is not understood";
    }
    if (!fault.empty()) return fault;
  }
  return "";
}

std::string JsonSchema::CheckAt(const std::string& at, const Json& schema,
                                const Json& value) const {
  if (schema.is_boolean()) return schema.get<bool>() ? "" : at + ": nothing may stand here";
  for (const auto& [key, rule] : schema.items()) {
    std::string fault;
    if (ObjectKeywords().contains(key)) {
      if (value.is_object()) fault = CheckObject(at, key, schema, value);
    } else if (ArrayKeywords().contains(key)) {
      if (value.is_array()) fault = CheckArray(at, key, rule, value);
    } else if (ChoiceKeywords().contains(key)) {
      fault = CheckChoice(at, key, rule, value);
    } else if (PlainKeywords().contains(key)) {
      fault = CheckKeyword(at, key, schema, value);
    } else {
      fault = at + ": the keyword " + key + " is not understood";
    }
    if (!fault.empty()) return fault;
  }
  return "";
}

std::string JsonSchema::CheckKeyword(const std::string& at, const std::string& key,
                                     const Json& schema, const Json& value) const {
  const Json& rule = schema[key];
  bool good = true;
  if (key == "$ref") {
    const Json* target = Resolve(schema);
    return target == nullptr ? at + ": " + rule.dump() + " leads nowhere"
                             : CheckAt(at, *target, value);
  }
  if (key == "type") good = HasType(rule, value);
  if (key == "enum") good = std::find(rule.begin(), rule.end(), value) != rule.end();
  if (key == "const") good = value == rule;
  if (key == "minLength" && value.is_string()) {
    good = value.get_ref<const std::string&>().size() >= rule.get<size_t>();
  }
  if (key == "pattern" && value.is_string()) {
    good = std::regex_search(value.get<std::string>(), std::regex(rule.get<std::string>()));
  }
  if (key == "minimum" && value.is_number()) good = value >= rule;
  if (key == "maximum" && value.is_number()) good = value <= rule;
  return good ? "" : Fault(at, key, rule, value);
}

std::string JsonSchema::CheckObject(const std::string& at, const std::string& key,
                                    const Json& schema, const Json& value) const {
  const Json& rule = schema[key];
  if (key == "minProperties") {
    return value.size() >= rule.get<size_t>() ? "" : Fault(at, key, rule, value);
  }
  if (key == "required") {
    for (const Json& name : rule) {
      if (!value.contains(name.get<std::string>())) return at + ": " + name.dump() + " is missing";
    }
    return "";
  }
  for (const auto& [name, member] : value.items()) {
    const bool declared = schema.contains("properties") && schema["properties"].contains(name);
    std::string fault;
    if (key == "propertyNames") fault = CheckAt(at + "." + name, rule, name);
    if (key == "properties" && declared) fault = CheckAt(at + "." + name, rule[name], member);
    if (key == "additionalProperties" && !declared) {
      fault = CheckAt(at + "." + name, rule, member);
    }
    if (!fault.empty()) return fault;
  }
  return "";
}

std::string JsonSchema::CheckArray(const std::string& at, const std::string& key, const Json& rule,
                                   const Json& value) const {
  if (key == "minItems")
    return value.size() >= rule.get<size_t>() ? "" : Fault(at, key, rule, value);
  if (key == "maxItems")
    return value.size() <= rule.get<size_t>() ? "" : Fault(at, key, rule, value);
  for (size_t i = 0; i < value.size(); ++i) {
    std::string fault = CheckAt(at + "[" + std::to_string(i) + "]", rule, value[i]);
    if (!fault.empty()) return fault;
  }
  return "";
}

std::string JsonSchema::CheckChoice(const std::string& at, const std::string& key, const Json& rule,
                                    const Json& value) const {
  if (key == "not") return CheckAt(at, rule, value).empty() ? Fault(at, key, rule, value) : "";
  int fit = 0;
  for (const Json& choice : rule) fit += CheckAt(at, choice, value).empty() ? 1 : 0;
  const bool good = key == "oneOf" ? fit == 1 : fit > 0;
  return good ? "" : Fault(at, key, rule, value);
}

}  // namespace millrace::http
