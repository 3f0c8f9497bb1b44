#include "services/supervisor/lifecycle.h"

#include <set>

#include "gtest/gtest.h"

namespace millrace {
namespace {

using S = ProcessState;
using E = ProcessEvent;

TEST(Lifecycle, TheUsualLife) {
  EXPECT_EQ(NextState(S::kStarting, E::kAnnounce), S::kAnnounced);
  EXPECT_EQ(NextState(S::kAnnounced, E::kBecomeReady), S::kReady);
  EXPECT_EQ(NextState(S::kReady, E::kDrain), S::kLeaving);
  EXPECT_EQ(NextState(S::kLeaving, E::kStop), S::kStopping);
  EXPECT_EQ(NextState(S::kStopping, E::kDeath), S::kDying);
}

TEST(Lifecycle, AnnouncingTwiceIsAFault) {
  for (S state : {S::kAnnounced, S::kReady, S::kLeaving, S::kStopping, S::kDying}) {
    EXPECT_EQ(NextState(state, E::kAnnounce), std::nullopt) << RowOf(state).name;
  }
}

// No state is ever entered a second time: every life is finite, whatever the order of events.
TEST(Lifecycle, NoEventLeadsBack) {
  for (const ProcessStateRow& row : kProcessStates) {
    for (const std::optional<S>& next : row.next) {
      EXPECT_GE(next.value_or(row.state), row.state) << row.name;
    }
  }
}

TEST(Lifecycle, TheRosterNamesNoDyingAndNoUnannouncedProcess) {
  EXPECT_FALSE(RowOf(S::kStarting).roster.has_value());
  EXPECT_FALSE(RowOf(S::kDying).roster.has_value());
  for (const ProcessStateRow& row : kProcessStates) {
    // Routes may name ready lanes only, and only ready lanes owe a beat or finish their work.
    EXPECT_EQ(row.roster == RosterState::kReady, row.state == S::kReady) << row.name;
    EXPECT_TRUE(!row.links || row.roster.has_value()) << row.name;
  }
}

TEST(Lifecycle, NamesDiffer) {
  std::set<std::string_view> names;
  for (const ProcessStateRow& row : kProcessStates) names.insert(row.name);
  EXPECT_EQ(names.size(), kProcessStateCount);
}

}  // namespace
}  // namespace millrace
