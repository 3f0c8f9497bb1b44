// The client's own id of a request, without its text.
//
// Purpose: to tell requests apart in what operators see, and to choose by, without keeping what a
//   client wrote. Who may call: any thread. Invariants: 1. the same id gives the same number in
//   every process and on every machine, so that a client's log can be compared; it is no secret:
//   who can guess an id can recognise it. Nothing fails.
#pragma once

#include <stdint.h>

#include <string_view>

namespace millrace {

// 64-bit FNV-1a; 0 for an empty id.
constexpr uint64_t HashClientId(std::string_view id) {
  if (id.empty()) return 0;
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : id) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace millrace
