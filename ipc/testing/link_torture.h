// Two processes that work for each other over links, killed at random instants and started again.
//
// Purpose: what SIGKILL leaves behind at any instruction, of an end at work, of one that is just
//   taking up a link, and of one that is just ending the link of a dead peer; that the survivor
//   takes what the dead had published, takes back what it had lent, sends again what the dead held,
//   and goes on with the next incarnation. This process is the broker: it starts, introduces and
//   kills (ipc/testing/torture_end.h is what it starts); the judge is history_check.h.
// Who may call: a process with one thread (it forks). What fails: set-up ends the process; a broken
//   rule stands in `violations`.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "ipc/testing/torture_end.h"

namespace millrace {

struct LinkTortureResult {
  int rounds = 0;
  int owners_killed = 0;
  int workers_killed = 0;
  int both_killed = 0;  // rounds in which both were; counted above as well
  int unlinked = 0;     // kills while a link was being taken up
  uint64_t opened = 0;
  uint64_t done = 0;
  uint64_t sent_again = 0;
  uint64_t taken_back = 0;  // blocks that a dead peer had
  uint64_t slept = 0;
  uint64_t rescues =
      0;  // sleeps that a death ended beside a message: its sender died before waking
  std::vector<std::string> violations;
};

// Until `rounds` rounds, in each of which one or both are killed, or a rule is broken.
LinkTortureResult RunLinkTorture(int rounds, uint64_t seed, Planted planted = Planted::kNothing);

}  // namespace millrace
