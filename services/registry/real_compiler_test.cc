// The registry with the compiler that is shipped: formats, faults, and a file cut at every length.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <math.h>
#include <string.h>

#include "services/registry/catalog_builder.h"
#include "services/registry/testing/small_models.h"
#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

class RealCompilerTest : public ::testing::Test {
 protected:
  RealCompilerTest() : builder_(Options(), 1, 1) {}

  static LoaderOptions Options() {
    LoaderOptions options = FakeOptions();
    options.compile = {"kernels/compile/compiler", /*max_memory_mb=*/512, /*timeout_ms=*/30'000};
    return options;
  }
  void Add(const std::string& name, const std::string& platform, const std::string& file,
           const std::string& content) {
    temp_.Write(name + "/config.pbtxt", "platform: \"" + platform +
                                            "\" max_batch_size: 8 default_model_filename: \"" +
                                            file + "\"\n");
    temp_.Write(name + "/1/" + file, content);
  }
  const BuiltCatalog& Build() { return **builder_.Build(temp_.root()); }
  std::string Reason(const std::string& name) {
    for (const FailedModel& failed : Build().catalog.failed()) {
      if (failed.name() == name) return failed.reason();
    }
    return "was served";
  }

  TempRepository temp_;
  CatalogBuilder builder_;
};

// The first golden request's expected prediction, of one column.
template <typename T>
bool GoldenValue(const Model& model, T* value) {
  if (model.golden_size() != 1 || model.golden(0).outputs_size() != 1) return false;
  const GoldenTensor& output = model.golden(0).outputs(0);
  if (output.name() != "prediction" || output.data().size() != sizeof *value) return false;
  memcpy(value, output.data().data(), sizeof *value);
  return true;
}

TEST_F(RealCompilerTest, ServesBothFormatsAndTheirEnsemble) {
  Add("x", "xgboost", "model.json", kXgboostModel);
  Add("l", "lightgbm", "model.txt", kLightgbmModel);
  temp_.Write("e/config.pbtxt",
              "platform: \"millrace_ensemble\" max_batch_size: 8\n"
              "parameters { key: \"members\" value { string_value: \"x,l\" } }\n"
              "parameters { key: \"method\" value { string_value: \"weighted_mean\" } }\n");
  const BuiltCatalog& built = Build();
  for (const FailedModel& failed : built.catalog.failed()) {
    ADD_FAILURE() << failed.name() << ": " << failed.reason();
  }
  ASSERT_EQ(built.catalog.models_size(), 3);
  const Model& lightgbm = built.catalog.models(0);
  EXPECT_EQ(lightgbm.objective(), "regression");
  EXPECT_EQ(lightgbm.inputs(0).dims(0), 3);
  EXPECT_EQ(lightgbm.outputs(0).tensor().datatype(), static_cast<uint32_t>(DataType::kFp64));
  const Model& xgboost = built.catalog.models(1);
  EXPECT_EQ(xgboost.objective(), "binary:logistic");
  EXPECT_EQ(xgboost.outputs(0).tensor().datatype(), static_cast<uint32_t>(DataType::kFp32));
  EXPECT_GT(xgboost.plan_bytes(), 0u);
  EXPECT_EQ(built.catalog.models(2).members_size(), 2);
  EXPECT_EQ(built.plans.size(), 2u);
  // What the golden row must come back as: column 1 of it is 0, so the tree goes left.
  float left;
  double constant, mean;
  ASSERT_TRUE(GoldenValue(lightgbm, &constant) && GoldenValue(xgboost, &left) &&
              GoldenValue(built.catalog.models(2), &mean));
  EXPECT_EQ(constant, 2.75);
  EXPECT_NEAR(left, 1 / (1 + exp(0.25)), 1e-6);
  EXPECT_EQ(mean, (1.0 * left + 1.0 * constant) / 2);
}

// One build with the file cut at many lengths: each is refused with a sentence, none is served.
TEST_F(RealCompilerTest, ACutFileIsRefusedWhereverItIsCut) {
  const std::string model = kXgboostModel;
  size_t count = 0;
  for (size_t length = 0; length < model.size(); length += 37, ++count) {
    Add("cut" + std::to_string(length), "xgboost", "model.json", model.substr(0, length));
  }
  const Catalog& catalog = Build().catalog;
  EXPECT_EQ(catalog.models_size(), 0);
  ASSERT_EQ(catalog.failed_size(), static_cast<int>(count));
  for (const FailedModel& failed : catalog.failed()) {
    EXPECT_FALSE(failed.reason().empty());
    EXPECT_THAT(failed.reason(), testing::Not(HasSubstr("signal"))) << failed.name();
    EXPECT_THAT(failed.reason(), testing::Not(HasSubstr("without a report"))) << failed.name();
  }
}

TEST_F(RealCompilerTest, WhatIsNoModelIsRefused) {
  Add("garbage", "xgboost", "model.json",
      std::string("\x7f"
                  "ELF\0\1\2",
                  7));
  Add("deep", "xgboost", "model.json", std::string(1'000'000, '['));
  Add("wrong", "lightgbm", "model.txt", kXgboostModel);
  EXPECT_THAT(Reason("garbage"), testing::Not(HasSubstr("served")));
  EXPECT_THAT(Reason("deep"), testing::Not(HasSubstr("served")));
  EXPECT_THAT(Reason("wrong"),
              HasSubstr("platform is lightgbm, and the file's format is xgboost_json"));
}

}  // namespace
}  // namespace millrace
