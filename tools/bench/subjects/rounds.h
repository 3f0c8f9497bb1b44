// Interleaved rounds of load on several subjects, and the medians of what they showed.
//
// Purpose: a fair comparison on a machine that does other things too. Who may call: one thread.
// Invariants: 1. every subject has the same number of rounds, of the same length; each round visits
//   all of them, beginning with another one each time, and a visit does all of the subject's cases.
//   2. A visit begins with a load that is not counted, since a server that looks at the machine
//   (as ours does) has just seen the other subjects keep it busy. 3. A figure is the median over
//   the rounds.
// What fails: nothing; failed and mismatched answers are counted.
#pragma once

#include <stdint.h>

#include <functional>
#include <string>
#include <vector>

#include "tools/load/load.h"

namespace millrace {

struct Subject {
  std::string name;
  std::function<void()> settle;  // what a visit begins with
  std::function<void()> leave;   // what it ends with; may be empty
  // One for each case, the same for all subjects; empty: the subject has no part in that case.
  std::vector<std::function<LoadReport()>> cases;
};

struct RoundFigures {
  double p50_us = 0, p99_us = 0, requests_per_s = 0;
};

// Medians over the rounds, and the rounds, in order.
struct Figures : RoundFigures {
  std::string subject;
  int64_t failed = 0;  // failed or mismatched, of all rounds
  std::vector<RoundFigures> rounds;
};

// For each case the figures of the subjects that have a part in it.
std::vector<std::vector<Figures>> RunRounds(const std::vector<Subject>& subjects, int rounds);

// Of an even number, the lower of the middle two; 0 of none.
double Median(std::vector<double> values);

}  // namespace millrace
