#include "services/supervisor/profile_desk.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace millrace {
namespace {

constexpr int64_t kSecond = kNanosPerSecond;

std::vector<Fd> Memory(const std::string& bytes) {
  std::vector<Fd> fds;
  fds.emplace_back(memfd_create("profile", MFD_CLOEXEC));
  EXPECT_EQ(write(fds[0].get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return fds;
}

ProfileTaken Taken(uint64_t request, absl::StatusCode code = absl::StatusCode::kOk) {
  ProfileTaken taken;
  taken.set_request(request);
  taken.set_code(static_cast<int32_t>(code));
  taken.set_message("why");
  return taken;
}

TEST(ProfileDesk, FromTheQuestionToTheAnswer) {
  ProfileDesk desk;
  EXPECT_FALSE(desk.Has(1));
  ASSERT_TRUE(desk.Expect(1, /*key=*/7, 0, kSecond).ok());
  EXPECT_TRUE(desk.Has(1));
  EXPECT_FALSE(desk.Outcome(1, kSecond).has_value());
  EXPECT_TRUE(desk.Take(7, Taken(1), Memory("samples")));
  const auto outcome = desk.Outcome(1, kSecond);
  ASSERT_TRUE(outcome.has_value() && outcome->ok());
  EXPECT_EQ(**outcome, "samples");
  EXPECT_FALSE(desk.Has(1)) << "it is fetched once";
}

TEST(ProfileDesk, OnlyTheProcessThatWasAskedAnswersAndOnce) {
  ProfileDesk desk;
  ASSERT_TRUE(desk.Expect(1, 7, 0, kSecond).ok());
  EXPECT_FALSE(desk.Take(8, Taken(1), Memory("another's")));
  EXPECT_FALSE(desk.Take(7, Taken(1), {})) << "no descriptor";
  EXPECT_TRUE(desk.Take(7, Taken(1), Memory("samples")));
  EXPECT_FALSE(desk.Take(7, Taken(1), Memory("again")));
  EXPECT_EQ(**desk.Outcome(1, 0), "samples");
  EXPECT_TRUE(desk.Take(7, Taken(1), Memory("late"))) << "that is nobody's fault";
}

TEST(ProfileDesk, WhatCannotBeHadIsToldWithItsReason) {
  ProfileDesk desk;
  for (uint64_t i = 1; i <= 4; ++i) ASSERT_TRUE(desk.Expect(i, 7, 0, kSecond).ok());
  EXPECT_TRUE(desk.Take(7, Taken(1, absl::StatusCode::kFailedPrecondition), {}));
  EXPECT_TRUE(desk.Take(7, Taken(2), Memory(std::string(ProfileDesk::kMostBytes + 1, 'x'))));
  EXPECT_EQ(desk.Outcome(1, 0)->status(), absl::FailedPreconditionError("why"));
  EXPECT_TRUE(absl::IsResourceExhausted(desk.Outcome(2, 0)->status()));
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(desk.Outcome(3, kSecond + ProfileDesk::kPatienceNs)->status()));
  desk.ProcessGone(8);
  EXPECT_FALSE(desk.Outcome(4, 0).has_value());
  desk.ProcessGone(7);
  EXPECT_TRUE(absl::IsUnavailable(desk.Outcome(4, 0)->status()));
}

TEST(ProfileDesk, WhatNobodyFetchesMakesRoom) {
  ProfileDesk desk;
  for (uint64_t i = 1; i <= ProfileDesk::kMost; ++i) {
    ASSERT_TRUE(desk.Expect(i, 7, 0, kSecond).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(desk.Expect(99, 7, 0, kSecond)));
  EXPECT_TRUE(desk.Expect(99, 7, 2 * kSecond + ProfileDesk::kPatienceNs, kSecond).ok());
  EXPECT_FALSE(desk.Has(1));
}

}  // namespace
}  // namespace millrace
