// Runs a kernel under many schedules and says what must, or must not, be reported.
//
// Who may call: the shim's own tests.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/simt/cuda.h"

namespace millrace::simt {

constexpr int kSeeds = 64;

// Runs a kernel of no arguments under every seed; `see` looks at each one's reports.
template <class F>
void ForEachSeed(void (*kernel)(), dim3 grid, dim3 block, std::size_t dynamic_bytes, F see,
                 Options options = {}) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    options.seed = seed;
    options.switch_one_in = seed % 4 * 3;
    SetOptions(options);
    ReportCollector collector;
    const GridResult result = RunKernel(kernel, grid, block, dynamic_bytes);
    EXPECT_EQ(result.reports == 0, collector.reports().empty());
    see(collector);
  }
  SetOptions(Options{});
}

inline void Caught(Check check, void (*kernel)(), dim3 block = 64, std::size_t dynamic_bytes = 0,
                   Options options = {}) {
  ForEachSeed(
      kernel, 2, block, dynamic_bytes,
      [&](const ReportCollector& collector) {
        EXPECT_GT(collector.Count(check), 0);
        for (const Report& report : collector.reports()) {
          EXPECT_FALSE(report.sentence.empty());
          EXPECT_EQ(report.kernel, "kernel");
        }
      },
      options);
}

// The check complains, and no other does.
inline void OnlyCaught(Check check, void (*kernel)(), dim3 block = 64,
                       std::size_t dynamic_bytes = 0) {
  ForEachSeed(kernel, 2, block, dynamic_bytes, [&](const ReportCollector& collector) {
    EXPECT_GT(collector.Count(check), 0);
    for (const Report& report : collector.reports()) {
      EXPECT_EQ(report.check, check) << ToString(report);
    }
  });
}

inline void Clean(void (*kernel)(), dim3 block = 64, std::size_t dynamic_bytes = 0,
                  Options options = {}) {
  ForEachSeed(
      kernel, 2, block, dynamic_bytes,
      [](const ReportCollector& collector) {
        for (const Report& report : collector.reports()) ADD_FAILURE() << ToString(report);
      },
      options);
}

}  // namespace millrace::simt
