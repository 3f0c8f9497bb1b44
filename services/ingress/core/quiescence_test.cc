#include "services/ingress/core/quiescence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace millrace {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr Stage kStages[] = {Stage::kFeatures, Stage::kExecution, Stage::kAggregation};

TEST(Quiescence, NothingWaitingBeginsNoEpoch) {
  Quiescence quiescence;
  std::vector<WindowUse> freed;
  EXPECT_FALSE(quiescence.active());
  EXPECT_EQ(quiescence.Step({}, &freed), std::nullopt);
  EXPECT_THAT(freed, IsEmpty());
}

TEST(Quiescence, AUnitWaitsForItsWorkersAnswer) {
  Quiescence quiescence;
  std::vector<WindowUse> freed;
  quiescence.Add({7, Stage::kFeatures, 1, 256});
  std::vector<WorkerAnswer> workers = {{Stage::kFeatures, 0}};
  EXPECT_EQ(quiescence.Step(workers, &freed), 1u);
  EXPECT_EQ(quiescence.Step(workers, &freed), std::nullopt);
  EXPECT_THAT(freed, IsEmpty());
  workers[0].epoch = 1;
  EXPECT_EQ(quiescence.Step(workers, &freed), 2u);
  ASSERT_THAT(freed, SizeIs(1));
  EXPECT_EQ(freed[0].worker, 7u);
  EXPECT_EQ(freed[0].bytes, 256u);
}

TEST(Quiescence, ALaterStageIsAskedOnlyAfterTheEarlierAnswered) {
  Quiescence quiescence;
  std::vector<WindowUse> freed;
  quiescence.Add({9, Stage::kAggregation, 2, 512});
  // Everybody has answered every epoch there could be; still each stage gets one of its own.
  std::vector<WorkerAnswer> workers = {
      {Stage::kFeatures, 0}, {Stage::kExecution, 0}, {Stage::kAggregation, 0}};
  for (uint32_t epoch = 1; epoch <= 3; ++epoch) {
    EXPECT_EQ(quiescence.Step(workers, &freed), epoch);
    EXPECT_THAT(freed, IsEmpty());
    // The answer of another stage does not count.
    workers[epoch % 3].epoch = epoch;
    EXPECT_EQ(quiescence.Step(workers, &freed), std::nullopt);
    for (WorkerAnswer& w : workers) w.epoch = epoch;
  }
  EXPECT_EQ(quiescence.Step(workers, &freed), std::nullopt);
  EXPECT_THAT(freed, SizeIs(1));
  EXPECT_FALSE(quiescence.active());
}

TEST(Quiescence, AUnitAddedDuringARoundWaitsForTheNext) {
  Quiescence quiescence;
  std::vector<WindowUse> freed;
  quiescence.Add({1, Stage::kFeatures, 1, 1});
  EXPECT_EQ(quiescence.Step({}, &freed), 1u);
  quiescence.Add({2, Stage::kFeatures, 1, 1});
  while (freed.empty()) quiescence.Step({}, &freed);
  EXPECT_EQ(freed[0].worker, 1u);
  EXPECT_EQ(quiescence.waiting(), 1u);
  while (quiescence.active()) quiescence.Step({}, &freed);
  EXPECT_THAT(freed, SizeIs(2));
}

// A model of workers that answer late, in any order: a unit must come back once, and never before
// its worker answered an epoch that began after the unit was added.
TEST(Quiescence, RandomAnswersFreeEachUnitOnceAndNotEarly) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    Quiescence quiescence;
    uint32_t epoch = 0;
    std::vector<WorkerAnswer> workers;
    for (Stage stage : kStages) workers.insert(workers.end(), 1 + random() % 3, {stage, 0});
    std::map<uint32_t, uint32_t> added_at;  // unit, by its bytes, to the epoch of that moment
    std::map<uint32_t, int> freed_times;
    uint32_t next_unit = 1;
    for (int step = 0; step < 2000; ++step) {
      if (step < 1500 && random() % 4 == 0) {
        const uint32_t worker = random() % workers.size();
        added_at[next_unit] = epoch;
        quiescence.Add({worker, workers[worker].stage, 1, next_unit++});
      }
      if (random() % 2 == 0) workers[random() % workers.size()].epoch = epoch;
      std::vector<WindowUse> freed;
      if (auto begun = quiescence.Step(workers, &freed)) epoch = *begun;
      for (const WindowUse& use : freed) {
        const auto unit = static_cast<uint32_t>(use.bytes);
        ++freed_times[unit];
        EXPECT_GT(workers[use.worker].epoch, added_at[unit]) << "seed " << seed;
      }
    }
    EXPECT_EQ(quiescence.waiting(), 0u) << "seed " << seed;
    EXPECT_EQ(freed_times.size(), next_unit - 1);
    for (const auto& [unit, times] : freed_times) EXPECT_EQ(times, 1) << unit;
  }
}

}  // namespace
}  // namespace millrace
