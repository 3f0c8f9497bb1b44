// What a load saw of each request, line by line, for a checker that trusts nothing else.
//
// Purpose: written as things happen: "S number ns" before a try is sent, "A number ns code" when
//   one ended and is made again, "E number ns code" at the end; the code is OK, MISMATCHED or the
//   failure's. Times are CLOCK_MONOTONIC. Who may call: the driver's thread.
// Ownership: owns the file. Invariants: 1. lines of one request are in the order of their events.
// What fails: Open, where the file cannot be written; later, lines are lost and the checker sees
// it.
#pragma once

#include <stdint.h>
#include <stdio.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tools/load/driver.h"

namespace millrace {

class HistoryFile {
 public:
  static absl::StatusOr<std::unique_ptr<HistoryFile>> Open(const std::string& path);
  ~HistoryFile();
  HistoryFile(const HistoryFile&) = delete;
  HistoryFile& operator=(const HistoryFile&) = delete;

  void Write(const DriveEvent& event);

 private:
  explicit HistoryFile(FILE* file) : file_(file) {}
  FILE* const file_;
};

}  // namespace millrace
