// The eventfds of the world's lanes: a write is heard by the simulation and by nobody else.
//
// Purpose: a lane that sleeps is woken by whoever rings, at a time that the seed draws. The
// programs
//   of this folder are linked with --wrap=eventfd_write and --wrap=eventfd_read.
// Who may call: the simulation's one thread. Ownership: none; a descriptor belongs to the lane that
//   it was registered for last, since numbers are used again.
// Invariants: 1. no system call is made for a registered descriptor. 2. A ring is also a point at
//   which a turn may be stopped: what was published is then there, and not everybody was woken.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <functional>
#include <vector>

namespace millrace::sim {

class Doorbells {
 public:
  using Heard = std::function<void(uint32_t incarnation)>;

  // From here on until Close: `heard` is called for each ring.
  static void Open(Heard heard);
  static void Close();
  static void Register(int fd, uint32_t incarnation);

  // True: it was one of ours.
  static bool Ring(int fd);
  static bool IsOurs(int fd);

 private:
  static Heard heard_;
  static std::vector<uint32_t> owners_;  // by descriptor; 0: not ours
};

}  // namespace millrace::sim
