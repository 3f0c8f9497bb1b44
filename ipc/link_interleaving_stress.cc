// More of ipc/link_interleaving_test.cc: larger cases, more schedules, more switches. What is
// planted there is not planted again.
#include "gtest/gtest.h"
#include "ipc/testing/interleaving.h"
#include "ipc/testing/link_suites.h"

namespace millrace {
namespace {

constexpr uint64_t kSchedules = 300'000;

class Interleaving : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers do not know relacy's threads and its allocator";
  }
};
class Link : public Interleaving {};
class Parking : public Interleaving {};

template <typename Suite, typename How>
void ExpectNothing(const How& how) {
  const Found found = Search<Suite>(how);
  EXPECT_EQ(found.what, rl::test_result_success) << found;
}

TEST_F(Link, ManySchedules) {
  ExpectNothing<LinkSuite<Relacy, Mistake::kNone, 2, 12>>(Random{kSchedules});
  ExpectNothing<LinkSuite<Relacy, Mistake::kNone, 4, 16>>(Random{kSchedules});
}

TEST_F(Link, EveryScheduleOfMoreThanALapWithOneSwitch) {
  ExpectNothing<LinkSuite<Relacy, Mistake::kNone, 2, 3>>(Bounded{1});
}

TEST_F(Parking, ManySchedules) {
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 1, 2, 8>>(Random{kSchedules});
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 2, 2, 4>>(Random{kSchedules});
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 3, 2, 2>>(Random{kSchedules});
  ExpectNothing<AskSuite<Relacy, Mistake::kNone, 2, 6>>(Random{kSchedules});
}

TEST_F(Parking, EveryScheduleWithMoreSwitches) {
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 1, 2, 2>>(Bounded{4});
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 2, 2, 1>>(Bounded{2});
  ExpectNothing<AskSuite<Relacy, Mistake::kNone, 2, 2>>(Bounded{2});
}

}  // namespace
}  // namespace millrace
