#include "services/registry/catalog_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPlain[] = "platform: \"xgboost\" max_batch_size: 8\n";

std::string Ensemble(const std::string& members) {
  return "platform: \"millrace_ensemble\" max_batch_size: 8\n"
         "parameters { key: \"members\" value { string_value: \"" +
         members +
         "\" } }\n"
         "parameters { key: \"method\" value { string_value: \"weighted_mean\" } }\n"
         "parameters { key: \"weights\" value { string_value: \"1,3\" } }\n";
}

class CatalogBuilderTest : public ::testing::Test {
 protected:
  const Catalog& Build() {
    const absl::StatusOr<const BuiltCatalog*> built = builder_.Build(temp_.root());
    EXPECT_TRUE(built.ok()) << built.status();
    built_ = *built;
    return built_->catalog;
  }
  static std::vector<std::string> Names(const Catalog& catalog) {
    std::vector<std::string> names;
    for (const Model& m : catalog.models()) names.push_back(m.name() + "/" + m.version());
    return names;
  }
  static std::map<std::string, uint32_t> Routes(const Catalog& catalog) {
    std::map<std::string, uint32_t> routes;
    for (const Model& m : catalog.models()) routes[m.name() + "/" + m.version()] = m.route();
    return routes;
  }
  static std::map<std::string, std::string> Failures(const Catalog& catalog) {
    std::map<std::string, std::string> failures;
    for (const FailedModel& f : catalog.failed()) failures[f.name()] += f.reason();
    return failures;
  }

  TempRepository temp_;
  CatalogBuilder builder_{FakeOptions(), 5, 9};
  const BuiltCatalog* built_ = nullptr;
};

TEST_F(CatalogBuilderTest, AnEmptyRepositoryIsAnEmptyCatalog) {
  EXPECT_EQ(Build().generation(), 9u);
  EXPECT_THAT(Names(built_->catalog), IsEmpty());
  EXPECT_EQ(Build().generation(), 10u);
}

TEST_F(CatalogBuilderTest, ARepositoryThatIsNotThereFailsAndTheLastBuildStays) {
  EXPECT_TRUE(absl::IsNotFound(builder_.Build(temp_.root() + "/none").status()));
  EXPECT_EQ(Build().generation(), 9u);
}

TEST_F(CatalogBuilderTest, ServesVersionsWithTheirPlans) {
  temp_.AddModel("a", std::string(kPlain) + "version_policy { all { } }", FakeReport{}.Line());
  temp_.Write("a/10/model.ubj", FakeReport{}.Line());
  temp_.Write("a/9/model.json", FakeReport{}.Line());
  const Catalog& catalog = Build();
  EXPECT_THAT(Names(catalog), ElementsAre("a/1", "a/9", "a/10"));
  EXPECT_THAT(Failures(catalog), IsEmpty());
  for (const Model& model : catalog.models()) {
    EXPECT_EQ(model.latest(), model.version() == "10");
    EXPECT_EQ(model.plan_bytes(), 5u);
    EXPECT_EQ(model.objective(), "reg:squarederror");
    EXPECT_TRUE(built_->plans.at(model.route()).valid());
  }
  EXPECT_THAT(Routes(catalog),
              ElementsAre(std::pair("a/1", 5), std::pair("a/10", 7), std::pair("a/9", 6)));
}

