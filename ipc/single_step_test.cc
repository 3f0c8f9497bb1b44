// The stepper itself: does it see every state, and only those?
#include "ipc/testing/single_step.h"

#include <sys/mman.h>
#include <unistd.h>

#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

struct Words {
  std::atomic<uint64_t> a, b;
};

TEST(SingleStepTest, EveryStoreIsSeenAlone) {
  const SharedBox<Words> words;
  SteppedProcess child([&](Markers* markers) {
    markers->Begin();
    words->a = 1;
    words->b = 1;
    words->a = 2;
    markers->End();
  });
  ASSERT_EQ(child.Run(), Stop::kBegin);
  std::vector<std::pair<uint64_t, uint64_t>> states;
  const uint64_t points = child.Step([&] {
    const std::pair<uint64_t, uint64_t> now = {words->a, words->b};
    if (states.empty() || states.back() != now) states.push_back(now);
  });
  EXPECT_EQ(child.stop(), Stop::kEnd);
  EXPECT_GT(points, 3u);
  using P = std::pair<uint64_t, uint64_t>;
  EXPECT_THAT(states, ElementsAre(P{0, 0}, P{1, 0}, P{1, 1}, P{2, 1}));
  EXPECT_EQ(child.Run(), Stop::kExited);
}

TEST(SingleStepTest, AKillLeavesTheStateOfItsInstruction) {
  const SharedBox<Words> words;
  std::set<uint64_t> left;
  for (uint64_t steps = 0; steps < 600; steps += 7) {
    words->a = 0;
    SteppedProcess child([&](Markers* markers) {
      markers->Begin();
      while (words->a < 1000) words->a = words->a + 1;
      markers->End();
    });
    ASSERT_EQ(child.Run(), Stop::kBegin);
    uint64_t seen = 0;
    EXPECT_EQ(child.Step([&] { seen = words->a; }, steps), steps + 1);
    EXPECT_EQ(child.stop(), Stop::kNone);
    child.Kill();
    EXPECT_EQ(words->a, seen);
    left.insert(seen);
  }
  EXPECT_GT(left.size(), 3u);
}

TEST(SingleStepTest, ADeathOfItsOwnIsTold) {
  SteppedProcess aborts([](Markers* markers) {
    markers->Begin();
    MR_CHECK(markers == nullptr, "planted");
    markers->End();
  });
  ASSERT_EQ(aborts.Run(), Stop::kBegin);
  aborts.Step([] {});
  EXPECT_EQ(aborts.stop(), Stop::kDied);
  SteppedProcess fails([](Markers*) { _exit(3); });
  EXPECT_EQ(fails.Run(), Stop::kDied);
}

TEST(SingleStepTest, ADescriptorIsTaken) {
  SteppedProcess child([](Markers* markers) {
    markers->Show(memfd_create("shown", 0));
    markers->Meet();
  });
  ASSERT_EQ(child.Run(), Stop::kMeet);
  EXPECT_TRUE(child.Shown(0).valid());
  EXPECT_FALSE(child.TakeFd(999).valid());
}

}  // namespace
}  // namespace millrace
