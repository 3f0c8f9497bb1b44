// Incarnation numbers: given out once, in this life of the supervisor and in every later one.
//
// Purpose: a number from an earlier life must never name a new lane. Who may call: the supervisor's
//   main thread. Ownership: the counter's memfd is ours, and a copy lies in the keeper's store.
// Invariants: 1. the next number is written before the last one is used, so that a supervisor
// killed
//   in between skips a number and repeats none. 2. 0 is never given out.
// What fails: Open where the kept descriptor is not ours.
#pragma once

#include <stdint.h>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

class Incarnations {
 public:
  // `kept`: what an earlier supervisor stored; invalid: a new count begins.
  static absl::StatusOr<Incarnations> Open(Fd kept);
  uint32_t Next();
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  uint32_t next_ = 1;
};

}  // namespace millrace
