// The two ends of a link, one of them killed at each instruction, the other one as it survives.
//
// Purpose: proof that a kill at any instruction of an end leaves nothing half done: the end runs in
//   a stepped child on real regions; after each instruction the other end's own code is run, from
//   its private state of then, on a copy of the shared bytes.
// Who may call: a test of one thread. Rules, for a producer that died:
//   1. What was published is taken once, whole and in order; what was being published whole or not
//      at all; nothing else.
//   2. No block that the consumer holds changes; none comes again before it was returned.
//   For a consumer that died:
//   3. The producer gets each lent block back exactly once, and by a return only what was read to
//      its end.
//   4. Credits never pass what was copied; no slot that was not copied can be written.
//   5. What it drained of a dead producer is unchanged, for whoever drains it again.
// What fails: set-up ends the process; a broken rule stands in the report.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "ipc/testing/step_pattern.h"

namespace millrace {

// A fault in the end that is stepped. Each must be seen.
enum class Planted {
  kNone,
  kPublishFirst,    // a producer's sequence before the message
  kReuseEarly,      // a producer's block is free again once it is lent
  kTakeBackOnLoss,  // a dead consumer's blocks are free, also where they are lent to others
  kCreditFirst,     // a consumer's credit before the copy
  kReturnFirst,     // a consumer's return before its last read
  kReturnInHalves,  // a return's sequence before its offset
};

// A script is played up to '|', then stepped. Capital letters are the stepped end's:
//   producer  P publish  C collect returns  B publish here and to a consumer that will die
//             X take back what that consumer has
//   consumer  T take  R return the oldest  L return the latest  C publish credits
//             X drain a producer that died
// Small letters are the survivor's: t, r, l, c as above or p, c; x and y: the consumer that will
// die takes, and returns. A letter that is not possible is skipped.
struct StepCase {
  std::string name;
  std::string script;
  Mix mix = Mix::kMixed;
  Planted planted = Planted::kNone;
};

struct StepReport {
  uint64_t points = 0;   // instructions after which the state was audited
  uint64_t states = 0;   // of these, the shared bytes differed from those of the point before
  uint64_t flagged = 0;  // points at which a rule was broken
  uint64_t kills = 0;
  std::vector<std::string> violations;  // the first of each case

  void Add(const StepReport& more);
};

StepReport StepProducer(const StepCase& c);
StepReport StepConsumer(const StepCase& c);

// The same ends killed in earnest at `kills` random instructions. Violations also where the bytes
// that the dead left are not those that were audited.
StepReport KillProducer(const StepCase& c, int kills, uint64_t seed);
StepReport KillConsumer(const StepCase& c, int kills, uint64_t seed);

std::string Times(int count, const std::string& letters);
// `played` random letters of both ends, then `stepped` of the stepped one.
std::string RandomProducerScript(uint64_t seed, int played, int stepped);
std::string RandomConsumerScript(uint64_t seed, int played, int stepped);

}  // namespace millrace
