// Versions whose weights are too old keep what they have and get no more, but by a rollback.
#include "services/registry/routes/read_only.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "services/registry/routes/routes_file.h"
#include "services/registry/routes/testing/routes_rig.h"

namespace millrace {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr int64_t kNowS = 1'700'000'000;  // the desk's clock
constexpr int64_t kDayS = 86'400;
constexpr char kRollback[] = R"({"action":"rollback","name":"churn"})";

// RoutesCatalog, of which this version is so old.
std::shared_ptr<const Catalog> WithAge(const std::string& model, const std::string& version,
                                       int64_t days) {
  auto catalog = std::make_shared<Catalog>(*RoutesCatalog());
  ModelWeights* const weights = catalog->add_weights();
  weights->set_model(model);
  weights->set_version(version);
  weights->set_made_s(kNowS - days * kDayS);
  return catalog;
}

std::string File(const std::string& rules) {
  return "routes_format: 1\nroutes: [{name: churn, rules: [" + rules + "]}]\n...\n";
}

bool Refused(const RouteOutcome& outcome) {
  if (outcome.status.ok()) return false;
  EXPECT_TRUE(absl::IsFailedPrecondition(outcome.status)) << outcome.status;
  EXPECT_THAT(std::string(outcome.status.message()),
              AllOf(HasSubstr("version 1 of model 'churn' is read-only"), HasSubstr("200 days"),
                    HasSubstr("more than 180 (registry.max_age_days)")));
  return true;
}

TEST(ReadOnly, NoCommandGivesItMore) {
  const RoutesFolder folder;
  DeskRig rig(folder, WithAge("churn", "1", 200));
  for (const char* command : {
           R"({"action":"canary","name":"churn","version":"1","share":0.01})",
           R"({"action":"promote","name":"churn","version":"1"})",
           R"({"action":"canary","name":"champion","model":"churn","version":"1","share":5})",
           R"({"action":"promote","name":"champion","model":"churn","version":"1"})",
           R"({"action":"set","name":"champion","rule":{"to":[{"model":"churn","version":1}]}})",
           R"({"action":"set","name":"churn","rule":{"tenants":["a"],"to":[{"version":1}]}})",
           R"({"action":"set","name":"churn","rule":{"path":"/a","to":[{"version":1}]}})",
       }) {
    EXPECT_TRUE(Refused(rig.Do(command))) << command;
  }
  EXPECT_EQ(rig.published.size(), 1u);
  const RouteOutcome outcome =
      rig.Do(R"({"action":"canary","name":"churn","version":"1","share":12.5})");
  EXPECT_THAT(std::string(outcome.status.message()),
              AllOf(HasSubstr("route 'churn' would give it 12.5 per cent instead of 0"),
                    HasSubstr("route rollback")));
  // Nobody gets its answers, or only where there would be none.
  EXPECT_TRUE(rig.Do(R"({"action":"shadow","name":"churn","version":"1","share":5})").status.ok());
  EXPECT_TRUE(rig.Do(R"({"action":"set","name":"churn","rule":{"to":[{"version":3}],)"
                     R"("fallbacks":[{"version":1}]}})")
                  .status.ok());
}

TEST(ReadOnly, TheLimitIsTheOneOfTheConfiguration) {
  const std::string promote = R"({"action":"promote","name":"churn","version":"1"})";
  for (const int64_t days : {180, 181}) {
    const RoutesFolder folder;
    DeskRig rig(folder, WithAge("churn", "1", days));
    EXPECT_EQ(rig.Do(promote).status.ok(), days == 180);
  }
  DebtLimits any;
  any.max_age_days = 0;
  const auto catalog = WithAge("churn", "1", 9'000);
  EXPECT_TRUE(ReadOnlyCheck(*catalog, any, kNowS).MayGrow("churn", "1").ok());
  EXPECT_FALSE(ReadOnlyCheck(*catalog, {}, kNowS).MayGrow("churn", "1").ok());
  EXPECT_TRUE(ReadOnlyCheck(*catalog, {}, kNowS).MayGrow("churn", "2").ok());
  EXPECT_TRUE(ReadOnlyCheck(*catalog, {}, kNowS).MayGrow("churn", "77").ok());
}

// It grew old while it served.
TEST(ReadOnly, ItKeepsWhatItHasAndMayHaveLess) {
  const RoutesFolder folder;
  DeskRig rig(folder, WithAge("churn", "1", 100));
  ASSERT_TRUE(rig.Do(R"({"action":"promote","name":"churn","version":"1"})").status.ok());
  rig.desk.SetCatalog(WithAge("churn", "1", 200));
  EXPECT_EQ(rig.Split("churn"), "1:10000");
  EXPECT_TRUE(rig.Do(R"({"action":"promote","name":"churn","version":"1"})").status.ok());
  const auto canary = [&](const char* share) {
    return rig.Do(std::string(R"({"action":"canary","name":"churn","version":"2","share":)") +
                  share + "}");
  };
  EXPECT_TRUE(canary("10").status.ok());
  EXPECT_TRUE(canary("40").status.ok());
  EXPECT_EQ(rig.Split("churn"), "1:6000 2:4000");
  EXPECT_TRUE(Refused(canary("39.99")));
  EXPECT_TRUE(canary("40").status.ok());
  EXPECT_EQ(rig.Split("churn"), "1:6000 2:4000");
  // The same weight of a rule for some requests is no more than they had.
  EXPECT_TRUE(rig.Do(R"({"action":"set","name":"churn","rule":{"tenants":["a"],"to":)"
                     R"([{"version":1,"weight":60},{"version":2,"weight":40}]}})")
                  .status.ok());
  EXPECT_TRUE(Refused(rig.Do(R"({"action":"set","name":"churn","rule":{"tenants":["b"],"to":)"
                             R"([{"version":1,"weight":61},{"version":2,"weight":39}]}})")));
}

TEST(ReadOnly, ARollbackIsNeverRefused) {
  const RoutesFolder folder;
  DeskRig rig(folder, WithAge("churn", "1", 100));
  rig.Do(R"({"action":"promote","name":"churn","version":"1"})");
  rig.Do(R"({"action":"promote","name":"churn","version":"2"})");
  rig.desk.SetCatalog(WithAge("churn", "1", 200));
  EXPECT_TRUE(Refused(rig.Do(R"({"action":"promote","name":"churn","version":"1"})")));
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.Split("churn"), "1:10000");
  // The way back of a rollout, too.
  EXPECT_TRUE(rig.Do(R"({"action":"promote","name":"churn","version":"2"})").status.ok());
  NamedRoute back;
  back.set_name("churn");
  RouteTarget* const target = back.add_rules()->add_targets();
  target->set_model("churn");
  target->set_version("1");
  target->set_weight(10'000);
  EXPECT_TRUE(rig.desk.Replace("churn", back, "rollout", "worse").status.ok());
  EXPECT_EQ(rig.Split("churn"), "1:10000");
}

// Of a route that is gone the latest version gets what it took elsewhere.
TEST(ReadOnly, WithoutARouteTheLatestMayNotGrowEither) {
  const RoutesFolder folder;
  DeskRig rig(folder, WithAge("churn", "3", 200));
  EXPECT_TRUE(rig.Do(R"({"action":"canary","name":"churn","version":"2","share":5})").status.ok());
  EXPECT_EQ(rig.Split("churn"), "3:9500 2:500");
  const RouteOutcome removed = rig.Do(R"({"action":"remove","name":"churn"})");
  EXPECT_TRUE(absl::IsFailedPrecondition(removed.status));
  EXPECT_THAT(std::string(removed.status.message()), HasSubstr("100 per cent instead of 95"));
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.Split("churn"), "none");
}

TEST(ReadOnly, NorDoesAFileThatIsReadAgain) {
  const RoutesFolder folder;
  folder.Write(File("{tenants: [a], to: [{version: 2}]}, {to: [{version: 1}]}"));
  // The first of all says what is served.
  DeskRig rig(folder, WithAge("churn", "1", 200));
  EXPECT_EQ(rig.Split("churn"), "1:10000");
  const auto faults = [](DeskRig* of) {
    return Json::parse(of->Do(R"({"action":"list"})").reply_json)["file_faults"].dump();
  };
  EXPECT_EQ(faults(&rig), "[]");
  // Whom a rule took elsewhere would come to it.
  folder.Write(File("{to: [{version: 1}]}"));
  rig.desk.Reread();
  EXPECT_THAT(faults(&rig), HasSubstr("would give it 100 per cent instead of 0"));
  EXPECT_EQ(rig.last().routes(0).rules_size(), 2);
  folder.Write(File("{to: [{version: 2}]}"));
  rig.desk.Reread();
  EXPECT_EQ(rig.Split("churn"), "2:10000");
  folder.Write(File("{to: [{version: 1}]}"));
  rig.desk.Reread();
  EXPECT_EQ(rig.Split("churn"), "2:10000");
  // Nor one that was changed between two lives.
  DeskRig again(folder, WithAge("churn", "1", 200));
  EXPECT_EQ(again.Split("churn"), "2:10000");
  EXPECT_THAT(faults(&again), HasSubstr("read-only"));
}

}  // namespace
}  // namespace millrace
