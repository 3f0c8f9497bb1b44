// How much a stress test does: a bounded amount by default, ten times that and more when asked.
//
// Purpose: one switch for all long tests. `bazel test //:stress` is to end within ten minutes on
//   two cores; `tools/dev stress` sets MILLRACE_STRESS=long. Who may call: tests. Nothing fails.
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include <string_view>

namespace millrace {

inline uint64_t Effort(uint64_t bounded, uint64_t whole) {
  const char* asked = getenv("MILLRACE_STRESS");
  return asked != nullptr && std::string_view(asked) == "long" ? whole : bounded;
}

}  // namespace millrace
