// Two processes at the two ends of a link, killed at random instants and linked anew.
//
// Purpose: what a SIGKILL at any instruction leaves behind, checked by a third party: the two write
//   what they do into a journal that outlives them, the parent compares. Who may call: a process
//   with one thread (it forks). What fails: set-up ends the process; a broken rule stands in
//   `violations`. Rules: 1. an entry is taken at most once, in order, with its bytes whole; 2. what
//   was published is there for a consumer that survives; 3. a producer that survives gets every
//   block back.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

namespace millrace {

struct LinkTortureResult {
  int kills = 0;
  uint64_t taken = 0;
  int surviving_consumers = 0;
  int surviving_producers = 0;
  std::vector<std::string> violations;
};

LinkTortureResult RunLinkTorture(int rounds, uint64_t seed);

}  // namespace millrace
