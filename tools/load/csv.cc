#include "tools/load/csv.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

// One record from `text`, which it shortens; false at an unclosed quote.
bool TakeRecord(std::string_view* text, std::vector<std::string>* cells, int* lines) {
  cells->assign(1, "");
  bool quoted = false;
  size_t i = 0;
  for (; i < text->size(); ++i) {
    const char c = (*text)[i];
    if (c == '\n') ++*lines;
    if (quoted) {
      if (c != '"') {
        cells->back() += c;
      } else if (i + 1 < text->size() && (*text)[i + 1] == '"') {
        cells->back() += '"';
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == '"' && cells->back().empty()) {
      quoted = true;
    } else if (c == ',') {
      cells->emplace_back();
    } else if (c == '\n') {
      break;
    } else if (c != '\r') {
      cells->back() += c;
    }
  }
  text->remove_prefix(i < text->size() ? i + 1 : i);
  return !quoted;
}

}  // namespace

absl::StatusOr<Csv> ParseCsv(std::string_view text, std::string_view name) {
  Csv csv;
  int line = 1;
  const auto fault = [&](int at, const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(name), ":", at, ": ", why));
  };
  if (text.empty()) return fault(1, "no header");
  if (!TakeRecord(&text, &csv.header, &line)) return fault(1, "a quote is not closed");
  while (!text.empty()) {
    const int at = line;
    std::vector<std::string> cells;
    if (!TakeRecord(&text, &cells, &line)) return fault(at, "a quote is not closed");
    if (cells.size() == 1 && cells[0].empty() && csv.header.size() > 1) continue;
    if (cells.size() != csv.header.size()) {
      return fault(at, absl::StrCat(cells.size(), " cells under a header of ", csv.header.size()));
    }
    csv.rows.push_back(std::move(cells));
  }
  return csv;
}

absl::StatusOr<Csv> ReadCsv(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  std::ostringstream text;
  text << file.rdbuf();
  return ParseCsv(text.str(), path);
}

std::string CsvCell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell.append(c == '"' ? 2 : 1, c);
  return cell + "\"";
}

}  // namespace millrace
