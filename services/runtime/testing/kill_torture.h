// Kills worker processes under load and checks what the survivor holds.
//
// Purpose: an ingress lane in this process keeps requests at two real workers; these are killed at
//   random instants, ended in the roster, replaced and linked anew; what they held is sent again as
//   the next attempt. The account is independent of lanes and links: one entry for each request.
// Who may call: the one thread of a test. Invariants: none beyond the result's. What fails: set-up
//   ends the process; a broken rule stands in `violations`.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

namespace millrace {

struct KillTortureResult {
  int kills = 0;
  uint64_t answered = 0;
  uint64_t replayed = 0;
  uint64_t stale = 0;  // answers of an attempt that was given up
  std::vector<std::string> violations;
};

// Until `kills` workers were killed and every request is answered.
KillTortureResult RunKillTorture(int kills, uint64_t seed);

}  // namespace millrace