// Every kind of bad model beside one good one, which is served all the same.
TEST_F(CatalogBuilderTest, AModelThatFailsDoesNotKeepOthersFromServing) {
  temp_.AddModel("good", kPlain, FakeReport{}.Line());
  temp_.AddModel("refused", kPlain, R"({"ok":false,"error":"trees[0]: a loop"})");
  temp_.AddModel("crashes", kPlain, "crash");
  temp_.AddModel("bad_config", "platform: \"xgboost\"\nbatch_input { }\n", FakeReport{}.Line());
  temp_.AddModel("other_format",
                 "platform: \"lightgbm\" max_batch_size: 1 "
                 "default_model_filename: \"model.json\"",
                 FakeReport{}.Line());
  temp_.Write("empty/config.pbtxt", kPlain);
  temp_.Write("empty/1/model.json", "");
  temp_.Write("no_file/config.pbtxt", kPlain);
  temp_.MakeFolder("no_file/1");
  temp_.Write("no_version/config.pbtxt", kPlain);
  temp_.MakeFolder("no_config/1");
  temp_.MakeFolder("bad name");
  temp_.AddModel("bad_view", kPlain, FakeReport{}.Line());
  temp_.Write("bad_view/features.yaml", "view: v\nfeatures: [{column: a}]\n");
  temp_.AddModel("policy", std::string(kPlain) + "version_policy { specific { versions: 4 } }",
                 FakeReport{}.Line());
  TempRepository outside;
  outside.Write("model.json", FakeReport{}.Line());
  temp_.Write("escape/config.pbtxt", kPlain);
  temp_.MakeLink("escape/1/model.json", outside.root() + "/model.json");

  const Catalog& catalog = Build();
  EXPECT_THAT(Names(catalog), ElementsAre("good/1"));
  const std::map<std::string, std::string> expected = {
      {"refused", "trees[0]: a loop"},
      {"crashes", "ended by signal 11"},
      {"bad_config", "config.pbtxt:2: field batch_input is not supported"},
      {"other_format", "platform is lightgbm, and the file's format is xgboost_json"},
      {"empty", "the file is empty"},
      {"no_file", "no_file/1/model.json or model.ubj does not exist"},
      {"no_version", "there is no version folder"},
      {"no_config", "no_config/config.pbtxt does not exist"},
      {"bad name", "a model's folder is named"},
      {"bad_view", "features.yaml:2: features: make 1 columns together, and the model takes 2"},
      {"policy", "version_policy names it"},
      {"escape", "leads out of the repository"}};
  const std::map<std::string, std::string> failures = Failures(catalog);
  EXPECT_EQ(failures.size(), expected.size());
  for (const auto& [name, reason] : expected) {
    ASSERT_TRUE(failures.count(name)) << name;
    EXPECT_THAT(failures.at(name), HasSubstr(reason)) << name;
  }
  EXPECT_EQ(built_->plans.size(), 1u);
}

TEST_F(CatalogBuilderTest, TheHighestVersionThatCanBeServedIsTheLatest) {
  temp_.AddModel("m", std::string(kPlain) + "version_policy { all { } }", FakeReport{}.Line());
  temp_.Write("m/2/model.json", "crash");
  const Catalog& catalog = Build();
  ASSERT_THAT(Names(catalog), ElementsAre("m/1"));
  EXPECT_TRUE(catalog.models(0).latest());
  ASSERT_EQ(catalog.failed_size(), 1);
  EXPECT_EQ(catalog.failed(0).version(), "2");
}

TEST_F(CatalogBuilderTest, TheNewestOlderVersionStandsInForOneThatDoesNotLoad) {
  temp_.AddModel("m", kPlain, FakeReport{}.Line());
  temp_.Write("m/2/model.json", FakeReport{}.Line());
  temp_.Write("m/3/model.json", "crash");
  temp_.Write("m/4/model.json", R"({"ok":false,"error":"trees[0]: a loop"})");
  const Catalog& catalog = Build();
  ASSERT_THAT(Names(catalog), ElementsAre("m/2"));
  EXPECT_TRUE(catalog.models(0).latest());
  ASSERT_EQ(catalog.failed_size(), 2);
  EXPECT_EQ(catalog.failed(0).version(), "4");
  EXPECT_THAT(catalog.failed(0).reason(),
              HasSubstr("a loop; served instead: version 2, the newest"));
  EXPECT_EQ(catalog.failed(1).version(), "3");
  // Once it loads it is served, and nothing is said of others.
  temp_.Write("m/4/model.json", FakeReport{}.Line());
  EXPECT_THAT(Names(Build()), ElementsAre("m/4"));
  EXPECT_THAT(Failures(built_->catalog), IsEmpty());
}

