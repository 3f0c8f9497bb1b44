// Must: the value of a StatusOr in a process of the bench, or its end with the reason.
//
// Purpose: set-up steps that cannot fail on a healthy machine stay one line. Who may call: the
//   bench. Invariants: none. What fails: the process.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <utility>

#include "absl/status/statusor.h"

namespace millrace {

inline void MustOk(const absl::Status& status) {
  if (status.ok()) return;
  fprintf(stderr, "set-up failed: %s\n", status.ToString().c_str());
  abort();
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  MustOk(value.status());
  return std::move(*value);
}

}  // namespace millrace
