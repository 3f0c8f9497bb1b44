// The JSON Schema in the repository and the reader say yes and no to the same documents.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "services/registry/manifest/field_check.h"
#include "services/registry/manifest/manifest.h"
#include "services/registry/manifest/manifest_fields.h"
#include "services/registry/manifest/signing.h"
#include "services/registry/manifest/testing/sample.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

std::string Committed() {
  std::ifstream file("services/registry/manifest/manifest.schema.json");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool HasType(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "integer") return value.is_number_integer();
  return type == "number" && value.is_number();
}

// As JSON Schema's draft 7 defines these words; any other makes the test fail.
class Validator {
 public:
  bool Valid(const Json& schema, const Json& value) {
    bool valid = true;
    for (const auto& [word, rule] : schema.items()) valid &= Word(word, rule, schema, value);
    return valid;
  }

 private:
  bool Word(const std::string& word, const Json& rule, const Json& schema, const Json& value) {
    if (word == "type") {
      if (rule.is_string()) return HasType(value, rule);
      return std::any_of(rule.begin(), rule.end(),
                         [&](const Json& type) { return HasType(value, type); });
    }
    if (word == "minLength") return !value.is_string() || Size(value) >= rule;
    if (word == "maxLength") return !value.is_string() || Size(value) <= rule;
    if (word == "pattern") {
      return !value.is_string() || std::regex_search(value.get_ref<const std::string&>(),
                                                     Compiled(rule.get_ref<const std::string&>()));
    }
    if (word == "minimum") return !value.is_number() || value >= rule;
    if (word == "maximum") return !value.is_number() || value <= rule;
    if (word == "minItems") return !value.is_array() || value.size() >= rule;
    if (word == "maxItems") return !value.is_array() || value.size() <= rule;
    if (word == "items") {
      return !value.is_array() || std::all_of(value.begin(), value.end(),
                                              [&](const Json& item) { return Valid(rule, item); });
    }
    if (word == "required") {
      return !value.is_object() || std::all_of(rule.begin(), rule.end(), [&](const Json& name) {
        return value.contains(name.get<std::string>());
      });
    }
    if (word == "properties") return Properties(rule, value);
    if (word == "additionalProperties") {
      if (!value.is_object()) return true;
      const Json& known = schema["properties"];
      for (const auto& [key, unused] : value.items()) {
        if (!known.contains(key)) return false;
      }
      return true;
    }
    EXPECT_TRUE(word == "description" || word == "title" || word == "$schema") << word;
    return true;
  }

  static size_t Size(const Json& text) { return text.get_ref<const std::string&>().size(); }

  static const std::regex& Compiled(const std::string& pattern) {
    static std::map<std::string, std::regex> compiled;
    return compiled.try_emplace(pattern, pattern).first->second;
  }

  bool Properties(const Json& rules, const Json& value) {
    if (!value.is_object()) return true;
    for (const auto& [key, rule] : rules.items()) {
      if (value.contains(key) && !Valid(rule, value[key])) return false;
    }
    return true;
  }
};

// As the reader's walk over the table sees it; JSON is YAML, too.
bool ReaderTakesForm(const Json& document) {
  std::vector<ConfigFault> faults;
  return FieldCheck(&faults).Check(ManifestTable(), YAML::Load(document.dump()), "");
}

Json JsonOf(const YAML::Node& node) {
  if (node.IsNull()) return nullptr;
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const YAML::Node& each : node) list.push_back(JsonOf(each));
    return list;
  }
  if (node.IsMap()) {
    Json map = Json::object();
    for (const auto& each : node) map[each.first.Scalar()] = JsonOf(each.second);
    return map;
  }
  return IsJsonNumber(node) ? Json::parse(node.Scalar()) : Json(node.Scalar());
}

