// A validator for the part of JSON Schema (2020-12) that openapi.json uses.
//
// Purpose: hold answers and examples to the document. Who may call: tests.
// Ownership: the document is borrowed and outlives the validator.
// Invariants: 1. a keyword that is not understood is a fault, never passed over; so a schema cannot
//   promise what nobody checks.
// What fails: a sentence that says where and why; an empty one: valid.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace millrace::http {

class JsonSchema {
 public:
  explicit JsonSchema(const nlohmann::json* document) : document_(document) {}

  std::string Check(const nlohmann::json& schema, const nlohmann::json& value) const {
    return CheckAt("$", schema, value);
  }
  // Whether every keyword in a schema, and in what it holds, is understood.
  std::string CheckSchema(const nlohmann::json& schema) const;
  // What a {"$ref": ...} stands for, or `node` itself. Null where it leads nowhere.
  const nlohmann::json* Resolve(const nlohmann::json& node) const;

 private:
  using Json = nlohmann::json;
  std::string CheckAt(const std::string& at, const Json& schema, const Json& value) const;
  std::string CheckKeyword(const std::string& at, const std::string& key, const Json& schema,
                           const Json& value) const;
  std::string CheckObject(const std::string& at, const std::string& key, const Json& schema,
                          const Json& value) const;
  std::string CheckArray(const std::string& at, const std::string& key, const Json& rule,
                         const Json& value) const;
  std::string CheckChoice(const std::string& at, const std::string& key, const Json& rule,
                          const Json& value) const;

  const Json* document_;
};

}  // namespace millrace::http
