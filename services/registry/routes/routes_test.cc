#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "services/registry/routes/route_command.h"
#include "services/registry/routes/routes_check.h"
#include "services/registry/routes/routes_desk.h"
#include "services/registry/routes/routes_fields.h"
#include "services/registry/routes/routes_file.h"
#include "services/registry/routes/routes_journal.h"
#include "services/registry/routes/testing/routes_rig.h"

namespace millrace {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

namespace fs = std::filesystem;

std::string FaultsOf(const std::string& yaml) {
  std::string all;
  for (const ConfigFault& fault : ReadRoutes(yaml).faults) {
    all += fault.field + " " + fault.message + "\n";
  }
  return all;
}

// A file with one route `m` of one rule.
std::string OneRule(const std::string& rule) {
  return "routes_format: 1\nroutes:\n  - name: m\n    rules:\n      - " + rule + "\n...\n";
}

TEST(RoutesFile, ReadsEveryField) {
  const RoutesResult read = ReadRoutes(ReadText("services/registry/routes/corpus/good.yaml"));
  ASSERT_THAT(read.faults, IsEmpty()) << read.faults[0].message;
  ASSERT_EQ(read.routes.routes_size(), 2);
  const NamedRoute& churn = read.routes.routes(0);
  EXPECT_EQ(churn.name(), "churn");
  ASSERT_EQ(churn.rules_size(), 4);
  EXPECT_EQ(churn.rules(0).headers(0).name(), "x-stage");
  EXPECT_EQ(churn.rules(0).targets(0).model(), "churn");
  EXPECT_EQ(churn.rules(0).targets(0).weight(), kAllParts);
  EXPECT_EQ(churn.rules(1).path(), "/staging");
  EXPECT_THAT(churn.rules(2).tenants(), ElementsAre("acme", "42"));
  EXPECT_EQ(churn.rules(3).targets(0).weight(), 9550u);
  EXPECT_EQ(churn.rules(3).targets(1).weight(), 450u);
  EXPECT_EQ(churn.rules(3).shadows(0).parts(), 1000u);
  EXPECT_EQ(churn.rules(3).shadows(0).beside_version(), "1");
  EXPECT_EQ(churn.rules(3).fallbacks(0).target().model(), "small");
  EXPECT_THAT(churn.rules(3).fallbacks(1).constant(), HasSubstr("0.5"));
  EXPECT_EQ(read.routes.routes(1).rules(0).targets(0).model(), "churn");
}

TEST(RoutesFile, WhatIsWrittenReadsBackTheSame) {
  RoutesResult read = ReadRoutes(ReadText("services/registry/routes/corpus/good.yaml"));
  const std::string text = WriteRoutes(read.routes);
  const RoutesResult again = ReadRoutes(text);
  ASSERT_THAT(again.faults, IsEmpty()) << text;
  EXPECT_EQ(again.routes.SerializeAsString(), read.routes.SerializeAsString()) << text;
  EXPECT_THAT(ReadRoutes(WriteRoutes(Routes())).faults, IsEmpty());
}

TEST(RoutesFile, EachFaultHasItsSentence) {
  const std::pair<std::string, std::string> faults[] = {
      {OneRule("to: [{version: 1, weight: 50}, {version: 2, weight: 49}]"),
       "weights are 99 per cent together, and must be 100"},
      {OneRule("to: [{version: 1}, {version: 2, weight: 50}]"), "there is more than one target"},
      {OneRule("to: [{version: 1, weight: 50}, {version: 1, weight: 50}]"), "is there twice"},
      {OneRule("to: [{version: 1, weight: 100.001}]"), "to two decimals"},
      {OneRule("to: [{version: 1, weight: -1}]"), "from 0 to 100"},
      {OneRule("to: [{version: 0}]"), "must be from 1"},
      {OneRule("to: [{version: latest}]"), "must be an integer"},
      {OneRule("to: []"), "must be a list of 1 to 16"},
      {OneRule("too: [{version: 1}]"), "is not a field"},
      {OneRule("path: staging"), "must match"},
      {OneRule("path: /v2/x"), "/v2 is the protocol's own"},
      {OneRule("path: /a/../b"), ""},
      {OneRule("headers: [{name: X-Stage, value: a}]"), "must match"},
      {OneRule("headers: [{name: authorization, value: a}]"), "holds a secret"},
      {OneRule("fallbacks: [{version: 1, constant: [{name: p, datatype: FP32, shape: [1, 1], "
               "data: [1]}]}]"),
       "a version or a constant, not both"},
      {OneRule("fallbacks: [{model: m}]"), "must have a version or a constant"},
      {OneRule("fallbacks: [{constant: [{name: p, datatype: FP32, shape: [2, 1], data: [1]}]}]"),
       "one row"},
      {OneRule("fallbacks: [{constant: [{name: p, datatype: FP32, shape: [1, 2], data: [1]}]}]"),
       "as many as columns"},
      {OneRule("to: [{version: 1}]\n      - to: [{version: 2}]"), "is never reached"},
      {"routes_format: 2\nroutes: []\n...\n", "must be 1"},
      {"routes_format: 1\n...\n", "is missing"},
      {"routes_format: 1\nroutes: []\n", "is not whole"},
      {"routes_format: 1\nroutes: [{name: a, rules: [{}]}, {name: a, rules: [{}]}]\n...\n",
       "'a' is there twice"},
      {"routes_format: 1\nroutes: [{name: ../a, rules: [{}]}]\n...\n", "must match"},
      {"routes_format: 1\nroutes: *nobody\n...\n", ""},
      {"", "is not whole"},
      {"\xff\xfe\n...\n", "UTF-8"},
  };
  for (const auto& [yaml, sentence] : faults) {
    const std::string told = FaultsOf(yaml);
    if (yaml.find("/a/../b") != std::string::npos) continue;  // dots are plain in a path
    EXPECT_NE(told, "") << yaml;
    EXPECT_THAT(told, HasSubstr(sentence)) << yaml;
  }
}

// A text that was cut anywhere is no routes file.
TEST(RoutesFile, HalfAFileIsNone) {
  const std::string whole = ReadText("services/registry/routes/corpus/good.yaml");
  for (size_t size = 0; size + 1 < whole.size(); ++size) {
    ASSERT_NE(FaultsOf(whole.substr(0, size)), "") << size;
  }
}

TEST(RoutesFile, TheSchemaInTheRepositoryIsTheTables) {
  EXPECT_EQ(ReadText("services/registry/routes/routes.schema.json"), RoutesJsonSchema());
}

RouteFaults CheckOf(const std::string& yaml) {
  const RoutesResult read = ReadRoutes(yaml);
  EXPECT_THAT(read.faults, IsEmpty()) << yaml;
  return CheckRoutes(read.routes, *RoutesCatalog());
}

TEST(RoutesCheck, WhatFitsIsTaken) {
  const RouteFaults faults = CheckOf(ReadText("services/registry/routes/corpus/good.yaml"));
  EXPECT_THAT(faults.wrong, IsEmpty());
  EXPECT_THAT(faults.missing, IsEmpty());
}

TEST(RoutesCheck, WhatDoesNotFitHasASentence) {
  const auto route = [](const std::string& name, const std::string& rule) {
    return "routes_format: 1\nroutes: [{name: " + name + ", rules: [" + rule + "]}]\n...\n";
  };
  const std::string constant =
      "{constant: [{name: prediction, datatype: FP32, shape: [1, 1], data: [0.5]}]}";
  struct Case {
    std::string yaml, wrong, missing;
  };
  const Case cases[] = {
      {route("churn", "{to: [{version: 9}]}"), "", "version 9 of 'churn' is not loaded"},
      {route("alias", "{to: [{model: nobody, version: 1}]}"), "", "no model 'nobody' is loaded"},
      {route("alias", "{}"), "", "has no targets, and no model 'alias' is loaded"},
      {route("churn", "{to: [{model: small, version: 1}]}"),
       "'churn' is a model, and goes to one of another", ""},
      {route("churn", "{to: [{version: 1, weight: 50}, {version: 4, weight: 50}]}"),
       "version 4 of 'churn' does not fit version 1 of 'churn': it takes another input", ""},
      {route("churn", "{to: [{version: 1}], shadows: [{version: 1}]}"), "in its own shadow", ""},
      {route("churn", "{to: [{version: 1}], shadows: [{version: 2, beside: 3}]}"),
       "beside 3, which is no target", ""},
      {route("churn", "{to: [{version: 1}], shadows: [{version: 8}]}"), "",
       "version 8 of 'churn' is not loaded"},
      {route("churn", "{to: [{version: 1}], fallbacks: [{version: 1}]}"),
       "falls back to version 1 of 'churn', which could not answer already", ""},
      {route("churn", "{to: [{version: 1}], fallbacks: [{version: 2}, {version: 2}]}"),
       "could not answer already", ""},
      {route("churn", "{to: [{version: 1}], fallbacks: [" + constant + ", {version: 2}]}"),
       "behind a constant nothing is ever asked", ""},
      {route("churn",
             "{to: [{version: 1}], fallbacks: [{constant: [{name: other, datatype: FP32, "
             "shape: [1, 1], data: [1]}]}]}"),
       "the constant lacks output 'prediction'", ""},
      {route("churn",
             "{to: [{version: 1}], fallbacks: [{constant: [{name: prediction, datatype: "
             "FP64, shape: [1, 1], data: [1]}]}]}"),
       "must be FP32 [1, 1]", ""},
  };
  for (const Case& one : cases) {
    const RouteFaults faults = CheckOf(one.yaml);
    if (one.wrong.empty()) {
      EXPECT_THAT(faults.wrong, IsEmpty()) << one.yaml;
    } else {
      EXPECT_THAT(faults.wrong, Contains(HasSubstr(one.wrong))) << one.yaml;
    }
    if (!one.missing.empty()) {
      EXPECT_THAT(faults.missing, Contains(HasSubstr(one.missing))) << one.yaml;
    }
  }
}

TEST(RoutesJournal, SurvivesACutLineAndSkipsNonsense) {
  const RoutesFolder folder;
  const std::string path = folder.path() + "/routes.journal";
  RouteChange change;
  change.generation = 7;
  change.wall_ms = 1'700'000'000'123;
  change.who = "uid:1";
  change.why = "a \"why\"\nof two lines";
  change.action = "set";
  change.name = "churn";
  change.after = ReadRoutes(ReadText("services/registry/routes/corpus/good.yaml")).routes.routes(0);
  {
    RoutesJournal journal(path);
    ASSERT_TRUE(journal.Write(change).ok());
  }
  std::ofstream(path, std::ios::app) << "not json\n{\"generation\": 8, \"na";
  RoutesJournal journal(path);
  journal.Read();
  EXPECT_EQ(journal.skipped(), 2u);
  ASSERT_EQ(journal.changes().size(), 1u);
  EXPECT_EQ(journal.changes()[0].why, change.why);
  EXPECT_EQ(journal.changes()[0].wall_ms, change.wall_ms);
  EXPECT_EQ(journal.changes()[0].after->SerializeAsString(), change.after->SerializeAsString());
  change.generation = 9;
  change.before = change.after;
  change.after.reset();
  ASSERT_TRUE(journal.Write(change).ok());
  RoutesJournal again(path);
  again.Read();
  ASSERT_EQ(again.changes().size(), 2u);  // the cut line did not take this one along
  EXPECT_EQ(again.changes()[1].generation, 9u);
  EXPECT_EQ(again.Fold().routes_size(), 0);
}

}  // namespace
}  // namespace millrace
