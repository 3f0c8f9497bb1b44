// What the figures of the pipeline bench are to be, beside each other.
//
// Purpose: each claim as a ratio of two subjects of one case (the median of the rounds'), printed
// with what
//   was asked.
// Who may call: one thread. Nothing fails: a claim whose subjects were not measured is left out.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/subjects/rounds.h"

namespace millrace {

struct CaseFigures {
  bool nothing = false;  // the model that costs nothing
  int in_flight = 0;
  std::vector<Figures> figures;
};

struct Claim {
  std::string text;  // "p50, 1 in flight: millrace / grpc_echo"
  double value = 0;
  double asked = 0;
  bool at_most = false;  // else at least
  bool holds() const { return at_most ? value <= asked : value >= asked; }
};

std::vector<Claim> Claims(const std::vector<CaseFigures>& cases);
void PrintTargets(const std::vector<CaseFigures>& cases);

}  // namespace millrace
