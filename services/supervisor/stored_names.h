// The names under which the keeper holds what outlives a supervisor.
//
// Purpose: who stores and who takes over agree. Who may call: any thread; pure.
// Invariant: what belongs to one process begins with StoredOf(key), what belongs to one catalog
// with
//   StoredCatalog(generation), and both end in '/': one message forgets all of it.
#pragma once

#include <stdint.h>

#include <string>

namespace millrace {

inline constexpr const char* kStoredFleet = "fleet";    // a FleetState, sealed
inline constexpr const char* kStoredSums = "sums";      // a StatsSums, sealed
inline constexpr const char* kStoredRoutes = "routes";  // a Routes, sealed
inline constexpr const char* kStoredRoster = "roster";  // that of the last supervisor

inline std::string StoredOf(uint32_t key) { return "process/" + std::to_string(key) + "/"; }
inline std::string StoredChannel(uint32_t key) { return StoredOf(key) + "channel"; }
inline std::string StoredPidfd(uint32_t key) { return StoredOf(key) + "pidfd"; }
// `what`: page, arena, wake, ledger.
inline std::string StoredLane(uint32_t key, uint32_t incarnation, const char* what) {
  return StoredOf(key) + std::to_string(incarnation) + "." + what;
}
inline std::string StoredCatalog(uint64_t generation) {
  return "catalog/" + std::to_string(generation) + "/";
}

}  // namespace millrace
