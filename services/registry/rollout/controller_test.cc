#include "services/registry/rollout/controller.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "gtest/gtest.h"
#include "services/registry/rollout/step_route.h"
#include "services/registry/rollout/testing/controller_rig.h"

namespace millrace {
namespace {

using nlohmann::json;

TEST(RolloutController, StepsUpAndPromotes) {
  ControllerRig rig;
  rig.Start();
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 1000u);
  EXPECT_EQ(rig.hands.PartsOf("churn", "1"), 9000u);
  const RouteRule rule = rig.hands.routes["churn"].rules(1);
  ASSERT_EQ(rule.shadows_size(), 2);
  EXPECT_EQ(rule.shadows(0).model(), "audit");
  EXPECT_EQ(rule.shadows(1).version(), "1");
  EXPECT_EQ(rule.shadows(1).beside_version(), "2");
  EXPECT_EQ(rule.shadows(1).parts(), 10'000u);
  ASSERT_EQ(rig.hands.watched.versions_size(), 2);
  rig.Go(20);
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 1000u) << "not before its time";
  rig.Go(1);
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 5000u);
  rig.Go(1);
  const auto seen = [&rig] {
    return json::parse(*rig.Tell({{"action", "status"}}))["rollouts"][0]["seen"];
  };
  EXPECT_EQ(seen()["baseline"]["requests"], 0) << "a window of its own";
  rig.Go(3);
  EXPECT_GT(seen()["compared_copies"], 300);
  EXPECT_GT(seen()["compared_rows"], seen()["compared_copies"].get<int>() + 500)
      << "comparisons of the step before count on";
  rig.Go(17);
  EXPECT_EQ(rig.phase(), RolloutPhase::kPromoted);
  const NamedRoute after = rig.hands.routes["churn"];
  EXPECT_EQ(after.rules(0).SerializeAsString(), rig.before.rules(0).SerializeAsString());
  ASSERT_EQ(after.rules(1).targets_size(), 1);
  EXPECT_EQ(after.rules(1).targets(0).version(), "2");
  EXPECT_EQ(after.rules(1).shadows_size(), 1) << "the audit's, not ours";
  EXPECT_EQ(rig.hands.watched.versions_size(), 0);
  EXPECT_EQ(rig.rollout().journal.front().who, "ann");
  const size_t changes = rig.hands.changes.size();
  rig.controller->OnStatistics(rig.versions.Second(300));
  rig.controller->Tick();
  EXPECT_EQ(rig.hands.changes.size(), changes) << "nothing is done after the end";
}

TEST(RolloutController, TakenBackTheRouteIsWhatItWasToTheByte) {
  ControllerRig rig;
  Behaviour bad;
  bad.errors = 0.5;
  rig.Start();
  Versions failing(&rig.hands, 3, bad, {});
  for (int i = 0; i < 5; ++i) rig.controller->OnStatistics(failing.Second(300));
  EXPECT_EQ(rig.phase(), RolloutPhase::kRolledBack);
  EXPECT_TRUE(rig.AsBefore());
  EXPECT_EQ(rig.Reason().find("errors:"), 0u) << rig.Reason();
  EXPECT_NE(rig.hands.changes.back().second.find("errors:"), std::string::npos);
  EXPECT_EQ(rig.rollout().step, 0u);
}

TEST(RolloutController, WithoutARouteTheWayBackLeadsToTheVersionBefore) {
  for (const char* latest : {"1", "2"}) {
    ControllerRig rig;
    rig.hands.routes.clear();
    rig.hands.latest = latest;
    rig.Start({{"from", "1"}});
    EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 1000u);
    ASSERT_TRUE(rig.Tell({{"action", "abort"}}).ok());
    EXPECT_EQ(rig.hands.PartsOf("churn", "1"), 10'000u) << latest;
    EXPECT_EQ(rig.hands.routes.empty(), latest == std::string("1"));
    EXPECT_EQ(rig.phase(), RolloutPhase::kAborted);
  }
}

TEST(RolloutController, InTheShadowFirst) {
  ControllerRig rig;
  rig.Start({{"shadow_first", true}});
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 0u);
  const ShadowTarget shadow = rig.hands.routes["churn"].rules(1).shadows(1);
  EXPECT_EQ(shadow.version(), "2");
  EXPECT_EQ(shadow.beside_version(), "1");
  rig.Go(21);
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 1000u);
}

