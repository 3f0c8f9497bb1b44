#include "services/ingress/grpc/model_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/datatype.h"

namespace millrace {
namespace {

using inference::ModelMetadataResponse;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

Model* Add(Catalog* catalog, const std::string& name, const std::string& version, bool latest) {
  Model* model = catalog->add_models();
  model->set_name(name);
  model->set_version(version);
  model->set_latest(latest);
  model->set_platform("xgboost");
  TensorSpec* input = model->add_inputs();
  input->set_name("input");
  input->set_datatype(static_cast<uint32_t>(DataType::kFp32));
  input->add_dims(4);
  TensorSpec* output = model->add_outputs()->mutable_tensor();
  output->set_name("label");
  output->set_datatype(static_cast<uint32_t>(DataType::kBytes));
  output->add_dims(1);
  return model;
}

TEST(ModelMetadata, DescribesTheSignatureWithABatchOfAnySize) {
  Catalog catalog;
  Add(&catalog, "other", "9", true);
  Add(&catalog, "m", "1", false);
  Add(&catalog, "m", "2", true);
  ModelMetadataResponse response;
  ASSERT_TRUE(DescribeModel(catalog, "m", "", &response).ok());
  EXPECT_EQ(response.name(), "m");
  EXPECT_EQ(response.platform(), "xgboost");
  EXPECT_THAT(response.versions(), ElementsAre("1", "2"));
  ASSERT_EQ(response.inputs_size(), 1);
  EXPECT_EQ(response.inputs(0).name(), "input");
  EXPECT_EQ(response.inputs(0).datatype(), "FP32");
  EXPECT_THAT(response.inputs(0).shape(), ElementsAre(-1, 4));
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).datatype(), "BYTES");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(-1, 1));
  EXPECT_THAT(response.properties(), IsEmpty());
}

TEST(ModelMetadata, AnEmptyVersionIsTheLatest) {
  Catalog catalog;
  Add(&catalog, "m", "1", false)->set_platform("old");
  Add(&catalog, "m", "2", true);
  Add(&catalog, "m", "3", false)->set_platform("trial");
  const auto platform = [&](const char* version) {
    ModelMetadataResponse response;
    EXPECT_TRUE(DescribeModel(catalog, "m", version, &response).ok());
    return response.platform();
  };
  EXPECT_EQ(platform(""), "xgboost");
  EXPECT_EQ(platform("1"), "old");
  EXPECT_EQ(platform("3"), "trial");
}

TEST(ModelMetadata, NamesTheRawColumnsOfAView) {
  Catalog catalog;
  FeatureView* view = Add(&catalog, "m", "1", true)->mutable_view();
  view->set_name("visits");
  view->add_features()->set_column("age");
  Feature* plan = view->add_features();
  plan->set_column("plan");
  plan->set_type(Feature::STRING);
  ModelMetadataResponse response;
  ASSERT_TRUE(DescribeModel(catalog, "m", "1", &response).ok());
  EXPECT_THAT(response.properties(),
              UnorderedElementsAre(Pair("feature_view", "visits"), Pair("raw_column.age", "number"),
                                   Pair("raw_column.plan", "string")));
}

TEST(ModelMetadata, SaysWhetherTheNameOrTheVersionIsUnknown) {
  Catalog catalog;
  Add(&catalog, "m", "1", true);
  ModelMetadataResponse response;
  EXPECT_EQ(DescribeModel(catalog, "n", "", &response),
            absl::NotFoundError("name: no model \"n\" is served"));
  EXPECT_EQ(DescribeModel(catalog, "m", "7", &response),
            absl::NotFoundError("version: model \"m\" has no version \"7\""));
}

}  // namespace
}  // namespace millrace
