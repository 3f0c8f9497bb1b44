// Ways out of the compiler's sandbox, as a compiler that was taken over would try them.
//
// Purpose: one list for the sandbox's own test and for the program that the registry is made to run
//   in the compiler's place. For tests only.
// Who may call: a process that has entered the sandbox, once: it is not meant to come back.
// Invariants: 1. An attack that would succeed outside harms nothing but this process, its parent
//   and what the test made for it.
#pragma once

#include <vector>

namespace millrace {

struct Hostage {
  int model_fd;
  int plan_fd;
  int parent;  // who started it; asking is not allowed
};

struct Attack {
  const char* name;
  // What the call returned: negative where it was refused with an error.
  long (*act)(const Hostage& hostage);
};

// Each must end in SIGSYS before it returns.
const std::vector<Attack>& Attacks();

// Limits that are not calls: each must be refused with an error, or end in the signal.
struct Excess {
  const char* name;
  // Only returns where the limit did not hold.
  void (*act)(const Hostage& hostage);
  int signal;     // that must end it; 0: it exits
  int exit_code;  // then
};

inline constexpr int kHeld = 42;  // an excess's exit code: the limit held

const std::vector<Excess>& Excesses();

}  // namespace millrace