TEST_F(CatalogBuilderTest, AsManyStandInAsThePolicyWants) {
  temp_.AddModel("m", std::string(kPlain) + "version_policy { latest { num_versions: 2 } }",
                 FakeReport{}.Line());
  for (const char* version : {"2", "3"}) {
    temp_.Write("m/" + std::string(version) + "/model.json", FakeReport{}.Line());
  }
  temp_.Write("m/4/model.json", "crash");
  EXPECT_THAT(Names(Build()), ElementsAre("m/2", "m/3"));
  temp_.AddModel("s", std::string(kPlain) + "version_policy { specific { versions: 2 } }",
                 FakeReport{}.Line());
  temp_.Write("s/2/model.json", "crash");
  EXPECT_THAT(Names(Build()), ElementsAre("m/2", "m/3")) << "nobody asked for version 1 of s";
}

TEST_F(CatalogBuilderTest, WhatWasServedIsServedOnWhereItCannotBeReadAgain) {
  temp_.AddModel("m", kPlain, FakeReport{}.Line());
  temp_.AddModel("n", kPlain, FakeReport{}.Line());
  temp_.Write("e/config.pbtxt", Ensemble("m,n"));
  const std::map<std::string, uint32_t> before = Routes(Build());
  temp_.Write("m/1/model.json", "crash");
  EXPECT_EQ(Routes(Build()), before) << "the same version, as it was";
  EXPECT_THAT(Failures(built_->catalog).at("m"),
              HasSubstr("; served instead: version 1, as it was"));
  EXPECT_TRUE(built_->plans.at(before.at("m/1")).valid());
  EXPECT_EQ(Routes(Build()), before) << "and the next time";
  temp_.Write("m/1/model.json", FakeReport{}.Line());
  temp_.Write("m/config.pbtxt", "platform: \"xgboost\"\nbatch_input { }\n");
  temp_.Write("e/config.pbtxt", "platform: \"millrace_ensemble\"\n");
  EXPECT_EQ(Routes(Build()), before) << "a definition that cannot be read";
  temp_.Write("m/config.pbtxt", kPlain);
  temp_.Write("e/config.pbtxt", Ensemble("m,none"));
  EXPECT_EQ(Routes(Build()), before) << "an ensemble that cannot be joined";
  EXPECT_THAT(Failures(built_->catalog).at("e"), HasSubstr("none is not a plain model"));
}

TEST_F(CatalogBuilderTest, WhatIsTakenAwayIsGone) {
  temp_.AddModel("m", kPlain, FakeReport{}.Line());
  temp_.AddModel("n", kPlain, FakeReport{}.Line());
  Build();
  temp_.Remove("m");
  EXPECT_THAT(Names(Build()), ElementsAre("n/1"));
}

TEST_F(CatalogBuilderTest, EnsemblesNameTheRoutesOfTheirMembers) {
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  temp_.AddModel("c", std::string(kPlain) + "version_policy { all { } }", FakeReport{}.Line());
  temp_.Write("c/2/model.json", FakeReport{}.Line());
  temp_.Write("a/config.pbtxt", Ensemble("c, b"));  // without a version folder: 1
  temp_.Write("a/features.yaml", "view: v\nfeatures: [{column: x}, {column: y}]\n");
  const Catalog& catalog = Build();
  ASSERT_THAT(Names(catalog), ElementsAre("b/1", "c/1", "c/2", "a/1"));
  const Model& ensemble = catalog.models(3);
  ASSERT_EQ(ensemble.members_size(), 2);
  EXPECT_EQ(ensemble.members(0).route(), Routes(catalog)["c/2"]);
  EXPECT_EQ(ensemble.members(1).route(), Routes(catalog)["b/1"]);
  EXPECT_EQ(ensemble.members(0).weight(), 1);
  EXPECT_EQ(ensemble.members(1).weight(), 3);
  EXPECT_EQ(ensemble.combine(), WEIGHTED_MEAN);
  EXPECT_EQ(ensemble.view().features_size(), 2);
  EXPECT_EQ(ensemble.plan_bytes(), 0u);
  EXPECT_EQ(built_->plans.size(), 3u);
}

