// What is owed on the versions that are served: old weights, inputs without tags, no second worker,
// nobody's signature, nothing that pins them.
//
// Purpose: one judgement for `millrace debt`, the registry's promotions and its notices.
// Who may call: any thread; nothing is kept. Nothing fails.
// Invariants: 1. A version is read-only (no route is promoted to it) exactly where its weights are
//   older than the limit. 2. Debt is listed in the order of the catalog, and of DebtKind.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "ipc/catalog.pb.h"

namespace millrace {

struct DebtLimits {
  int64_t max_age_days = 180;         // 0: weights may be of any age
  int64_t max_untagged_percent = 15;  // of inputs without data-protection tags
};

enum class DebtKind { kOldWeights, kUntagged, kUnsigned, kUnpinned, kOneWorker, kOneDevice };
std::string_view DebtKindName(DebtKind kind);  // "old_weights" and so on

struct DebtItem {
  DebtKind kind;
  std::string model, version, owner;  // owner: empty where no manifest names one
  std::string sentence;
  // When it began, in seconds since 1970: a version is owed on since its weights were made, or
  // became too old; 0: not known (of what is behind it, and of what has no weights).
  int64_t since_s = 0;
};

// What of the server is behind each model.
struct Behind {
  size_t workers = 0;  // of execution
  size_t devices = 0;  // that they run on; 0: none, which is no debt
};

// Whole days since the weights were trained, else since their file was written; -1: it has no
// weights of its own (an ensemble), or nobody knows.
int64_t WeightsAgeDays(const Catalog& catalog, const Model& model, int64_t now_s);

bool IsReadOnly(const Catalog& catalog, const Model& model, const DebtLimits& limits,
                int64_t now_s);

std::vector<DebtItem> DebtOf(const Catalog& catalog, const DebtLimits& limits, const Behind& behind,
                             int64_t now_s);

}  // namespace millrace
