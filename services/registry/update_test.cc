// CatalogBuilder::Update: what changed is read, and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "services/registry/catalog_builder.h"
#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kAll[] = "platform: \"xgboost\" max_batch_size: 8\nversion_policy { all {} }\n";

class UpdateTest : public ::testing::Test {
 protected:
  const Catalog& Take(const absl::StatusOr<const BuiltCatalog*>& built) {
    EXPECT_TRUE(built.ok()) << built.status();
    return (*built)->catalog;
  }
  const Catalog& Build() { return Take(builder_.Build(temp_.root())); }
  const Catalog& Update(const Reread& reread) {
    return Take(builder_.Update(temp_.root(), reread));
  }
  // As "m/1=5": model, version, route.
  static std::vector<std::string> Names(const Catalog& catalog) {
    std::vector<std::string> names;
    for (const Model& m : catalog.models()) {
      names.push_back(m.name() + "/" + m.version() + "=" + std::to_string(m.route()));
    }
    return names;
  }

  TempRepository temp_;
  CatalogBuilder builder_{FakeOptions(), 5, 9};
};

TEST_F(UpdateTest, ReadsTheVersionsThatChangedAndNoOther) {
  temp_.AddModel("a", kAll, FakeReport{}.Line());
  temp_.AddModel("b", kAll, FakeReport{}.Line());
  Build();
  // Whatever lies there now would fail.
  temp_.Write("a/1/model.json", "crash");
  temp_.Write("b/1/model.json", "crash");
  temp_.Write("a/2/model.json", FakeReport{}.Line());
  Reread reread;
  reread.models["a"].some = {2};
  const Catalog& catalog = Update(reread);
  EXPECT_THAT(Names(catalog), ElementsAre("a/1=5", "a/2=7", "b/1=6"));
  EXPECT_THAT(catalog.failed(), IsEmpty());
}

TEST_F(UpdateTest, AChangedConfigReadsAllOfTheModel) {
  temp_.AddModel("a", kAll, FakeReport{}.Line());
  Build();
  temp_.Write("a/1/model.json", "crash");
  Reread reread;
  reread.models["a"].all = true;
  const Catalog& catalog = Update(reread);
  EXPECT_THAT(Names(catalog), ElementsAre("a/1=5"));
  ASSERT_EQ(catalog.failed_size(), 1);
  EXPECT_THAT(catalog.failed(0).reason(), HasSubstr("as it was before"));
}

TEST_F(UpdateTest, WhatIsNotSettledIsNotSeenOrStaysAsItIs) {
  temp_.AddModel("a", kAll, FakeReport{}.Line());
  Build();
  std::filesystem::remove_all(temp_.root() + "/a/1");  // to be replaced, by somebody slow
  temp_.Write("a/2/model.json", FakeReport{}.Line());
  temp_.Write("a/3/model.json", "crash");
  Reread reread;
  reread.models["a"].some = {2};
  reread.unsettled = {{"a", 1}, {"a", 3}};
  const Catalog& catalog = Update(reread);
  EXPECT_THAT(Names(catalog), ElementsAre("a/1=5", "a/2=6"));
  EXPECT_THAT(catalog.failed(), IsEmpty());
}

TEST_F(UpdateTest, WhatIsGoneIsGoneAndAnEnsembleGoesWithItsMember) {
  temp_.AddModel("a", kAll, FakeReport{}.Line());
  temp_.AddModel("b", kAll, FakeReport{}.Line());
  temp_.Write("e/config.pbtxt",
              "platform: \"millrace_ensemble\" max_batch_size: 8\n"
              "parameters { key: \"members\" value { string_value: \"a,b\" } }\n"
              "parameters { key: \"method\" value { string_value: \"weighted_mean\" } }\n");
  EXPECT_EQ(Build().models_size(), 3);
  Reread reread;
  reread.gone = {"a"};
  const Catalog& catalog = Update(reread);
  EXPECT_THAT(Names(catalog), ElementsAre("b/1=6"));
  ASSERT_EQ(catalog.failed_size(), 1);
  EXPECT_EQ(catalog.failed(0).name(), "e");
}

TEST_F(UpdateTest, WhatIsUnloadedIsNotReadAndNotTakenForGone) {
  temp_.AddModel("a", kAll, FakeReport{}.Line());
  Build();
  ASSERT_TRUE(builder_.Unload(temp_.root(), "a", false).ok());
  Reread reread;
  reread.models["a"].all = true;
  const Catalog& catalog = Update(reread);
  EXPECT_THAT(Names(catalog), IsEmpty());
  EXPECT_THAT(catalog.unloaded(), ElementsAre("a"));
}

TEST_F(UpdateTest, TheMostPlansCountThoseThatStay) {
  temp_.AddModel("a", kAll, FakeReport{}.Line());
  temp_.AddModel("b", kAll, FakeReport{}.Line());
  for (size_t i = 2; i < CatalogBuilder::kMaxPlans; ++i) {
    temp_.Write("a/" + std::to_string(i) + "/model.json", FakeReport{}.Line());
  }
  EXPECT_EQ(Build().models_size(), static_cast<int>(CatalogBuilder::kMaxPlans));
  temp_.Write("b/2/model.json", FakeReport{}.Line());
  Reread reread;
  reread.models["b"].some = {2};
  const Catalog& catalog = Update(reread);
  EXPECT_EQ(catalog.models_size(), static_cast<int>(CatalogBuilder::kMaxPlans));
  ASSERT_EQ(catalog.failed_size(), 1);
  EXPECT_THAT(catalog.failed(0).reason(), HasSubstr("at most"));
}

TEST_F(UpdateTest, ARootThatShowsNoModelTakesNothingAway) {
  temp_.AddModel("a", kAll, FakeReport{}.Line());
  Build();
  temp_.Remove("a");
  const absl::StatusOr<const BuiltCatalog*> built = builder_.Build(temp_.root());
  EXPECT_TRUE(absl::IsFailedPrecondition(built.status()));
  EXPECT_THAT(std::string(built.status().message()), HasSubstr("not mounted"));
}

}  // namespace
}  // namespace millrace
