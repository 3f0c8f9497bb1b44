#include "services/registry/routes/routes_desk.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "ipc/fd.h"
#include "services/registry/routes/routes_file.h"
#include "services/registry/routes/testing/routes_rig.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

constexpr char kCanary[] = R"({"action":"canary","name":"churn","version":"2","share":5})";
constexpr char kRollback[] = R"({"action":"rollback","name":"churn"})";
constexpr char kList[] = R"({"action":"list"})";

TEST(RoutesDesk, StartsWithoutAFileAndPublishesNothingInParticular) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  ASSERT_EQ(rig.published.size(), 1u);
  EXPECT_EQ(rig.last().routes_size(), 0);
  EXPECT_GT(rig.last().generation(), 0u);  // an empty message could not be handed on
}

TEST(RoutesDesk, CanaryPromoteRollback) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  RouteOutcome outcome = rig.Do(kCanary);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.message, "");
  EXPECT_EQ(rig.Split("churn"), "3:9500 2:500");  // the latest gives
  EXPECT_EQ(outcome.generation, rig.last().generation());
  rig.Do(R"({"action":"canary","name":"churn","version":"2","share":50})");
  EXPECT_EQ(rig.Split("churn"), "3:5000 2:5000");
  rig.Do(R"({"action":"promote","name":"churn"})");
  EXPECT_EQ(rig.Split("churn"), "2:10000");
  // One step back after the other, and never forward.
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.Split("churn"), "3:5000 2:5000");
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.Split("churn"), "3:9500 2:500");
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.Split("churn"), "none");
  const size_t published = rig.published.size();
  EXPECT_THAT(std::string(rig.Do(kRollback).status.message()), HasSubstr("every change of it"));
  EXPECT_EQ(rig.published.size(), published);
}

TEST(RoutesDesk, WhatIsKeptIsThereAfterARestart) {
  const RoutesFolder folder;
  uint64_t generation;
  {
    DeskRig rig(folder);
    rig.Do(kCanary);
    rig.Do(R"({"action":"shadow","name":"churn","version":"1","share":20,"why":"as a test"})");
    generation = rig.last().generation();
  }
  DeskRig rig(folder);
  EXPECT_EQ(rig.Split("churn"), "3:9500 2:500");
  EXPECT_EQ(rig.last().generation(), generation);
  const Json list = Json::parse(rig.Do(kList).reply_json);
  EXPECT_EQ(list["routes"][0]["last"]["why"], "as a test");
  EXPECT_EQ(list["routes"][0]["last"]["who"], "uid:7");
  // And what a rollback goes back to.
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.last().routes(0).rules(0).shadows_size(), 0);
  EXPECT_GT(rig.last().generation(), generation);
}

TEST(RoutesDesk, AFaultyFileLeavesTheLastGoodRoutes) {
  const RoutesFolder folder;
  {
    DeskRig rig(folder);
    rig.Do(kCanary);
  }
  folder.Write("routes_format: 1\nroutes: [{name: churn, rules: [{to: [{version: 1");
  DeskRig rig(folder);
  EXPECT_EQ(rig.Split("churn"), "3:9500 2:500");
  EXPECT_THAT(Json::parse(rig.Do(kList).reply_json)["file_faults"].dump(), HasSubstr("not whole"));
  // A change is kept, and what was there by hand stays beside it.
  RouteOutcome outcome = rig.Do(R"({"action":"promote","name":"churn"})");
  EXPECT_TRUE(outcome.status.ok());
  EXPECT_EQ(outcome.message, "");
  DeskRig again(folder);
  EXPECT_EQ(again.Split("churn"), "2:10000");
}

TEST(RoutesDesk, WhatWasChangedByHandIsNotOverwritten) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  rig.Do(kCanary);
  const std::string by_hand =
      "routes_format: 1\nroutes: [{name: churn, rules: [{to: [{version: 1}]}]}]\n...\n";
  folder.Write(by_hand);
  EXPECT_TRUE(rig.Do(R"({"action":"promote","name":"churn"})").status.ok());
  EXPECT_EQ(ReadText(folder.file() + ".by-hand"), by_hand);
  // Read again it counts, and stands in the journal.
  folder.Write(by_hand);
  rig.desk.Reread();
  EXPECT_EQ(rig.Split("churn"), "1:10000");
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.Split("churn"), "2:10000");
}

TEST(RoutesDesk, AFaultyFileThatIsReadAgainChangesNothing) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  rig.Do(kCanary);
  for (const std::string bad :
       {"nonsense",
        "routes_format: 1\nroutes: [{name: churn, rules: [{to: [{version: 9}]}]}]\n...\n",
        "routes_format: 1\nroutes: [{name: x, rules: [{to: [{model: churn, version: 1}, {model: "
        "churn, version: 2}]}]}]\n...\n"}) {
    folder.Write(bad);
    const size_t published = rig.published.size();
    rig.desk.Reread();
    EXPECT_EQ(rig.published.size(), published) << bad;
    EXPECT_NE(Json::parse(rig.Do(kList).reply_json)["file_faults"].size(), 0u) << bad;
  }
}

// In force before it is kept; and where it cannot be kept, that is said.
TEST(RoutesDesk, IsInForceWhereItCannotBeKept) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  // Root writes whatever the mode says: the folder is gone instead.
  std::filesystem::remove_all(folder.path());
  const RouteOutcome outcome = rig.Do(kCanary);
  EXPECT_TRUE(outcome.status.ok());
  EXPECT_THAT(outcome.message, HasSubstr("in force, not kept: "));
  EXPECT_EQ(rig.Split("churn"), "3:9500 2:500");
  EXPECT_THAT(rig.Do(kList).reply_json, HasSubstr("cannot be written"));
}