TEST_F(CatalogBuilderTest, AnEnsembleFailsWithItsMember) {
  temp_.AddModel("ok", kPlain, FakeReport{}.Line());
  temp_.AddModel("broken", kPlain, R"({"ok":false,"error":"no trees"})");
  temp_.Write("with_broken/config.pbtxt", Ensemble("ok,broken"));
  temp_.Write("with_none/config.pbtxt", Ensemble("ok,none"));
  temp_.AddModel("ok2", kPlain, FakeReport{}.Line());
  temp_.Write("a_nested/config.pbtxt", Ensemble("ok,ok2"));
  temp_.Write("nesting/config.pbtxt", Ensemble("ok,a_nested"));
  const std::map<std::string, std::string> failures = Failures(Build());
  EXPECT_THAT(Names(built_->catalog), ElementsAre("ok/1", "ok2/1", "a_nested/1"));
  EXPECT_THAT(failures.at("with_broken"), HasSubstr("parameters members: broken failed: no trees"));
  EXPECT_THAT(failures.at("with_none"), HasSubstr("none is not a plain model of the repository"));
  EXPECT_THAT(failures.at("nesting"), HasSubstr("a_nested is an ensemble itself"));
}

TEST_F(CatalogBuilderTest, RoutesStayWithWhatIsUnchangedAndAreNeverGivenAgain) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  temp_.Write("e/config.pbtxt", Ensemble("a,b"));
  std::map<std::string, uint32_t> before = Routes(Build());
  EXPECT_EQ(Routes(Build()), before);

  // b changes, and so does the ensemble that names it; a stays.
  FakeReport changed;
  changed.objective = "reg:absoluteerror";
  temp_.AddModel("b", kPlain, changed.Line());
  std::map<std::string, uint32_t> after = Routes(Build());
  EXPECT_EQ(after["a/1"], before["a/1"]);
  EXPECT_GT(after["b/1"], before["e/1"]);
  EXPECT_GT(after["e/1"], before["e/1"]);

  // Back to what it was: still a fresh route.
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  std::map<std::string, uint32_t> back = Routes(Build());
  EXPECT_GT(back["b/1"], after["e/1"]);

  // Trained anew: the same signature, and another plan of the same size.
  temp_.AddModel("b", kPlain, FakeReport{}.Line() + "\nLEAF");
  EXPECT_GT(Routes(Build())["b/1"], back["e/1"]);

  // A new version takes `latest` away and leaves the old one where it was.
  temp_.Write("a/config.pbtxt", std::string(kPlain) + "version_policy { all { } }");
  temp_.Write("a/2/model.json", FakeReport{}.Line());
  EXPECT_EQ(Routes(Build())["a/1"], before["a/1"]);
  EXPECT_FALSE(built_->catalog.models(0).latest());
}

TEST_F(CatalogBuilderTest, RouteNumbersCanRunOut) {
  CatalogBuilder last(FakeOptions(), 0xffff, 1);
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  const Catalog& catalog = (*last.Build(temp_.root()))->catalog;
  EXPECT_THAT(Names(catalog), ElementsAre("a/1"));
  EXPECT_THAT(Failures(catalog).at("b"), HasSubstr("all route numbers"));
}

TEST_F(CatalogBuilderTest, ReasonsAreFitForMessages) {
  temp_.AddModel("m", "platform: \"xgb\\377\" max_batch_size: 1", FakeReport{}.Line());
  const Catalog& catalog = Build();
  EXPECT_THAT(Failures(catalog).at("m"), HasSubstr("xgb\\xff"));
  Catalog again;
  EXPECT_TRUE(again.ParseFromString(catalog.SerializeAsString()));
}

// The whole of what Load may do: the one model, and ensembles that name it.
TEST_F(CatalogBuilderTest, LoadReadsOneModelAgainAndNoOther) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  temp_.AddModel("c", kPlain, FakeReport{}.Line());
  temp_.Write("e/config.pbtxt", Ensemble("a,b"));
  std::map<std::string, uint32_t> before = Routes(Build());
  FakeReport changed;
  changed.objective = "reg:absoluteerror";
  temp_.AddModel("b", kPlain, changed.Line());
  temp_.AddModel("c", kPlain, "crash");
  temp_.AddModel("new", kPlain, FakeReport{}.Line());
  const auto loaded = builder_.Load(temp_.root(), "b");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Catalog& catalog = (*loaded)->catalog;
  EXPECT_EQ(catalog.generation(), 10u);
  EXPECT_THAT(Names(catalog), ElementsAre("a/1", "b/1", "c/1", "e/1"));
  std::map<std::string, uint32_t> after = Routes(catalog);
  EXPECT_EQ(after["a/1"], before["a/1"]);
  EXPECT_EQ(after["c/1"], before["c/1"]) << "it was not read again";
  EXPECT_GT(after["b/1"], before["e/1"]);
  EXPECT_GT(after["e/1"], before["e/1"]) << "it names the new b";
  EXPECT_EQ(catalog.models(3).members(1).route(), after["b/1"]);
  EXPECT_EQ((*loaded)->plans.size(), 3u);
  for (const Model& model : catalog.models()) EXPECT_TRUE(model.latest());
  // And what is new in the repository is there once it is asked for.
  EXPECT_THAT(Names((*builder_.Load(temp_.root(), "new"))->catalog),
              ElementsAre("a/1", "b/1", "c/1", "new/1", "e/1"));
}

