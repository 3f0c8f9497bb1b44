#include "services/supervisor/scale_policy.h"

#include "gtest/gtest.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr uint64_t kMb = 1 << 20;

ScaleLook Roomy(Stage stage, int64_t wanted) {
  ScaleLook look;
  look.stage = stage;
  look.wanted = wanted;
  look.most = MostProcesses(Config(), stage);
  look.now = 1;
  look.lanes_of_all = 5;
  look.bytes_of_all = 100 * kMb;
  look.bytes_each = 20 * kMb;
  look.plan_bytes = 10 * kMb;
  look.budget_bytes = 4096 * kMb;
  return look;
}

TEST(Scale, EveryCountWithinTheTableAndNoOther) {
  for (const StageRow& row : kStageRows) {
    for (int64_t wanted = -1; wanted < 12; ++wanted) {
      const bool allowed =
          row.scalable && wanted >= 1 && wanted <= MostProcesses(Config(), row.stage);
      EXPECT_EQ(CheckScale(Roomy(row.stage, wanted)).ok(), allowed)
          << StageName(row.stage) << " " << wanted;
    }
  }
}

TEST(Scale, RefusalsNameTheField) {
  EXPECT_NE(CheckScale(Roomy(Stage::kRegistry, 2)).message().find("stage:"),
            absl::string_view::npos);
  EXPECT_NE(CheckScale(Roomy(Stage::kIngress, 3)).message().find("count:"),
            absl::string_view::npos);
}

TEST(Scale, TheBudgetCountsTwoIncarnations) {
  ScaleLook look = Roomy(Stage::kExecution, 3);
  look.budget_bytes = (2 * (100 + 2 * 20) + 10) * kMb;
  EXPECT_TRUE(CheckScale(look).ok());
  look.budget_bytes -= 1;
  EXPECT_EQ(CheckScale(look).code(), absl::StatusCode::kResourceExhausted);
}

TEST(Scale, GoingDownNeedsNoRoom) {
  ScaleLook look = Roomy(Stage::kFeatures, 1);
  look.now = 4;
  look.budget_bytes = 0;
  EXPECT_TRUE(CheckScale(look).ok());
}

TEST(Scale, TheRosterHolds64Lanes) {
  ScaleLook look = Roomy(Stage::kFeatures, 2);
  look.lanes_of_all = 63;
  EXPECT_TRUE(CheckScale(look).ok());
  look.lanes_of_all = 64;
  EXPECT_EQ(CheckScale(look).code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace millrace
