// The sums of the windows: rings and arenas hold what admission may have out at a time.
#include "ipc/window.h"

#include <vector>

#include "gtest/gtest.h"

namespace millrace {
namespace {

std::vector<Config> Extremes() {
  std::vector<Config> configs(1);
  for (int64_t bytes : {int64_t{1} << 10, int64_t{1} << 20, int64_t{64} << 20}) {
    for (int64_t in_flight : {1, 256, 4096}) {
      Config config;
      config.max_request_bytes = bytes;
      config.max_in_flight = in_flight;
      configs.push_back(config);
    }
  }
  return configs;
}

TEST(WindowTest, RingsHoldTheSumOfTheWindows) {
  EXPECT_LE(kWindowUnits * kMaxIngressLanes, kSlots);
}

TEST(WindowTest, TheLargestPackHasABlock) {
  for (const Config& config : Extremes()) {
    for (const ArenaShape& shape : {WorkerArenaShape(config), IngressArenaShape(config)}) {
      PackWriter pack(1);
      ASSERT_TRUE(pack.Add(0, DataType::kUint8, 1, config.max_request_bytes));
      EXPECT_GT(shape.BlockBytes(pack.bytes()), 0u);
      EXPECT_GT(shape.BlockBytes(MaxBlockBytes(config)), 0u);
    }
  }
}

TEST(WindowTest, AWorkersArenaHoldsEveryLanesWindowSpentOnOneClass) {
  for (const Config& config : Extremes()) {
    const ArenaShape shape = WorkerArenaShape(config);
    for (const ArenaShape::Class& c : shape.classes) {
      const size_t affordable = WorkerWindowBytes(config) / c.block_bytes;
      EXPECT_GE(c.count, IngressLanes(config) * std::min(kWindowUnits, affordable));
      EXPECT_GE(c.count, IngressLanes(config));  // at least one of the largest for each
    }
  }
}

TEST(WindowTest, ArenasStayWithinTheirOffsets) {
  for (const Config& config : Extremes()) {
    EXPECT_LE(IngressArenaShape(config).TotalBytes(), UINT32_MAX)
        << config.max_request_bytes << " bytes, " << config.max_in_flight << " in flight";
    EXPECT_LE(WorkerArenaShape(config).TotalBytes(), UINT32_MAX);
  }
}

}  // namespace
}  // namespace millrace
