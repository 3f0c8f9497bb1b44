// What the timings come to: figures, ratios, claims.
//
// Purpose: from rounds to the lines that are printed and the rows that are written. Who may call:
// any
//   thread. Invariants:
//   1. A figure is the median over the rounds, with the quartiles beside it.
//   2. A ratio is the median over the rounds of a peer's time over ours in the same round: what
//   slows
//      the whole machine for a while slows both.
//   3. A claim about what was not measured says so.
// Fails: nothing.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/ipc_bench/report.h"
#include "tools/bench/trees_bench/measure.h"

namespace millrace::bench {

inline constexpr char kOurs[] = "millrace";

struct Figure {
  std::string test_case, subject;
  size_t batch = 1;
  bool exact = true;
  double call_ns = 0, call_ns_p25 = 0, call_ns_p75 = 0;
  double ratio = 1;  // the subject's time over ours
  Distances distances;
  double row_ns() const { return call_ns / static_cast<double>(batch); }
};

// One case at one batch; ours must be among the timings.
std::vector<Figure> Figures(const std::string& test_case, size_t batch,
                            const std::vector<Timing>& timings);

// One table for each case, in the figures' order.
void PrintFigures(const std::string& title, const std::vector<Figure>& figures);

std::vector<Row> JsonRows(const std::vector<Figure>& figures);

// "batch 1, xgb_500x6: 7.1 x xgboost_1.7 (at least 6 asked: yes)", beside the fastest version of a
// library; then which peers are not behind us, and where.
std::vector<std::string> Claims(const std::vector<Figure>& figures);

}  // namespace millrace::bench
