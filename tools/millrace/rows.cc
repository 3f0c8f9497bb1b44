#include "tools/millrace/rows.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

using nlohmann::ordered_json;

absl::Status RowFault(const std::string& name, size_t row, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": row ", row + 1, ": ", why));
}

absl::StatusOr<std::string> Cell(const ordered_json& value) {
  if (value.is_null()) return std::string();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  return absl::InvalidArgumentError("a value must be a number, a text or null");
}

size_t ColumnOf(const std::string& key, Csv* csv) {
  for (size_t c = 0; c < csv->header.size(); ++c) {
    if (csv->header[c] == key) return c;
  }
  csv->header.push_back(key);
  return csv->header.size() - 1;
}

absl::Status AddRow(const ordered_json& row, Csv* csv) {
  std::vector<std::string> cells;
  if (!row.is_object() && !row.is_array()) {
    return absl::InvalidArgumentError("must be an object of named columns, or a list of numbers");
  }
  size_t position = 0;
  for (const auto& [key, value] : row.items()) {
    const size_t column = ColumnOf(row.is_object() ? key : absl::StrCat(position), csv);
    ++position;
    absl::StatusOr<std::string> cell = Cell(value);
    if (!cell.ok()) return cell.status();
    if (cells.size() <= column) cells.resize(column + 1);
    cells[column] = std::move(*cell);
  }
  csv->rows.push_back(std::move(cells));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Csv> ParseJsonRows(std::string_view text, const std::string& name) {
  const ordered_json parsed = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  const bool wrapped = parsed.is_object() && parsed.contains("instances");
  const ordered_json& list = wrapped ? parsed["instances"] : parsed;
  if (!list.is_array() || list.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": must be a JSON list of rows, or {\"instances\": list}"));
  }
  Csv csv;
  for (size_t r = 0; r < list.size(); ++r) {
    if (list[r].type() != list[0].type()) {
      return RowFault(name, r, "the rows must be all objects or all lists");
    }
    const absl::Status s = AddRow(list[r], &csv);
    if (!s.ok()) return RowFault(name, r, std::string(s.message()));
    if (list[r].is_array() && list[r].size() != list[0].size()) {
      return RowFault(name, r, "the lists must be of one length");
    }
  }
  for (auto& row : csv.rows) row.resize(csv.header.size());
  return csv;
}

absl::StatusOr<Csv> ReadRows(const std::string& path) {
  if (!absl::EndsWith(path, ".json")) return ReadCsv(path);
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return ParseJsonRows(text, path);
}

}  // namespace millrace
