// Prints constants.inc: what the models take from the headers, as the code does it when it is run.
//
// Purpose: a value that a header changes changes the model, which is then checked anew; a rule that
//   the models cannot follow fails the build here, with a sentence. usage: print_constants
#include <stdio.h>

#include "common/check.h"
#include "ipc/model/constants.h"

int main() {
  const millrace::ModelConstants c = millrace::ReadModelConstants();
  printf("/* Printed by print_constants from ipc/waiter.h and ipc/link_shm.h. */\n");
  printf("#define EPOCH_START %u\n", c.epoch_start);
  printf("#define ARM_STEP %u\n", c.arm_step);
  printf("#define UNPARK_STEP %u\n", c.unpark_step);
  printf("#define ASLEEP_MASK %u\n", c.asleep_mask);
  printf("#define FIRST_SEQ %u\n", c.first_seq);
  printf("#define FIRST_RETURN %u\n", c.first_return);
  return 0;
}