TEST(RolloutController, WithoutCopiesOrCountsItIsTakenBackAfterItsPatience) {
  ControllerRig rig;
  rig.Start({{"patience_ms", 5000}});
  rig.versions.copies = false;
  rig.Go(25);
  EXPECT_EQ(rig.phase(), RolloutPhase::kRunning);
  rig.Go(1);
  EXPECT_EQ(rig.phase(), RolloutPhase::kRolledBack);
  EXPECT_NE(rig.Reason().find("0 compared copies"), std::string::npos) << rig.Reason();
  ControllerRig silent;
  silent.Start({{"patience_ms", 5000}});
  for (int i = 0; i < 25; ++i) {
    EXPECT_EQ(silent.phase(), RolloutPhase::kRunning);
    silent.hands.now_ns += kNanosPerSecond;
    silent.controller->Tick();
  }
  EXPECT_EQ(silent.phase(), RolloutPhase::kRolledBack);
  EXPECT_TRUE(silent.AsBefore());
}

TEST(RolloutController, PausedItGoesNoFurtherButIsStillTakenBack) {
  ControllerRig rig;
  rig.Start();
  ASSERT_TRUE(rig.Tell({{"action", "pause"}}).ok());
  EXPECT_NE(rig.Refusal({{"action", "pause"}}), "");
  rig.Go(60);
  EXPECT_EQ(rig.rollout().step, 0u);
  rig.Restart();
  EXPECT_EQ(rig.phase(), RolloutPhase::kPaused);
  ASSERT_TRUE(rig.Tell({{"action", "resume"}}).ok());
  rig.Go(20);
  EXPECT_EQ(rig.rollout().step, 0u) << "a fresh window";
  rig.Go(1);
  EXPECT_EQ(rig.rollout().step, 1u);
  ASSERT_TRUE(rig.Tell({{"action", "pause"}}).ok());
  Behaviour bad;
  bad.crashes = 1;
  Versions crashing(&rig.hands, 3, bad, {});
  for (int i = 0; i < 5; ++i) rig.controller->OnStatistics(crashing.Second(300));
  EXPECT_EQ(rig.phase(), RolloutPhase::kRolledBack);
}

TEST(RolloutController, ByHandUpAndBack) {
  ControllerRig rig;
  rig.Start();
  ASSERT_TRUE(rig.Tell({{"action", "promote"}}).ok());
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 10'000u);
  EXPECT_EQ(rig.phase(), RolloutPhase::kPromoted);
  EXPECT_NE(rig.Refusal({{"action", "abort"}}), "");
  ControllerRig back;
  back.Start();
  back.Go(30);
  ASSERT_TRUE(back.Tell({{"action", "abort"}}).ok());
  EXPECT_TRUE(back.AsBefore());
  EXPECT_EQ(back.phase(), RolloutPhase::kAborted);
}

TEST(RolloutController, WhatIsDoneByHandIsKeptWithWhoAndWhy) {
  ControllerRig rig;
  ASSERT_TRUE(rig.Tell({{"action", "start"}, {"to", "2"}, {"why", "better on claims"}}).ok());
  EXPECT_EQ(rig.rollout().journal.front().what, "a rollout from version 1 to 2: better on claims");
  ASSERT_TRUE(rig.Tell({{"action", "pause"}, {"why", "a holiday"}}).ok());
  EXPECT_EQ(rig.rollout().journal.back().what, "paused: a holiday");
  const std::string long_why(501, 'x');
  EXPECT_EQ(rig.Refusal({{"action", "resume"}, {"why", long_why}}),
            "why: must be at most 500 bytes");
  EXPECT_EQ(rig.Refusal({{"action", "resume"}, {"why", 7}}), "why: must be a string");
  EXPECT_EQ(rig.phase(), RolloutPhase::kPaused);
  ASSERT_TRUE(rig.Tell({{"action", "abort"}, {"why", "wrong file"}}).ok());
  EXPECT_EQ(rig.Reason(), "by hand: wrong file");
  ControllerRig up;
  up.Start();
  ASSERT_TRUE(up.Tell({{"action", "promote"}, {"why", "asked for"}}).ok());
  EXPECT_EQ(up.Reason(), "");
  bool told = false;
  for (const RolloutEvent& event : up.rollout().journal) {
    told = told || event.what == "all requests go to version 2: asked for";
  }
  EXPECT_TRUE(told);
}

