// Some hundred rounds of kills at both ends of links; link_kill_stress has thousands. And what the
// torture says of ends that do something wrong.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/link_torture.h"

namespace millrace {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(LinkKillTest, SurvivorsGoOnWithNothingLostOrTwiceOrLeaked) {
  const LinkTortureResult result = RunLinkTorture(200, 1);
  EXPECT_THAT(result.violations, IsEmpty());
  EXPECT_EQ(result.rounds, 200);
  EXPECT_GT(result.owners_killed, 50);
  EXPECT_GT(result.workers_killed, 50);
  EXPECT_GT(result.both_killed, 10);
  EXPECT_GT(result.unlinked, 10);
  EXPECT_GT(result.done, 1000u);
  EXPECT_GT(result.sent_again, 50u);
  EXPECT_GT(result.taken_back, 50u);
  EXPECT_GT(result.slept, 100u);
}

// Each careless end is found, within the bound, by the sentence that is about it.
struct Careless {
  Planted planted;
  const char* sentence;
};

class CarelessEndTest : public ::testing::TestWithParam<Careless> {};

TEST_P(CarelessEndTest, IsFound) {
  const LinkTortureResult result = RunLinkTorture(2000, 2, GetParam().planted);
  EXPECT_THAT(result.violations, Contains(HasSubstr(GetParam().sentence)))
      << "after " << result.rounds << " rounds";
  printf("found after %d rounds: %s\n", result.rounds,
         result.violations.empty() ? "nothing" : result.violations[0].c_str());
}

INSTANTIATE_TEST_SUITE_P(
    Each, CarelessEndTest,
    ::testing::Values(Careless{Planted::kDrainNothing, "published are lost"},
                      Careless{Planted::kTakeBackEarly, "which lived"},
                      Careless{Planted::kPublishFirst, "the bytes are not those that were sent"},
                      Careless{Planted::kSameAttempt, "sent again without counting"},
                      Careless{Planted::kForgetBlocks, "which has ended"},
                      Careless{Planted::kWakeSeldom, "slept on beside a message"}));

}  // namespace
}  // namespace millrace