Json Base() {
  const SigningKey key = *ParseSigningKey("millrace-ed25519-secret:" + std::string(64, '7'));
  Json base = JsonOf(YAML::Load(
      *SignManifest(SampleManifest(), key, "2026-11-20T10:00:00Z", "2027-11-20T10:00:00Z")));
  base["reference"][0]["missing"] = 0.5;
  base["shared"][0]["bytes"] = 3;
  base["signature"]["outputs"][0]["ranges"] = Json::array({{0, 1}});
  base["signature"]["inputs"][0]["range"] = {0, 1};  // the form allows both
  base["golden"][0]["inputs"][0]["data"] = {1, nullptr, "a", true};
  return base;
}

// Every pointer into the document, the root's too.
void Pointers(const Json& value, const Json::json_pointer& at,
              std::vector<Json::json_pointer>* pointers) {
  pointers->push_back(at);
  if (value.is_object()) {
    for (const auto& [key, each] : value.items()) Pointers(each, at / key, pointers);
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) Pointers(value[i], at / i, pointers);
  }
}

// The document with something else at each place, each part left out, and a part too many.
std::vector<Json> Documents() {
  const Json base = Base();
  std::vector<Json> documents = {base};
  std::vector<Json::json_pointer> pointers;
  Pointers(base, Json::json_pointer(), &pointers);
  const std::vector<Json> others = {nullptr,
                                    "",
                                    "x",
                                    "a\x01",
                                    std::string(300, 'a'),
                                    -2,
                                    2.5,
                                    int64_t{1} << 50,
                                    true,
                                    Json::array(),
                                    Json::array({1}),
                                    Json::array({1, 2, 3}),
                                    Json::object()};
  for (const Json::json_pointer& at : pointers) {
    for (const Json& other : others) {
      documents.push_back(base);
      documents.back()[at] = other;
    }
    if (base[at].is_array() && !base[at].empty()) {  // too many
      documents.push_back(base);
      documents.back()[at] = Json(std::vector<Json>(258, base[at][0]));
    }
    if (base[at].is_object()) {
      documents.push_back(base);
      documents.back()[at]["unknown"] = 1;
    }
    if (at.empty()) continue;
    documents.push_back(base);
    Json& parent = documents.back()[at.parent_pointer()];
    if (parent.is_object()) parent.erase(at.back());
    if (parent.is_array()) parent.erase(std::stoul(at.back()));
  }
  return documents;
}

TEST(ManifestSchema, IsTheCommittedFile) {
  EXPECT_EQ(Committed(), ManifestJsonSchema()) << "commit what ManifestJsonSchema() returns";
}

TEST(ManifestSchema, SaysTheSameAsTheReader) {
  const Json schema = Json::parse(Committed());
  size_t taken = 0, refused = 0;
  for (const Json& document : Documents()) {
    const bool valid = Validator().Valid(schema, document);
    ASSERT_EQ(valid, ReaderTakesForm(document)) << document.dump().substr(0, 5000);
    if (!valid) {
      ASSERT_FALSE(ReadManifest(document.dump() + "\n...\n").faults.empty());
    }
    ++(valid ? taken : refused);
  }
  EXPECT_GT(taken, 100u);
  EXPECT_GT(refused, 1000u);
}

// A schema that forgets any one of its parts is found out by these documents.
TEST(ManifestSchema, EachOfItsPartsIsHeldByADocument) {
  const Json schema = Json::parse(Committed());
  std::vector<Json::json_pointer> parts;
  Pointers(schema, Json::json_pointer(), &parts);
  const std::vector<Json> documents = Documents();
  std::vector<bool> expected;
  for (const Json& document : documents) expected.push_back(Validator().Valid(schema, document));
  size_t planted = 0;
  for (const Json::json_pointer& part : parts) {
    if (!schema[part].is_object() || !schema[part].contains("type")) continue;
    Json forgetful = schema;
    forgetful[part] = Json::object();
    bool found = false;
    for (size_t i = 0; i < documents.size() && !found; ++i) {
      // Forgetting makes a document valid that was not.
      found = !expected[i] && Validator().Valid(forgetful, documents[i]);
    }
    EXPECT_TRUE(found) << part.to_string();
    ++planted;
  }
  EXPECT_GT(planted, 50u);
}

}  // namespace
}  // namespace millrace
