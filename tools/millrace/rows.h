// Rows to ask a model about, from a CSV or a JSON file.
//
// Purpose: infer and verify. Who may call: any thread.
// Invariants: JSON becomes the same table as CSV: a list of objects has their keys, in the order of
//   first sight, as header; a list of lists has the positions. null, "" and a key that is not there
//   are empty cells: missing values. Numbers keep all their digits.
// What fails: NOT_FOUND, or INVALID_ARGUMENT with the file and the row.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "tools/load/csv.h"

namespace millrace {

// A file that ends in ".json" is JSON (a list, or {"instances": list}), any other CSV.
absl::StatusOr<Csv> ReadRows(const std::string& path);

absl::StatusOr<Csv> ParseJsonRows(std::string_view text, const std::string& name);

}  // namespace millrace
