// Every change of routes, one line of JSON each: when, who, why, what before and after.
//
// Purpose: what an operator asks afterwards, what a rollback goes back to, and the last good routes
//   where the file is damaged. Who may call: one thread.
// Invariants: 1. A line is written whole, synced, and never changed. 2. A line that was cut short
//   (the machine died) or is not ours is skipped when the journal is read, and counted.
// What fails: Write, where it cannot be written.
#pragma once

#include <stdint.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ipc/routes.pb.h"

namespace millrace {

struct RouteChange {
  uint64_t generation = 0;
  int64_t wall_ms = 0;
  std::string who;
  std::string why;
  std::string action;  // "canary"; "file": routes.yaml was changed by hand
  std::string name;
  std::optional<NamedRoute> before;
  std::optional<NamedRoute> after;
};

std::string ChangeLine(const RouteChange& change);

class RoutesJournal {
 public:
  explicit RoutesJournal(std::string path) : path_(std::move(path)) {}

  // All that is there; a file that does not exist is empty.
  void Read();
  // Note: it is one of changes(), at once. Write: it is in the file; one that another thread may
  // do, beside everything here but Read.
  void Note(const RouteChange& change) { changes_.push_back(change); }
  absl::Status Write(const RouteChange& change);

  const std::vector<RouteChange>& changes() const { return changes_; }
  size_t skipped() const { return skipped_; }
  // The routes that follow from all changes.
  Routes Fold() const;
  // What a rollback of this name goes back to: the route before the last change that was not rolled
  // back already. Nothing: there is no such change.
  std::optional<RouteChange> ToRollBack(const std::string& name) const;

 private:
  const std::string path_;
  std::vector<RouteChange> changes_;
  size_t skipped_ = 0;
  bool ends_whole_ = true;  // the file's last byte is a line's end
};

}  // namespace millrace
