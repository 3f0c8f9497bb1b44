// What ingress counted of some versions, for whoever judges them.
//
// Purpose: the registry names versions (WatchVersions) and is sent their sums once a second.
// Who may call: the supervisor's main thread. Ownership: nothing is kept but the names.
// Invariants: 1. A sum is what living pages say plus what was carried over from ended incarnations,
//   and so never goes back, whoever dies. 2. Every version that is watched is in each message, with
//   all its words; one that was never asked has zeros. 3. A message has room for kMost of them.
// What fails: Set, INVALID_ARGUMENT, where too many or the same twice are named.
#pragma once

#include <stdint.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "ipc/control.pb.h"
#include "ipc/page.h"
#include "services/supervisor/stats_carry.h"

namespace millrace {

class VersionWatch {
 public:
  static constexpr size_t kMost = 24;

  absl::Status Set(const WatchVersions& watch);
  bool empty() const { return versions_.empty(); }
  size_t size() const { return versions_.size(); }
  // `pages`: of every lane of ingress that is not carried over yet.
  VersionStatistics Sum(const StatsCarry& carry, absl::Span<const Page* const> pages,
                        int64_t now_ns) const;

 private:
  std::vector<std::pair<std::string, std::string>> versions_;  // model, version
};

}  // namespace millrace