// A disk that does not answer (here: a journal that nobody reads) holds up no other change.
TEST(RoutesDesk, NoChangeWaitsForTheDiskOfTheOneBefore) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  const std::string journal = JournalPath(folder.file());
  ASSERT_EQ(mkfifo(journal.c_str(), 0600), 0);
  std::atomic<int> kept{0};
  const auto done = [&](const RouteOutcome& outcome) {
    EXPECT_TRUE(outcome.status.ok());
    ++kept;
  };
  rig.desk.ChangeThen(kCanary, "uid:7", done);
  rig.desk.ChangeThen(R"({"action":"promote","name":"churn"})", "uid:7", done);
  EXPECT_EQ(rig.Split("churn"), "2:10000");
  rig.desk.ChangeThen(kRollback, "uid:7", done);
  EXPECT_EQ(rig.Split("churn"), "3:9500 2:500");
  EXPECT_EQ(kept, 0);
  const Fd reader(open(journal.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  EXPECT_TRUE(rig.Do(kList).status.ok());
  EXPECT_TRUE(rig.Do(R"({"action":"remove","name":"churn"})").status.ok());  // waits for all
  EXPECT_EQ(kept, 3);
}

TEST(RoutesDesk, WhatIsWrongIsRefusedAndChangesNothing) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  const std::pair<const char*, const char*> cases[] = {
      {R"({"action":"canary","name":"churn","version":"9","share":5})", "is not loaded"},
      {R"({"action":"canary","name":"churn","version":"4","share":5})", "does not fit"},
      {R"({"action":"canary","name":"churn","version":"2","share":101})", "share: "},
      {R"({"action":"canary","name":"churn","version":"2","share":0.001})", "two decimals"},
      {R"({"action":"canary","name":"churn","version":"2"})", "share: is missing"},
      {R"({"action":"canary","name":"churn","version":"3","share":5})", "the first of the route"},
      {R"({"action":"canary","name":"nobody","version":"3","share":5})", "no model 'nobody'"},
      {R"({"action":"canary","name":"../x","version":"3","share":5})", "name: "},
      {R"({"action":"canary","name":"churn","version":"x","share":5})", "version: "},
      {R"({"action":"promote","name":"churn"})", "version: is missing"},
      {R"({"action":"shadow","name":"churn","version":"2","share":0})", "in no shadow"},
      {R"({"action":"remove","name":"churn"})", "there is no route"},
      {R"({"action":"set","name":"churn","rule":{"to":[{"version":1,"weight":10}]}})",
       "must be 100"},
      {R"({"action":"set","name":"churn"})", "rule: must be an object"},
      {R"({"action":"dance"})", "action: must be"},
      {R"([])", "JSON object"},
  };
  for (const auto& [command, sentence] : cases) {
    const RouteOutcome outcome = rig.Do(command);
    EXPECT_FALSE(outcome.status.ok()) << command;
    EXPECT_THAT(std::string(outcome.status.message()), HasSubstr(sentence)) << command;
  }
  EXPECT_EQ(rig.published.size(), 1u);
}

TEST(RoutesDesk, SetReplacesTheRuleForTheSameRequestsAlone) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  const auto set = [&](const std::string& rule) {
    return rig.Do(R"({"action":"set","name":"churn","rule":)" + rule + "}").status;
  };
  EXPECT_TRUE(set(R"({"to":[{"version":1}]})").ok());
  EXPECT_TRUE(set(R"({"headers":[{"name":"x-stage","value":"a"}],"to":[{"version":2}]})").ok());
  EXPECT_TRUE(set(R"({"path":"/staging","to":[{"version":2}]})").ok());
  const auto& rules = rig.last().routes(0).rules();
  ASSERT_EQ(rules.size(), 3);
  EXPECT_EQ(rules[2].targets(0).version(), "1");  // who takes every request stays the last
  EXPECT_TRUE(set(R"({"headers":[{"name":"x-stage","value":"a"}],"to":[{"version":3}]})").ok());
  ASSERT_EQ(rig.last().routes(0).rules_size(), 3);
  EXPECT_EQ(rig.last().routes(0).rules(0).targets(0).version(), "3");
  // Said again it is no change.
  const size_t published = rig.published.size();
  EXPECT_TRUE(set(R"({"path":"/staging","to":[{"version":2}]})").ok());
  EXPECT_EQ(rig.published.size(), published);
}

TEST(RoutesDesk, ARollbackIsNotRefusedForAVersionThatIsGone) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  rig.Do(R"({"action":"promote","name":"churn","version":"1"})");
  rig.Do(R"({"action":"promote","name":"churn","version":"2"})");
  auto without = std::make_shared<Catalog>(*RoutesCatalog());
  without->mutable_models()->DeleteSubrange(0, 1);  // churn 1
  rig.desk.SetCatalog(without);
  EXPECT_TRUE(rig.Do(kRollback).status.ok());
  EXPECT_EQ(rig.Split("churn"), "1:10000");
  const Json list = Json::parse(rig.Do(kList).reply_json);
  EXPECT_THAT(list["routes"][0]["missing"].dump(), HasSubstr("version 1 of 'churn'"));
  // Also at the next start: it may come back.
  DeskRig again(folder, without);
  EXPECT_EQ(again.Split("churn"), "1:10000");
}

}  // namespace
}  // namespace millrace
