// Whether a change of routes gives more to a version whose weights are too old.
//
// Purpose: what is read-only (ipc/model_debt.h) is served on and promoted nowhere.
// Who may call: any thread; nothing is kept.
// Invariants: 1. A change after which each such version has, of the requests of every rule, no
//   larger share than before it passes. A rule that is only in one of both routes is held against
//   the other one's rule for every request, else against the latest version. 2. Shadows, whose
//   answers nobody gets, and fallbacks, who answer where a target cannot, are no promotion.
// What fails: FAILED_PRECONDITION that names model, version, age and limit.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ipc/catalog.pb.h"
#include "ipc/model_debt.h"
#include "ipc/routes.pb.h"

namespace millrace {

class ReadOnlyCheck {
 public:
  ReadOnlyCheck(const Catalog& catalog, const DebtLimits& limits, int64_t now_s)
      : catalog_(catalog), limits_(limits), now_s_(now_s) {}

  // Whether it may get more than it has.
  absl::Status MayGrow(const std::string& model, const std::string& version) const;
  // Of the route `name`; nothing: there is, or was, none.
  absl::Status MayChange(const std::string& name, const std::optional<NamedRoute>& before,
                         const std::optional<NamedRoute>& after) const;
  // Of all; a sentence for each that may not be.
  std::vector<std::string> Faults(const Routes& before, const Routes& after) const;

 private:
  const Catalog& catalog_;
  const DebtLimits limits_;
  const int64_t now_s_;
};

}  // namespace millrace
