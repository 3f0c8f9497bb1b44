// How long no client has asked for a version.
//
// Purpose: what the registry goes by when something idle has to make room (execution.over_budget).
// Who may call: the supervisor's main thread. Ownership: keeps a sum and a time for each version.
// Words: a request counts when it is answered, whatever the answer is. Golden requests and copies
// in
//   the shadow are no client's.
// Invariants: 1. A version is idle at the most since it was first looked at: a supervisor that
// comes
//   new knows of no use before. 2. A version whose requests a lane counts without its name (it has
//   kMaxStatsModels already) is never said to be idle.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <map>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "ipc/catalog.pb.h"
#include "ipc/control.pb.h"
#include "ipc/page.h"
#include "services/supervisor/stats_carry.h"

namespace millrace {

class IdleWatch {
 public:
  // `pages`: of every lane of ingress that is not carried over yet.
  void Look(const Catalog& catalog, const StatsCarry& carry, absl::Span<const Page* const> pages,
            int64_t now_ns);
  // What was seen at the last look.
  void AddTo(ModelUse* use, int64_t now_ns) const;

 private:
  using Name = std::pair<std::string, std::string>;  // model, version
  struct Seen {
    uint64_t requests = 0;
    int64_t since_ns = 0;
    bool counted = true;  // by its name, everywhere
  };

  std::map<Name, Seen> seen_;
};

}  // namespace millrace