TEST(RolloutController, AVersionThatIsReadOnlyGetsNoMore) {
  ControllerRig never;
  never.hands.too_old = "2";
  const absl::Status refused = never.Tell({{"action", "start"}, {"to", "2"}}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(refused.message(), "version 2 is read-only");
  EXPECT_TRUE(never.AsBefore());
  EXPECT_EQ(never.controller->rollouts().count("churn"), 0u);
  // It grows old on its way: no step more, by itself or by hand.
  ControllerRig rig;
  rig.Start();
  rig.hands.too_old = "2";
  EXPECT_EQ(rig.Refusal({{"action", "promote"}}), "version 2 is read-only");
  EXPECT_EQ(rig.phase(), RolloutPhase::kRunning);
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 1000u);
  rig.Go(21);
  EXPECT_EQ(rig.phase(), RolloutPhase::kRolledBack);
  EXPECT_EQ(rig.Reason(), "version 2 is read-only");
  EXPECT_TRUE(rig.AsBefore());
  // The way back is gone also where it leads to one.
  ControllerRig back;
  back.Start();
  back.hands.too_old = "1";
  ASSERT_TRUE(back.Tell({{"action", "abort"}}).ok());
  EXPECT_EQ(back.phase(), RolloutPhase::kAborted);
  EXPECT_TRUE(back.AsBefore());
}

TEST(RolloutController, GoesOnAfterARestartWithAFreshWindow) {
  ControllerRig rig;
  rig.Start();
  rig.Go(30);
  EXPECT_EQ(rig.rollout().step, 1u);
  rig.Restart();
  EXPECT_EQ(rig.hands.watched.versions_size(), 2);
  EXPECT_EQ(rig.rollout().step, 1u);
  EXPECT_EQ(rig.hands.PartsOf("churn", "2"), 5000u);
  rig.Go(20);
  EXPECT_EQ(rig.phase(), RolloutPhase::kRunning);
  rig.Go(1);
  EXPECT_EQ(rig.phase(), RolloutPhase::kPromoted);
  rig.Restart();
  EXPECT_EQ(rig.phase(), RolloutPhase::kPromoted);
  EXPECT_EQ(rig.hands.watched.versions_size(), 0);
}

// The way back was saved, and the registry died before the route was set.
TEST(RolloutController, AWayBackThatWasCutShortIsGoneToItsEnd) {
  ControllerRig rig;
  rig.Start();
  rig.hands.routes_fail = "not now";
  ASSERT_TRUE(rig.Tell({{"action", "abort"}}).ok());
  EXPECT_EQ(rig.phase(), RolloutPhase::kAborting);
  EXPECT_FALSE(rig.AsBefore());
  rig.controller->Tick();
  EXPECT_EQ(rig.phase(), RolloutPhase::kAborting);
  rig.hands.routes_fail.clear();
  rig.Restart();
  EXPECT_EQ(rig.phase(), RolloutPhase::kAborted);
  EXPECT_TRUE(rig.AsBefore());
}

TEST(RolloutController, SumsThatGoBackBeginTheWindowAnew) {
  ControllerRig rig;
  rig.Start();
  rig.Go(15);
  rig.versions.ForgetAll();
  rig.Go(20);
  EXPECT_EQ(rig.rollout().step, 0u);
  rig.Go(1);
  EXPECT_EQ(rig.rollout().step, 1u);
}

TEST(RolloutController, StatisticsFromBeforeTheStepCountNothing) {
  ControllerRig rig;
  VersionStatistics old;
  old.set_taken_ns(rig.hands.now_ns - 1);
  rig.Start({{"patience_ms", 0}});
  rig.controller->OnStatistics(old);
  rig.hands.now_ns += 20 * kNanosPerSecond;
  rig.controller->Tick();
  EXPECT_NE(rig.Reason().find("nothing was counted"), std::string::npos) << rig.Reason();
}

