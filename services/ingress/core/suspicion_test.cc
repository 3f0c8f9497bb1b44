#include "services/ingress/core/suspicion.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace millrace {
namespace {

constexpr WorkerDeath kExecution = {Stage::kExecution, 1, SIGSEGV};
constexpr WorkerDeath kFeatures = {Stage::kFeatures, 2, SIGSEGV};
constexpr WorkerDeath kKilled = {Stage::kExecution, 3, 0};

TEST(Suspicion, ASecondDeathAloneAtTheSameStageIsPoison) {
  Suspicion request;
  EXPECT_FALSE(request.suspect());
  EXPECT_FALSE(request.Died(kExecution, false));
  EXPECT_TRUE(request.suspect());
  EXPECT_TRUE(request.Died(kExecution, true));
  EXPECT_EQ(request.deaths().size(), 2u);
  request.Clear();
  EXPECT_FALSE(request.suspect());
  EXPECT_FALSE(request.Died(kExecution, false));
}

TEST(Suspicion, FromOutsideItTakesOneMore) {
  Suspicion request;
  EXPECT_FALSE(request.Died(kKilled, false));
  EXPECT_FALSE(request.Died(kKilled, true));
  EXPECT_TRUE(request.Died(kKilled, true));
}

TEST(Suspicion, DeathsAtTwoStagesAreNotAddedUp) {
  Suspicion request;
  EXPECT_FALSE(request.Died(kFeatures, false));
  EXPECT_FALSE(request.Died(kExecution, true));
  EXPECT_TRUE(request.Died(kExecution, true)) << "now the same stage, twice";
}

TEST(Suspicion, ADeathAmongOthersProvesNothing) {
  Suspicion request;
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(request.Died(kExecution, false));
}

}  // namespace
}  // namespace millrace
