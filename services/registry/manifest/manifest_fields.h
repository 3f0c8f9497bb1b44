// The one table of a manifest's fields.
//
// Purpose: what stands in manifest.yaml, what it may be and what it means is said here and nowhere
//   else: the reader (manifest.h) and the JSON Schema are walks over this table.
// Who may call: any thread; the table never changes.
// Invariants: 1. a map's fields have distinct names; a list has one element. 2. A text's pattern
//   is an ECMAScript expression over the whole text, and means the same to std::regex and to JSON
//   Schema. 3. The table is a tree of fixed depth, so a walk along it ends.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace millrace {

enum class FieldKind : uint8_t {
  kText,     // min, max: its bytes
  kInteger,  // min, max: its value
  kNumber,   // finite
  kRange,    // [low, high], each a number or null (open)
  kElement,  // of a tensor: a number, a text, true, false or null (a missing number)
  kList,     // min, max: how many
  kMap,
};

struct ManifestField {
  std::string_view name;  // empty: the element of a list
  FieldKind kind;
  bool required = false;
  int64_t min = 0;
  int64_t max = 0;
  std::string_view pattern = {};   // of a text
  std::string_view sentence = {};  // for the reference and the schema
  absl::Span<const ManifestField> fields = {};
};

// The root: a map.
const ManifestField& ManifestTable();

// A table as a JSON Schema (draft 7).
std::string FieldsJsonSchema(const ManifestField& root, std::string_view title);
// Of a manifest: services/registry/manifest/manifest.schema.json.
std::string ManifestJsonSchema();

}  // namespace millrace
