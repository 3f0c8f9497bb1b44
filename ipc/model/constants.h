// What the models take from the code: numbers that are read off Waiter, Waker and a link at work.
//
// Purpose: ties ipc/model/*.pml to ipc/waiter.h and ipc/link_shm.h. Who may call: print_constants
//   and its test. Invariants: 1. nothing here repeats a number of the headers: each is what was
//   seen in the shared word after the call; 2. a rule that the models take for granted and that the
//   code does not keep aborts (MR_CHECK).
// What fails: nothing else.
#pragma once

#include <stdint.h>

namespace millrace {

struct ModelConstants {
  unsigned epoch_start = 0;   // `parked` before the first Arm
  unsigned arm_step = 0;      // what Arm adds
  unsigned unpark_step = 0;   // what Unpark adds
  unsigned asleep_mask = 0;   // the bits of `parked` that say "asleep"
  unsigned first_seq = 0;     // the seq of message 0; message n: n more
  unsigned first_return = 0;  // the number of the first returned block
};

ModelConstants ReadModelConstants();

}  // namespace millrace
