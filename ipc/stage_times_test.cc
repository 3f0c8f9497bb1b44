#include "ipc/stage_times.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(StageTimes, SmallNumbersAreExactAndTheFieldsStandApart) {
  for (uint64_t n = 0; n < 256; ++n) {
    const StageTimes times = StageTimes::Unpack(StageTimes{n, 255 - n, n / 2, 7, n}.Pack());
    EXPECT_EQ(times.queue_ns, n);
    EXPECT_EQ(times.input_ns, 255 - n);
    EXPECT_EQ(times.infer_ns, n / 2);
    EXPECT_EQ(times.output_ns, 7u);
    EXPECT_EQ(times.batch_rows, n);
  }
}

TEST(StageTimes, LargerOnesKeepEightBitsAndTheLargestAreCut) {
  for (uint64_t n = 1; n < uint64_t{1} << 38; n = n * 5 / 3 + 1) {
    const StageTimes times = StageTimes::Unpack(StageTimes{n, 0, n, 0, 0}.Pack());
    EXPECT_LE(times.queue_ns, n);
    EXPECT_LE(n - times.queue_ns, n / 128) << n;
    EXPECT_EQ(times.infer_ns, times.queue_ns);
    EXPECT_EQ(times.input_ns + times.output_ns + times.batch_rows, 0u) << n;
  }
  const StageTimes most =
      StageTimes::Unpack(StageTimes{UINT64_MAX, 0, 0, UINT64_MAX, UINT64_MAX}.Pack());
  EXPECT_EQ(most.queue_ns, uint64_t{255} << 31);
  EXPECT_EQ(most.output_ns, most.queue_ns);
  EXPECT_EQ(most.input_ns + most.infer_ns, 0u);
  EXPECT_EQ(most.batch_rows, uint64_t{255} << 15);
}

TEST(StageTimes, EveryWordIsRead) {
  const StageTimes times = StageTimes::Unpack(UINT64_MAX);
  EXPECT_EQ(times.Pack(), UINT64_MAX);
}

}  // namespace
}  // namespace millrace
