// The one table of the fields of routes.yaml.
//
// Purpose: what stands in the file, what it may be and what it means is said here and nowhere else:
//   the reader (routes_file.h) and the JSON Schema are walks over this table.
// Who may call: any thread; the table never changes.
// Nothing fails.
#pragma once

#include <string>

#include "services/registry/manifest/manifest_fields.h"

namespace millrace {

// The root, a map; and a rule, as a command gives it.
const ManifestField& RoutesTable();
const ManifestField& RuleTable();

// The JSON Schema (draft 7): services/registry/routes/routes.schema.json.
std::string RoutesJsonSchema();

}  // namespace millrace