TEST_F(CatalogBuilderTest, ALoadThatFailsChangesNothing) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  temp_.Write("e/config.pbtxt", Ensemble("a,b"));
  const std::map<std::string, uint32_t> before = Routes(Build());
  temp_.AddModel("a", kPlain, R"({"ok":false,"error":"trees[0]: a loop"})");
  absl::Status status = builder_.Load(temp_.root(), "a").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("trees[0]: a loop"));
  // A model that is fine by itself, and that an ensemble cannot take.
  FakeReport wide;
  wide.features = 7;
  temp_.AddModel("a", kPlain, wide.Line());
  status = builder_.Load(temp_.root(), "a").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"e\" cannot be served"));
  for (const char* name : {"none", "e/../a", "..", ""}) {
    EXPECT_FALSE(builder_.Load(temp_.root(), name).ok()) << name;
  }
  EXPECT_TRUE(absl::IsNotFound(builder_.Load(temp_.root(), "none").status()));
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  EXPECT_EQ(Routes(Build()), before);
}

TEST_F(CatalogBuilderTest, WhatIsUnloadedStaysOutUntilItIsLoaded) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  Build();
  const auto unloaded = builder_.Unload(temp_.root(), "a", false);
  ASSERT_TRUE(unloaded.ok()) << unloaded.status();
  EXPECT_THAT(Names((*unloaded)->catalog), ElementsAre("b/1"));
  EXPECT_THAT((*unloaded)->catalog.unloaded(), ElementsAre("a"));
  EXPECT_THAT(Names(Build()), ElementsAre("b/1")) << "a build is not a load";
  EXPECT_TRUE(builder_.Unload(temp_.root(), "a", false).ok());
  EXPECT_TRUE(absl::IsNotFound(builder_.Unload(temp_.root(), "none", false).status()));
  // A registry that is started anew is told.
  CatalogBuilder next(FakeOptions(), 50, 50, {"a"});
  EXPECT_THAT(Names((*next.Build(temp_.root()))->catalog), ElementsAre("b/1"));
  EXPECT_THAT(Names((*builder_.Load(temp_.root(), "a"))->catalog), ElementsAre("a/1", "b/1"));
  EXPECT_THAT(builder_.Build(temp_.root()).value()->catalog.unloaded(), IsEmpty());
}

TEST_F(CatalogBuilderTest, AnEnsembleKeepsItsMembersLoaded) {
  for (const char* name : {"a", "b", "c"}) temp_.AddModel(name, kPlain, FakeReport{}.Line());
  temp_.Write("e/config.pbtxt", Ensemble("a,b"));
  temp_.Write("f/config.pbtxt", Ensemble("b,c"));
  Build();
  const absl::Status needed = builder_.Unload(temp_.root(), "a", true).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(needed));
  EXPECT_THAT(std::string(needed.message()), HasSubstr("ensemble \"e\""));
  // b is f's as well.
  EXPECT_THAT(Names((*builder_.Unload(temp_.root(), "e", true))->catalog),
              ElementsAre("b/1", "c/1", "f/1"));
  // An ensemble brings its members back.
  EXPECT_THAT(Names((*builder_.Load(temp_.root(), "e"))->catalog),
              ElementsAre("a/1", "b/1", "c/1", "e/1", "f/1"));
  EXPECT_THAT(Names((*builder_.Unload(temp_.root(), "e", false))->catalog),
              ElementsAre("a/1", "b/1", "c/1", "f/1"));
}

}  // namespace
}  // namespace millrace
