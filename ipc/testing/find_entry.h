// A ledger's entry as a value, for tests.
//
// Purpose: LedgerView::FindInto with an optional for an answer. Who may call: tests. Nothing fails.
#pragma once

#include <optional>

#include "ipc/ledger.h"

namespace millrace {

inline std::optional<LedgerEntry> Find(const LedgerView& view, const PartId& id) {
  LedgerEntry entry;
  if (!view.FindInto(id, &entry)) return std::nullopt;
  return entry;
}

}  // namespace millrace
