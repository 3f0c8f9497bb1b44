// A sample of inputs, as a CSV file has it: for the first manifest of a version.
//
// Purpose: bins, ranges and golden rows come from real rows. Who may call: any thread.
// Invariants: every column has as many cells as there are rows; an empty cell is a missing value.
//   A first line of which some cell is no number is the names; else columns have none. Cells may
//   stand in double quotes, "" is a quote in them; a cell holds no line break.
// What fails: INVALID_ARGUMENT with the line.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

struct SampleColumn {
  std::string name;  // empty: the file has no names
  std::vector<std::string> cells;
  std::vector<std::optional<double>> numbers;  // one a cell; empty where some cell is no number
};

struct SampleTable {
  std::vector<SampleColumn> columns;
  size_t rows = 0;
};

absl::StatusOr<SampleTable> ParseSample(std::string_view csv);

}  // namespace millrace
