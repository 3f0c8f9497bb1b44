// The checker of histories: each planted history is seen, and a good one is not accused.
#include "services/e2e/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kMs = 1'000'000;

HistoryRules Rules() {
  HistoryRules rules;
  rules.deadline_ns = 1000 * kMs;
  rules.documented = {"OK", "UNAVAILABLE", "HTTP 504"};
  rules.repeatable = {"LOST"};
  return rules;
}

std::string At(const char* kind, int64_t number, int64_t at_ms, const char* code = "") {
  return std::string(kind) + " " + std::to_string(number) + " " + std::to_string(at_ms * kMs) +
         " " + code + "\n";
}

HistoryReport Check(const std::string& text) { return CheckHistory(text, Rules()); }

void ExpectViolation(const std::string& text, const char* words) {
  EXPECT_THAT(Check(text).violations, ElementsAre(HasSubstr(words))) << text;
}

TEST(History, AGoodOneIsNotAccused) {
  const HistoryReport report =
      Check(At("S", 0, 1) + At("S", 1, 2) + At("E", 1, 3, "UNAVAILABLE") + At("E", 0, 900, "OK") +
            At("S", 2, 901) + At("A", 2, 1500, "LOST") + At("S", 2, 1501) + At("E", 2, 2400, "OK"));
  EXPECT_THAT(report.violations, IsEmpty());
  EXPECT_THAT(report.late_violations, IsEmpty());
  EXPECT_EQ(report.requests, 3);
  EXPECT_EQ(report.ok, 2);
  EXPECT_EQ(report.tries, 4);
  EXPECT_EQ(report.late, 0);
  EXPECT_LT(report.worst_late_ns, 0);
}

TEST(History, ARequestWithoutAnEndIsSeen) {
  ExpectViolation(At("S", 0, 1) + At("S", 1, 1) + At("E", 1, 2, "OK"), "request 0 has no end");
  ExpectViolation(At("S", 0, 1) + At("A", 0, 2, "LOST"), "request 0 has no end");
}

TEST(History, TwoEndsAreSeen) {
  ExpectViolation(At("S", 0, 1) + At("E", 0, 2, "OK") + At("E", 0, 3, "OK"), "ended twice");
  ExpectViolation(At("S", 0, 1) + At("E", 0, 2, "OK") + At("S", 0, 3), "sent after its end");
}

TEST(History, AnEndOfNothingIsSeen) {
  EXPECT_THAT(Check(At("E", 7, 2, "OK")).violations, ElementsAre(HasSubstr("without being sent")));
  ExpectViolation(At("S", 0, 5) + At("E", 0, 4, "OK"), "ended before it was sent");
  ExpectViolation(At("S", 0, 5) + At("S", 0, 6) + At("E", 0, 7, "OK"), "on its way");
}

TEST(History, AWrongAnswerAndAnUndocumentedCodeAreSeen) {
  ExpectViolation(At("S", 0, 1) + At("E", 0, 2, "MISMATCHED"), "not documented");
  ExpectViolation(At("S", 0, 1) + At("E", 0, 2, "INTERNAL"), "not documented");
  ExpectViolation(At("S", 0, 1) + At("E", 0, 2, "HTTP 500"), "not documented");
  EXPECT_THAT(Check(At("S", 0, 1) + At("E", 0, 2, "HTTP 504")).violations, IsEmpty());
  ExpectViolation(At("S", 0, 1) + At("A", 0, 2, "INTERNAL") + At("S", 0, 3) + At("E", 0, 4, "OK"),
                  "asked again after this");
}

TEST(History, WhatCannotBeReadIsSeen) {
  EXPECT_THAT(Check("X 1 2\n").violations, ElementsAre(HasSubstr("cannot be read")));
  EXPECT_THAT(Check("S one 2\n").violations, ElementsAre(HasSubstr("cannot be read")));
  EXPECT_THAT(CheckHistoryFile("/nowhere", Rules()).violations,
              ElementsAre(HasSubstr("cannot be read")));
}

TEST(History, OneThatIsFarTooLateIsSeenAndOneInAThousandMayBeALittleLate) {
  std::string text;
  for (int64_t i = 0; i < 2000; ++i) {
    text += At("S", i, 10) + At("E", i, i < 2 ? 1070 : 1050, "OK");
  }
  EXPECT_THAT(Check(text).late_violations, IsEmpty());
  EXPECT_EQ(Check(text).late, 2);
  text += At("S", 2000, 10) + At("E", 2000, 1070, "OK");
  EXPECT_THAT(Check(text).late_violations, ElementsAre(HasSubstr("3 of 2001 tries")));
  text = At("S", 0, 10) + At("E", 0, 1511, "OK");
  EXPECT_THAT(Check(text).late_violations,
              ElementsAre(HasSubstr("late by 501 ms"), HasSubstr("1 of 1 tries")));
}

// Each try has its own deadline.
TEST(History, ATryThatWasLateIsSeenThoughTheNextWasNot) {
  const HistoryReport report =
      Check(At("S", 0, 10) + At("A", 0, 1600, "LOST") + At("S", 0, 1601) + At("E", 0, 1602, "OK"));
  EXPECT_THAT(report.violations, IsEmpty());
  EXPECT_THAT(report.late_violations,
              ElementsAre(HasSubstr("late by 590 ms"), HasSubstr("1 of 2 tries")));
}

}  // namespace
}  // namespace millrace
