// What a bench writes: rows for machines, tables for people.
//
// Purpose: one form for all benches of links. Who may call: the bench's main thread. Invariants:
//   1. A row is {case, subject, metric, unit, value}; all rows of a bench are in one flat list.
// What fails: a file that cannot be written (false).
#pragma once

#include <string>
#include <vector>

namespace millrace::bench {

struct Row {
  std::string test_case, subject, metric, unit;
  double value = 0;
};

// The list of rows.
bool WriteJson(const std::string& file, const std::vector<Row>& rows);

// A table with a title; the first column is left-aligned, the others are right-aligned and as wide
// as they need. The first line of cells is the head.
void PrintTable(const std::string& title, const std::vector<std::vector<std::string>>& lines);

}  // namespace millrace::bench
