#include "services/registry/sample_table.h"

#include <math.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace millrace {
namespace {

// Nothing: a quote is not closed, or something stands behind one.
std::optional<std::vector<std::string>> Cells(absl::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false, was_quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted) {
      if (c != '"') {
        cells.back() += c;
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        cells.back() += line[i++];
      } else {
        quoted = false;
        was_quoted = true;
      }
    } else if (c == ',') {
      cells.emplace_back();
      was_quoted = false;
    } else if (c == '"' && cells.back().empty() && !was_quoted) {
      quoted = true;
    } else if (was_quoted) {
      return std::nullopt;
    } else {
      cells.back() += c;
    }
  }
  if (quoted) return std::nullopt;
  return cells;
}

bool IsNumber(const std::string& cell) {
  double value;
  return absl::SimpleAtod(cell, &value) && isfinite(value);
}

void FillNumbers(SampleColumn* column) {
  for (const std::string& cell : column->cells) {
    double value = 0;
    if (cell.empty() || cell == "nan" || cell == "NaN") {
      column->numbers.emplace_back();
    } else if (absl::SimpleAtod(cell, &value) && isfinite(value)) {
      column->numbers.emplace_back(value);
    } else {
      column->numbers.clear();
      return;
    }
  }
}

}  // namespace

absl::StatusOr<SampleTable> ParseSample(std::string_view csv) {
  SampleTable table;
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(csv.data(), csv.size()), '\n')) {
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    const auto cells = Cells(line);
    if (!cells.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", line_number, ": quotes are amiss"));
    }
    if (table.columns.empty()) {
      table.columns.resize(cells->size());
      const bool names = std::any_of(cells->begin(), cells->end(), [](const std::string& cell) {
        return !cell.empty() && !IsNumber(cell);
      });
      for (size_t c = 0; names && c < cells->size(); ++c) table.columns[c].name = (*cells)[c];
      if (names) continue;
    }
    if (cells->size() != table.columns.size()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", line_number, ": has ", cells->size(),
                                                     " cells, and the first has ",
                                                     table.columns.size()));
    }
    for (size_t c = 0; c < cells->size(); ++c) table.columns[c].cells.push_back((*cells)[c]);
    ++table.rows;
  }
  if (table.rows == 0) return absl::InvalidArgumentError("holds no row");
  for (SampleColumn& column : table.columns) FillNumbers(&column);
  return table;
}

}  // namespace millrace
