// The policy over a virtual clock: a stage of workers with a queue, and loads that it must follow
// or must not.
#include "services/supervisor/scale_governor.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "common/clock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr int64_t kLookNs = 250 * kNanosPerMilli;

ScaleBounds Bounds() { return {1, 4, 2 * kNanosPerMilli, kNanosPerSecond, 10 * kNanosPerSecond}; }

// Workers that do 1,000 requests a second each, with one queue before them that holds 100 ms of
// work at most, as admission would see to.
class Stage {
 public:
  explicit Stage(const ScaleBounds& bounds = Bounds()) : governor(bounds) {}

  // So many looks at a load (requests a second, by the time in seconds).
  void Run(double seconds, const std::function<double(double)>& rate) {
    for (const int64_t end_ns = now_ns + static_cast<int64_t>(seconds * kNanosPerSecond);
         now_ns < end_ns; now_ns += kLookNs) {
      const double look_s = static_cast<double>(kLookNs) / kNanosPerSecond;
      const double arrive = rate(static_cast<double>(now_ns) / kNanosPerSecond) * look_s;
      const double can = 1000.0 * count * look_s;
      const double work = std::min(queue + arrive, can);
      queue = std::min(queue + arrive - work, 100.0 * count);
      StageLoad load;
      load.processes = count;
      load.busy = work / can * count;
      load.delay_ns = static_cast<int64_t>(queue / count * kNanosPerMilli);
      load.held = held;
      const uint32_t wanted = governor.Decide(load, now_ns);
      EXPECT_LE(std::max(wanted, count) - std::min(wanted, count), 1u) << "one step at a time";
      if (wanted != count) steps.push_back({now_ns, wanted});
      count = wanted;
    }
  }
  void Run(double seconds, double rate) {
    Run(seconds, [rate](double) { return rate; });
  }

  struct Step {
    int64_t at_ns;
    uint32_t to;
  };
  ScaleGovernor governor;
  uint32_t count = 1;
  double queue = 0;
  bool held = false;
  int64_t now_ns = kNanosPerSecond;
  std::vector<Step> steps;
};

TEST(ScaleGovernor, AStepOfLoadIsFollowedUpAndDown) {
  Stage stage;
  stage.Run(20, 500);
  EXPECT_TRUE(stage.steps.empty());
  const int64_t step_ns = stage.now_ns;
  stage.Run(20, 2500);
  EXPECT_EQ(stage.count, 3u);
  ASSERT_EQ(stage.steps.size(), 2u);
  EXPECT_GE(stage.steps[0].at_ns - step_ns, kNanosPerSecond) << "not by one look alone";
  EXPECT_GE(stage.steps[1].at_ns - stage.steps[0].at_ns, kNanosPerSecond) << "the first had time";
  const int64_t end_ns = stage.now_ns;
  stage.Run(60, 100);
  EXPECT_EQ(stage.count, 1u);
  ASSERT_EQ(stage.steps.size(), 4u);
  EXPECT_GE(stage.steps[2].at_ns - end_ns, 10 * kNanosPerSecond) << "down takes longer than up";
  EXPECT_GE(stage.steps[3].at_ns - stage.steps[2].at_ns, 10 * kNanosPerSecond);
}

TEST(ScaleGovernor, ItStaysWithinItsBounds) {
  Stage stage;
  stage.Run(60, 100'000);
  EXPECT_EQ(stage.count, 4u);
  stage.Run(300, 0);
  EXPECT_EQ(stage.count, 1u);
  stage.count = 7;  // was pinned there
  stage.Run(1, 0);
  EXPECT_EQ(stage.count, 4u);
}

TEST(ScaleGovernor, ALoadThatOscillatesFasterThanTheRunsMovesNothing) {
  // A burst of half a second every two seconds.
  Stage stage;
  stage.Run(120, [](double t) { return t - 2 * static_cast<int>(t / 2) < 0.5 ? 1300.0 : 300.0; });
  EXPECT_TRUE(stage.steps.empty()) << "to " << stage.steps[0].to;
}

TEST(ScaleGovernor, ALoadThatOscillatesMoreSlowlyIsKeptUpWithNotFollowed) {
  // Four seconds of what needs two, then four of what one could do: two stay.
  Stage stage;
  stage.Run(240, [](double t) { return static_cast<int>(t / 4) % 2 == 0 ? 1800.0 : 400.0; });
  EXPECT_EQ(stage.count, 2u);
  EXPECT_EQ(stage.steps.size(), 1u);
}

TEST(ScaleGovernor, OneThatIsAsLongAsTheRunsIsFollowedEverMoreRarely) {
  // 15 s of each: longer than the wait for a removal, which was wrong each time.
  Stage stage;
  stage.Run(600, [](double t) { return static_cast<int>(t / 15) % 2 == 0 ? 1800.0 : 100.0; });
  EXPECT_LE(stage.steps.size(), 10u) << "20 cycles would be 40 steps";
  EXPECT_EQ(stage.count, 2u);
  // And what is over is over.
  stage.Run(300, 100);
  EXPECT_EQ(stage.count, 1u);
}

TEST(ScaleGovernor, AProcessThatIsNeededForTheWorkIsNotTakenAway) {
  // No queue, but two processes are each 80 % busy: one could not do it.
  Stage stage;
  stage.count = 2;
  stage.Run(120, 1600);
  EXPECT_EQ(stage.count, 2u);
  EXPECT_TRUE(stage.steps.empty());
}

TEST(ScaleGovernor, BetweenTheTwoMarksNothingMoves) {
  ScaleGovernor governor(Bounds());
  for (int64_t now_ns = 0; now_ns < 120 * kNanosPerSecond; now_ns += kLookNs) {
    // Bursts wait though there is room: one less would make them wait longer.
    ASSERT_EQ(governor.Decide({2, kNanosPerMilli, 0.3}, now_ns), 2u);
  }
}

TEST(ScaleGovernor, WhileTheStageIsHeldNothingHappensAndNothingIsRemembered) {
  Stage stage;
  stage.held = true;
  stage.Run(30, 5000);
  EXPECT_TRUE(stage.steps.empty());
  stage.held = false;
  const int64_t from_ns = stage.now_ns;
  stage.Run(10, 5000);
  ASSERT_FALSE(stage.steps.empty());
  EXPECT_GE(stage.steps[0].at_ns - from_ns, kNanosPerSecond);
}

}  // namespace
}  // namespace millrace