TEST(RolloutController, ARouteThatSomebodyElseChangesStaysSo) {
  ControllerRig rig;
  rig.Start();
  rig.Go(3);
  NamedRoute mine;
  mine.set_name("churn");
  *mine.add_rules()->add_targets() = ControllerRig::Target("2", 10'000);
  rig.hands.routes["churn"] = mine;
  rig.Go(1);
  EXPECT_EQ(rig.phase(), RolloutPhase::kOverruled);
  EXPECT_EQ(rig.hands.routes["churn"].SerializeAsString(), mine.SerializeAsString());
}

TEST(RolloutController, AVersionThatIsUnloadedIsTakenBack) {
  ControllerRig rig;
  rig.Start();
  rig.Go(3);
  rig.hands.served.erase({"churn", "2"});
  rig.Go(1);
  EXPECT_EQ(rig.phase(), RolloutPhase::kRolledBack);
  EXPECT_TRUE(rig.AsBefore());
}

TEST(RolloutController, WhatCannotBeSavedOrSetGoesNoFurther) {
  ControllerRig full;
  full.hands.disk_full = true;
  ASSERT_TRUE(full.Tell({{"action", "start"}, {"to", "2"}}).ok());
  EXPECT_EQ(full.phase(), RolloutPhase::kRolledBack);
  EXPECT_TRUE(full.AsBefore());
  ControllerRig unset;
  unset.hands.routes_fail = "no room";
  ASSERT_TRUE(unset.Tell({{"action", "start"}, {"to", "2"}}).ok());
  EXPECT_EQ(unset.phase(), RolloutPhase::kRollingBack);
  EXPECT_NE(unset.Reason().find("no room"), std::string::npos);
  unset.hands.routes_fail.clear();
  unset.controller->Tick();
  EXPECT_EQ(unset.phase(), RolloutPhase::kRolledBack);
}

TEST(RolloutController, RefusalsNameWhatIsWrong) {
  ControllerRig rig;
  const auto refused = [&](json command, const char* what) {
    const std::string why = rig.Refusal(command);
    EXPECT_NE(why.find(what), std::string::npos) << command << ": " << why;
  };
  refused({{"action", "start"}}, "to:");
  refused({{"action", "start"}, {"to", "3"}}, "version 3 of model 'churn' is not served");
  refused({{"action", "start"}, {"to", "1"}}, "has all requests already");
  refused({{"action", "start"}, {"to", "2"}, {"from", "9"}}, "goes to version 1");
  refused({{"action", "start"}, {"to", "2"}, {"model", "other"}}, "goes to model 'churn'");
  refused({{"action", "start"}, {"to", "2"}, {"stepps", 1}}, "stepps:");
  refused({{"action", "begin"}}, "action:");
  refused({{"action", 5}}, "action:");
  refused({{"action", "pause"}}, "no rollout of 'churn' is running");
  EXPECT_FALSE(rig.controller->Command("[1]", "ann").ok());
  EXPECT_FALSE(rig.controller->Command("{", "ann").ok());
  rig.Start();
  refused({{"action", "start"}, {"to", "2"}}, "is running");
  rig.hands.routes["split"] = rig.hands.routes["churn"];
  refused({{"action", "start"}, {"name", "split"}, {"to", "2"}}, "splits its requests already");
  rig.hands.routes.clear();
  refused({{"action", "start"}, {"name", "other"}, {"model", "churn"}, {"to", "2"}},
          "it is the latest");
}

TEST(RolloutController, StatusTellsWhereItStands) {
  ControllerRig rig;
  rig.Start();
  rig.Go(5);
  const json all = json::parse(*rig.Tell({{"action", "status"}, {"name", ""}}));
  ASSERT_EQ(all["rollouts"].size(), 1u);
  const json one = all["rollouts"][0];
  EXPECT_EQ(one["phase"], "running");
  EXPECT_EQ(one["share"], 10);
  EXPECT_EQ(one["step"], 0);
  EXPECT_EQ(one["of_steps"], 3);
  EXPECT_EQ(one["waits_for"], "the step's time");
  EXPECT_GT(one["seen"]["baseline"]["requests"], 500);
  EXPECT_EQ(json::parse(*rig.Tell({{"action", "status"}, {"name", "x"}}))["rollouts"].size(), 0u);
}

}  // namespace
}  // namespace millrace
