#include "tools/bench/ipc_bench/chain.h"

#include "gtest/gtest.h"
#include "ipc/testing/must.h"
#include "tools/bench/ipc_bench/chain_message.h"
#include "tools/bench/ipc_bench/latency_histogram.h"

namespace millrace::bench {
namespace {

class ChainTest : public ::testing::TestWithParam<ChainSubject> {};

std::string NameOf(const ::testing::TestParamInfo<ChainSubject>& info) {
  return ChainSubjectName(info.param);
}

ChainLoad Requests(uint64_t count, int in_flight, uint32_t work_loops = 0) {
  ChainLoad load;
  load.requests = count;
  load.in_flight = in_flight;
  load.work_loops = work_loops;
  return load;
}

TEST_P(ChainTest, EveryAnswerIsWholeAndInOrder) {
  const auto chain = Must(Chain::Start(GetParam()));
  for (const int in_flight : {1, 32}) {
    for (const uint32_t work_loops : {0u, 1000u}) {
      const ChainRound round = chain->Run(Requests(500, in_flight, work_loops));
      EXPECT_EQ(round.wrong, 0u);
      EXPECT_EQ(round.answers, 500u);
      EXPECT_EQ(round.measured, 500u);
      EXPECT_GT(round.p50_ns, 0);
      EXPECT_GE(round.p99_ns, round.p50_ns);
      EXPECT_GT(round.cpu_ns_per_request, 0);
    }
  }
  EXPECT_GT(chain->Memory().shared, 0u);
}

TEST_P(ChainTest, ARunByTimeEnds) {
  const auto chain = Must(Chain::Start(GetParam()));
  ChainLoad load;
  load.in_flight = 8;
  load.warm_ns = 1'000'000;
  load.run_ns = 5'000'000;
  const ChainRound round = chain->Run(load);
  EXPECT_EQ(round.wrong, 0u);
  EXPECT_GT(round.answers, 0u);
}

// What the sink must see: a stage that errs with every 64th message.
TEST_P(ChainTest, WhatAStageDoesWrongIsSeen) {
  for (const ChainFault fault : {ChainFault::kChange, ChainFault::kSkipMark, ChainFault::kSwap,
                                 ChainFault::kRepeat, ChainFault::kLose}) {
    for (const int stage : {1, 4}) {
      const auto chain = Must(Chain::Start(GetParam(), fault, stage));
      // The messages of sequence 63, 127 and 191 are followed by others.
      const ChainRound round = chain->Run(Requests(224, 32));
      EXPECT_GE(round.wrong, 3u) << static_cast<int>(fault) << " in stage " << stage;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Subjects, ChainTest,
                         ::testing::Values(ChainSubject::kMillrace, ChainSubject::kMillracePark,
                                           ChainSubject::kMutexCond, ChainSubject::kMutexBatch),
                         NameOf);

TEST(ChainMessageTest, AMarkTellsEveryStageAndTheirOrder) {
  Message message = MakeRequest(7, 3);
  for (const uint64_t stage : {1, 2, 3}) MarkStage(&message, stage);
  EXPECT_FALSE(IsAnswer(message, 7, 3));
  MarkStage(&message, 4);
  EXPECT_TRUE(IsAnswer(message, 7, 3));
  EXPECT_FALSE(IsAnswer(message, 8, 3));
  EXPECT_FALSE(IsAnswer(message, 7, 4));
  Message crossed = MakeRequest(7, 3);
  for (const uint64_t stage : {1, 3, 2, 4}) MarkStage(&crossed, stage);
  EXPECT_FALSE(IsAnswer(crossed, 7, 3));
}

TEST(LatencyHistogramTest, APercentileIsWithinOneInAHundred) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.PercentileNs(0.5), 0);
  for (int64_t i = 1; i <= 100'000; ++i) histogram.Add(i * 10);
  EXPECT_EQ(histogram.total(), 100'000u);
  EXPECT_NEAR(static_cast<double>(histogram.PercentileNs(0.5)), 500'000, 5'000);
  EXPECT_NEAR(static_cast<double>(histogram.PercentileNs(0.99)), 990'000, 9'900);
  histogram.Clear();
  histogram.Add(5);
  EXPECT_EQ(histogram.PercentileNs(0), 5);
  EXPECT_EQ(histogram.PercentileNs(1), 5);
  histogram.Add(INT64_MAX);
  EXPECT_GT(histogram.PercentileNs(1), int64_t{1} << 41);
}

}  // namespace
}  // namespace millrace::bench
