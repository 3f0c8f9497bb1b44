// The link's own code and that of parking under relacy: every schedule of small cases, many of
// larger ones, with each value that C++ lets a load give. What is planted is found.
//
// A failed test prints each step of the schedule and its state. To see it again:
//   MILLRACE_REPLAY=STATE bazel-bin/ipc/link_interleaving_test --gtest_filter=Link.ManySchedules
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/interleaving.h"
#include "ipc/testing/link_suites.h"

namespace millrace {
namespace {

using ::testing::AnyOf;

constexpr uint64_t kSchedules = 100'000;
// A mistake is found within this many; most are within the first few.
constexpr uint64_t kFoundWithin = 2'000;

class Interleaving : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers do not know relacy's threads and its allocator";
  }
};
class Link : public Interleaving {};
class Parking : public Interleaving {};
class LinkMistake : public Interleaving {};
class ParkingMistake : public Interleaving {};

template <typename Suite, typename How>
void ExpectNothing(const How& how) {
  const Found found = Search<Suite>(how);
  EXPECT_EQ(found.what, rl::test_result_success) << found;
}

TEST_F(Link, ManySchedules) {
  ExpectNothing<LinkSuite<Relacy, Mistake::kNone, 2, 6>>(Random{kSchedules});
  ExpectNothing<LinkSuite<Relacy, Mistake::kNone, 4, 10>>(Random{kSchedules});
}

TEST_F(Link, EveryScheduleOfALapWithTwoSwitches) {
  ExpectNothing<LinkSuite<Relacy, Mistake::kNone, 2, 2>>(Bounded{2});
  ExpectNothing<LinkSuite<Relacy, Mistake::kNone, 1, 2>>(Bounded{2});
}

TEST_F(Parking, ManySchedulesOfOneProducer) {
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 1, 2, 4>>(Random{kSchedules});
}

TEST_F(Parking, ManySchedulesOfTwoProducers) {
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 2, 2, 3>>(Random{kSchedules});
}

TEST_F(Parking, ManySchedulesOfAskAndAnswer) {
  ExpectNothing<AskSuite<Relacy, Mistake::kNone, 2, 4>>(Random{kSchedules});
}

TEST_F(Parking, EveryScheduleOfOneMessage) {
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 1, 2, 1>>(Full{});
}

TEST_F(Parking, EveryScheduleWithFewSwitches) {
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 1, 2, 2>>(Bounded{3});
  ExpectNothing<FanInSuite<Relacy, Mistake::kNone, 2, 2, 1>>(Bounded{1});
  ExpectNothing<AskSuite<Relacy, Mistake::kNone, 2, 2>>(Bounded{1});
}

// The mistake is found, and what was printed of it finds it again at once.
template <typename Suite, typename How, typename What>
void ExpectFound(const How& how, const What& what) {
  const Found found = Search<Suite>(how);
  ASSERT_THAT(found.what, what) << found;
  const Found again = Search<Suite>(how, found.state);
  EXPECT_EQ(again.what, found.what) << again;
  EXPECT_EQ(again.iterations, found.iterations);
}

// Bytes that were read or written without an order, or wrong ones.
template <typename Model, Mistake kMistake>
void ExpectRace() {
  ExpectFound<LinkSuite<Model, kMistake, 2, 6>>(
      Random{kFoundWithin}, AnyOf(rl::test_result_data_race, rl::test_result_user_assert_failed));
}

TEST_F(LinkMistake, AnOrderIsForgotten) {
  ExpectRace<Forgetful, Mistake::kSubmitRelaxed>();
  ExpectRace<Forgetful, Mistake::kTakeRelaxed>();
  ExpectRace<Forgetful, Mistake::kReturnRelaxed>();
  ExpectRace<Forgetful, Mistake::kCollectReturnsRelaxed>();
  ExpectRace<Forgetful, Mistake::kPublishCreditsRelaxed>();
  ExpectRace<Forgetful, Mistake::kCollectCreditsRelaxed>();
}

TEST_F(LinkMistake, TheProducerPublishesBeforeTheMessageIsThere) {
  ExpectRace<LateBody, Mistake::kNone>();
}

TEST_F(LinkMistake, TheProducerPublishesBeforeThePayload) {
  ExpectRace<Relacy, Mistake::kPublishBeforePayload>();
}

TEST_F(LinkMistake, TheConsumerReturnsBeforeItsReads) {
  ExpectRace<Relacy, Mistake::kReturnBeforeRead>();
}

TEST_F(LinkMistake, TheConsumerReadsASlotAgain) { ExpectRace<Relacy, Mistake::kReadAfterCredit>(); }

TEST_F(LinkMistake, ABlockIsUsedAgainBeforeItsReturn) {
  ExpectRace<Relacy, Mistake::kReuseBeforeReturn>();
}

// Nobody can go on, or all that still run wait for one who sleeps.
template <typename Suite, typename How>
void ExpectLostWakeUp(const How& how) {
  ExpectFound<Suite>(how, AnyOf(rl::test_result_deadlock, rl::test_result_livelock));
}

template <typename Model, Mistake kMistake>
void ExpectLostWakeUps() {
  ExpectLostWakeUp<FanInSuite<Model, kMistake, 1, 2, 4>>(Random{kFoundWithin});
  ExpectLostWakeUp<FanInSuite<Model, kMistake, 2, 2, 3>>(Random{kFoundWithin});
  ExpectLostWakeUp<AskSuite<Model, kMistake, 2, 4>>(Random{kFoundWithin});
}

TEST_F(ParkingMistake, NoSecondLook) { ExpectLostWakeUps<Relacy, Mistake::kNoSecondLook>(); }

TEST_F(ParkingMistake, AFlagInsteadOfAnEpoch) {
  ExpectLostWakeUps<Forgetful, Mistake::kFlagForEpoch>();
}

TEST_F(ParkingMistake, TheProducerWakesBeforeItPublishes) {
  ExpectLostWakeUps<Relacy, Mistake::kWakeBeforePublish>();
}

TEST_F(ParkingMistake, TheBellIsClearedBeforeTheSleep) {
  ExpectLostWakeUps<Relacy, Mistake::kClearBeforeSleep>();
}

TEST_F(ParkingMistake, NoFenceF1) {
  ExpectLostWakeUp<FanInSuite<Fenceless<0b10>, Mistake::kNone, 1, 2, 1>>(Full{});
  ExpectLostWakeUp<FanInSuite<Fenceless<0b100>, Mistake::kNone, 2, 2, 3>>(Random{kFoundWithin});
}

TEST_F(ParkingMistake, NoFenceF2) {
  ExpectLostWakeUp<FanInSuite<Fenceless<0b1>, Mistake::kNone, 1, 2, 1>>(Full{});
  ExpectLostWakeUp<FanInSuite<Fenceless<0b1>, Mistake::kNone, 2, 2, 3>>(Random{kFoundWithin});
}

}  // namespace
}  // namespace millrace
