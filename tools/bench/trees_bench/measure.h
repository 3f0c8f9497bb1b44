// Interleaved rounds of calls, timed and compared.
//
// Purpose: one case at one batch: every subject in turn in each round, in a new random order, each
//   time enough calls for the clock, over rows that change from call to call. Who may call: one
//   thread. Ownership: nothing is kept.
// Invariants:
//   1. All subjects have the same number of rounds; round i of one stands beside round i of
//   another.
//   2. Before the first round each chunk of rows is asked once and compared. After each timed loop
//      what its calls wrote is compared too: margins were overwritten before. Where a subject keeps
//      only its last answer, that one is.
//   3. Comparing and preparing are outside of the timed loops.
//   4. No thread but the caller's runs in a timed loop that counts; one that sleeps does not
//   matter.
// Fails: DataLoss where a subject that must be exact has one wrong bit; Internal where a call
//   failed or other threads ran. The sentence names batch, subject, row and group.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/bench/trees_bench/compare.h"
#include "tools/bench/trees_bench/subject.h"

namespace millrace::bench {

struct MeasureOptions {
  int rounds = 11;
  int64_t loop_ns = 20'000'000;  // each timed loop takes at least about this long
};

struct Truth {
  const std::byte* margins;  // [rows, groups]
  DataType type;
};

struct Timing {
  std::string subject;
  bool exact = true;
  std::vector<double> call_ns;  // one a round
  Distances distances;          // from the truth; of those that need not be exact
};

absl::StatusOr<std::vector<Timing>> Measure(const std::vector<Subject*>& subjects, const Rows& rows,
                                            const Truth& truth, size_t batch,
                                            const MeasureOptions& options, std::mt19937_64* random);

}  // namespace millrace::bench
