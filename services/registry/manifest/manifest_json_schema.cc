// The table of fields as a JSON Schema.
#include <nlohmann/json.hpp>

#include "services/registry/manifest/manifest_fields.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

Json SchemaOf(const ManifestField& field);

Json MapSchema(const ManifestField& field) {
  Json properties = Json::object(), required = Json::array();
  for (const ManifestField& each : field.fields) {
    properties[std::string(each.name)] = SchemaOf(each);
    if (each.required) required.push_back(std::string(each.name));
  }
  Json schema = {{"type", "object"}, {"additionalProperties", false}};
  if (!required.empty()) schema["required"] = std::move(required);
  schema["properties"] = std::move(properties);
  return schema;
}

Json OwnSchema(const ManifestField& field) {
  switch (field.kind) {
    case FieldKind::kText:
      return {{"type", "string"},
              {"minLength", field.min},
              {"maxLength", field.max},
              {"pattern", std::string(field.pattern)}};
    case FieldKind::kInteger:
      return {{"type", "integer"}, {"minimum", field.min}, {"maximum", field.max}};
    case FieldKind::kNumber:
      return {{"type", "number"}};
    case FieldKind::kRange:
      return {{"type", "array"},
              {"minItems", 2},
              {"maxItems", 2},
              {"items", {{"type", {"number", "null"}}}}};
    case FieldKind::kElement:
      return {{"type", {"number", "string", "boolean", "null"}}};
    case FieldKind::kList:
      return {{"type", "array"},
              {"minItems", field.min},
              {"maxItems", field.max},
              {"items", SchemaOf(field.fields[0])}};
    case FieldKind::kMap:
      return MapSchema(field);
  }
  return {};
}

Json SchemaOf(const ManifestField& field) {
  Json schema = {{"description", std::string(field.sentence)}};
  schema.update(OwnSchema(field));
  return schema;
}

}  // namespace

std::string FieldsJsonSchema(const ManifestField& root, std::string_view title) {
  Json schema = {{"$schema", "http://json-schema.org/draft-07/schema#"},
                 {"title", std::string(title)}};
  schema.update(SchemaOf(root));
  return schema.dump(2) + "\n";
}

std::string ManifestJsonSchema() {
  return FieldsJsonSchema(ManifestTable(), "Millrace model manifest");
}

}  // namespace millrace
