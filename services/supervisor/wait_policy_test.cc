#include "services/supervisor/wait_policy.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr WaitMode kSpin = WaitMode::kSpin, kYield = WaitMode::kYield, kPark = WaitMode::kPark;

CpuList Cpus(int count) {
  CpuList cpus;
  for (int i = 0; i < count; ++i) cpus.push_back(i);
  return cpus;
}

// One process of each stage, unpinned: five lanes.
std::vector<WaitProcess> Unpinned(int cpus) {
  return {{Stage::kIngress, 2, Cpus(cpus)},
          {Stage::kFeatures, 1, Cpus(cpus)},
          {Stage::kExecution, 1, Cpus(cpus)},
          {Stage::kAggregation, 1, Cpus(cpus)}};
}

// The mode of execution after so many samples.
WaitMode After(WaitPolicy* policy, int samples, double foreign, int cpus) {
  for (int i = 0; i < samples; ++i) policy->Decide({foreign}, Unpinned(cpus));
  return policy->modes()[static_cast<size_t>(Stage::kExecution)];
}

TEST(WaitPolicy, ANamedModeIsKept) {
  for (WaitMode mode : {kSpin, kYield, kPark}) {
    WaitPolicy policy(mode, 2);
    EXPECT_EQ(policy.modes(), AllWait(mode));
    EXPECT_EQ(policy.Decide({2.0}, Unpinned(2)), AllWait(mode));
    EXPECT_EQ(ForcedWait(WaitModeName(mode)), mode);
  }
  EXPECT_EQ(ForcedWait("auto"), std::nullopt);
}

TEST(WaitPolicy, LanesYieldUntilThereWasRoomForSomeTime) {
  WaitPolicy policy(std::nullopt, 6);
  EXPECT_EQ(policy.modes(), AllWait(kYield));
  EXPECT_EQ(After(&policy, WaitPolicy::kLate - 1, 0, 6), kYield);
  EXPECT_EQ(After(&policy, 1, 0, 6), kSpin) << "five lanes and one thread more";
  EXPECT_EQ(After(&policy, WaitPolicy::kSoon - 1, 0.5, 6), kSpin);
  EXPECT_EQ(After(&policy, 1, 0.5, 6), kYield);
  // Not by samples that do not follow each other.
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(After(&policy, WaitPolicy::kLate - 1, 0, 6), kYield);
    EXPECT_EQ(After(&policy, 1, 0.5, 6), kYield);
  }
}

TEST(WaitPolicy, TheQuotaCountsNotTheCpus) {
  WaitPolicy policy(std::nullopt, 5.9);
  EXPECT_EQ(After(&policy, 100, 0, 64), kYield);
}

TEST(WaitPolicy, AClientIsNoHogAndABurnerIs) {
  WaitPolicy policy(std::nullopt, 2);
  EXPECT_EQ(After(&policy, 100, 0.9, 2), kYield) << "a client that saturates the server";
  EXPECT_EQ(After(&policy, WaitPolicy::kSoon - 1, 1.4, 2), kYield);
  EXPECT_EQ(After(&policy, 1, 0.9, 2), kYield) << "a burst";
  EXPECT_EQ(After(&policy, WaitPolicy::kSoon - 1, 1.4, 2), kYield);
  EXPECT_EQ(After(&policy, 1, 1.4, 2), kPark);
  EXPECT_EQ(After(&policy, 100, 1.0, 2), kPark) << "between the two limits";
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(After(&policy, WaitPolicy::kLate - 1, 0.7, 2), kPark);
    EXPECT_EQ(After(&policy, 1, 1.0, 2), kPark);
  }
  EXPECT_EQ(After(&policy, WaitPolicy::kLate, 0.7, 2), kYield);
}

TEST(WaitPolicy, OneBurnerOnManyCoresDisturbsNobody) {
  WaitPolicy policy(std::nullopt, 16);
  EXPECT_EQ(After(&policy, 10, 1.0, 16), kSpin);
  EXPECT_EQ(After(&policy, 10, 10.0, 16), kPark);
}

WaitMode ModeOf(const WaitModes& modes, Stage stage) { return modes[static_cast<size_t>(stage)]; }

TEST(WaitPolicy, LanesWithTheirOwnCpusSpinWhateverElseHappens) {
  std::vector<WaitProcess> all = {{Stage::kIngress, 2, {0, 1}},
                                  {Stage::kFeatures, 1, {2, 3}},
                                  {Stage::kExecution, 1, {4}},
                                  {Stage::kExecution, 1, {5}},
                                  {Stage::kAggregation, 1, {3}}};
  WaitPolicy policy(std::nullopt, 6);
  for (int i = 1; i <= WaitPolicy::kSoon + 1; ++i) {
    const WaitModes modes = policy.Decide({5.5}, all);
    const WaitMode shared = i < WaitPolicy::kSoon ? kYield : kPark;
    EXPECT_EQ(ModeOf(modes, Stage::kIngress), kSpin);
    EXPECT_EQ(ModeOf(modes, Stage::kExecution), kSpin);
    // These two may meet on CPU 3.
    EXPECT_EQ(ModeOf(modes, Stage::kFeatures), shared);
    EXPECT_EQ(ModeOf(modes, Stage::kAggregation), shared);
  }
  // One CPU for two lanes, and one process of a stage that shares.
  all[0].cpus = {0};
  all[3].cpus = {4, 5};
  const WaitModes modes = policy.Decide({5.5}, all);
  EXPECT_EQ(ModeOf(modes, Stage::kIngress), kPark);
  EXPECT_EQ(ModeOf(modes, Stage::kExecution), kPark);
}

// What lanes own is no room for the others.
TEST(WaitPolicy, OnlyTheCoresThatAreLeftCount) {
  std::vector<WaitProcess> all = {{Stage::kExecution, 1, {0, 1, 2, 3}},
                                  {Stage::kFeatures, 1, {4, 5, 6}},
                                  {Stage::kAggregation, 1, {4, 5, 6}}};
  WaitPolicy fits(std::nullopt, 7), tight(std::nullopt, 6.5);
  for (int i = 0; i < 10; ++i) {
    fits.Decide({0}, all);
    tight.Decide({0}, all);
  }
  EXPECT_EQ(ModeOf(fits.modes(), Stage::kFeatures), kSpin);
  EXPECT_EQ(ModeOf(tight.modes(), Stage::kFeatures), kYield);
  EXPECT_EQ(ModeOf(tight.modes(), Stage::kExecution), kSpin);
}

TEST(ShareOf, GivesEachItsOwnWhereThereAreEnough) {
  const CpuList list = {1, 3, 5, 7, 9};
  EXPECT_EQ(ShareOf(list, 0, 1), list);
  EXPECT_EQ(ShareOf(list, 0, 2), (CpuList{1, 3}));
  EXPECT_EQ(ShareOf(list, 1, 2), (CpuList{5, 7, 9}));
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(ShareOf(list, i, 5), CpuList{list[i]});
  EXPECT_EQ(ShareOf(list, 3, 6), list);
  EXPECT_EQ(ShareOf({}, 0, 1), CpuList());
}

}  // namespace
}  // namespace millrace
