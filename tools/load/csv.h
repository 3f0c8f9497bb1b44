// CSV: a header, then rows of as many cells.
//
// Purpose: golden rows and predictions for the tools. Who may call: any thread.
// Invariants: 1. RFC 4180: quoted cells, doubled quotes, CRLF or LF; 2. every row has as many cells
//   as the header; an empty line is skipped, but for a header of one column, where it is an empty
//   cell.
// What fails: INVALID_ARGUMENT with the file and the line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

struct Csv {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

absl::StatusOr<Csv> ParseCsv(std::string_view text, std::string_view name);
absl::StatusOr<Csv> ReadCsv(const std::string& path);

// `text` as one cell, quoted where it must be.
std::string CsvCell(const std::string& text);

}  // namespace millrace
