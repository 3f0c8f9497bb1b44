// What the desk tells of routes: by name, of many, and to clients of the network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "services/registry/routes/for_clients.h"
#include "services/registry/routes/testing/routes_rig.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kCanary[] = R"({"action":"canary","name":"churn","version":"2","share":5})";
constexpr char kList[] = R"({"action":"list"})";

TEST(RoutesTold, AClientIsToldNoFilesName) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  const auto told = [&](const RouteOutcome& outcome) {
    const RouteOutcome other = ForClients(outcome, folder.file());
    EXPECT_EQ(other.status, outcome.status);
    EXPECT_EQ(other.generation, outcome.generation);
    EXPECT_THAT(other.message + other.reply_json, Not(HasSubstr(folder.path())));
    return other;
  };
  RouteOutcome changed = rig.Do(kCanary);
  ASSERT_THAT(changed.reply_json, HasSubstr(folder.path()));
  const Json list = Json::parse(told(changed).reply_json);
  EXPECT_EQ(list["routes"][0]["rules"][0]["to"].size(), 2u);
  EXPECT_EQ(list["not_kept"], "");
  EXPECT_EQ(list["file_faults"].size(), 0u);
  // A file that cannot be read, and one that cannot be written.
  std::filesystem::remove(folder.file());
  std::filesystem::create_directory(folder.file());
  rig.desk.Reread();
  ASSERT_THAT(rig.Do(kList).reply_json, HasSubstr(folder.file() + ": "));
  EXPECT_THAT(told(rig.Do(kList)).reply_json, HasSubstr("routes.yaml cannot be read"));
  std::filesystem::remove_all(folder.path());
  changed = rig.Do(R"({"action":"rollback","name":"churn"})");
  ASSERT_THAT(changed.message, HasSubstr(folder.path()));
  EXPECT_EQ(told(changed).message,
            "in force, not kept: the disk does not take it: the server's log says why");
  EXPECT_THAT(told(rig.Do(kList)).reply_json, HasSubstr("the disk does not take it"));
  // What is none of ours stays as it is.
  const std::string rollouts = R"({"rollouts":[]})";
  EXPECT_EQ(told({absl::OkStatus(), 3, "x", rollouts}).reply_json, rollouts);
  EXPECT_EQ(told({absl::NotFoundError("x"), 0, "", ""}).reply_json, "");
}

TEST(RoutesTold, OneRouteIsListedByItsName) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  rig.Do(kCanary);
  const Json all = Json::parse(
      rig.Do(R"({"action":"set","name":"champion","rule":{"to":[{"model":"churn","version":1}]}})")
          .reply_json);
  ASSERT_EQ(all["routes"].size(), 1u);  // a change tells of what it changed
  EXPECT_EQ(all["routes"][0]["name"], "champion");
  EXPECT_EQ(Json::parse(rig.Do(kList).reply_json)["routes"].size(), 2u);
  const auto list = [&](const char* name) {
    return rig.Do(Json{{"action", "list"}, {"name", name}}.dump());
  };
  EXPECT_EQ(Json::parse(list("churn").reply_json)["routes"].size(), 1u);
  EXPECT_EQ(Json::parse(list("small").reply_json)["routes"].size(), 0u);  // a model without one
  EXPECT_TRUE(absl::IsNotFound(list("nobody").status));
  EXPECT_TRUE(absl::IsNotFound(rig.Do(R"({"action":"history","name":"nobody"})").status));
  rig.Do(R"({"action":"remove","name":"champion"})");
  EXPECT_TRUE(list("champion").status.ok());  // what was one is known
}

// What has no room in a message is said to be missing, and each is there by its name.
TEST(RoutesTold, ALongListIsCutAndSaysSo) {
  const RoutesFolder folder;
  DeskRig rig(folder);
  const std::string to = ", to: [{model: churn, version: 1}]}";
  std::string text = "routes_format: 1\nroutes:\n";
  for (int i = 0; i < 20; ++i) {
    text += "  - {name: a" + std::to_string(i) + ", rules: [";
    for (int k = 0; k < 60; ++k) {
      text +=
          "{label: " + std::string(64, 'l') + ", tenants: [t" + std::to_string(k) + "]" + to + ", ";
    }
    text += "{label: rest" + to + "]}\n";
  }
  folder.Write(text + "...\n");
  rig.desk.Reread();
  const std::string reply = rig.Do(kList).reply_json;
  const Json list = Json::parse(reply);
  ASSERT_EQ(list["file_faults"].size(), 0u) << list["file_faults"];
  EXPECT_LT(reply.size(), 128u << 10);
  ASSERT_TRUE(list.contains("left_off"));
  EXPECT_EQ(list["routes"].size() + list["left_off"].get<size_t>(), 20u);
  const auto by_name = rig.Do(R"({"action":"list","name":"a19"})");
  EXPECT_EQ(Json::parse(by_name.reply_json)["routes"].size(), 1u);
  for (int i = 0; i < 10; ++i) {
    rig.Do(R"({"action":"promote","name":"a19","model":"churn","version":"2"})");
    rig.Do(R"({"action":"promote","name":"a19","model":"churn","version":"1"})");
  }
  const std::string history = rig.Do(R"({"action":"history","name":"a19"})").reply_json;
  EXPECT_LT(history.size(), 128u << 10);
  const size_t shown = Json::parse(history)["changes"].size();
  EXPECT_LT(shown, 21u);
  EXPECT_GT(shown, 3u);
}

}  // namespace
}  // namespace millrace
