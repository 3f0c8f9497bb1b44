#include "services/ingress/grpc/model_describer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/datatype.h"
#include "services/ingress/testing/fake_frontend.h"

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

TEST(ModelConfig, IsWhatWasWrittenCorrectedByWhatIsServed) {
  Catalog catalog;
  Add(&catalog, "m", "1", false)->set_config_json("{}");
  Model* model = Add(&catalog, "m", "2", true);
  model->set_max_rows(64);
  model->set_config_json(R"({"name":"an alias","max_batch_size":8,"backend":"millrace",
      "dynamic_batching":{},"not_known_yet":[1],
      "version_policy":{"specific":{"versions":["1","2"]}},
      "output":[{"name":"label","label_filename":"labels.txt"}],
      "parameters":{"view":{"string_value":"visits"}}})");
  inference::ModelConfigResponse response;
  ASSERT_TRUE(DescribeConfig(catalog, "m", "", &response).ok());
  const inference::ModelConfig& config = response.config();
  EXPECT_EQ(config.name(), "m");
  EXPECT_EQ(config.platform(), "xgboost");
  EXPECT_EQ(config.backend(), "millrace");
  EXPECT_EQ(config.max_batch_size(), 64);
  ASSERT_EQ(config.input_size(), 1);
  EXPECT_EQ(config.input(0).name(), "input");
  EXPECT_EQ(config.input(0).data_type(), inference::TYPE_FP32);
  EXPECT_THAT(config.input(0).dims(), ElementsAre(4));
  ASSERT_EQ(config.output_size(), 1);
  EXPECT_EQ(config.output(0).data_type(), inference::TYPE_STRING);
  EXPECT_THAT(config.output(0).dims(), ElementsAre(1));
  EXPECT_EQ(config.output(0).label_filename(), "labels.txt");
  EXPECT_TRUE(config.has_dynamic_batching());
  EXPECT_THAT(config.version_policy().specific().versions(), ElementsAre(1, 2));
  EXPECT_EQ(config.parameters().at("view").string_value(), "visits");

  response.Clear();
  ASSERT_TRUE(DescribeConfig(catalog, "m", "1", &response).ok());
  EXPECT_FALSE(response.config().has_dynamic_batching());
  EXPECT_TRUE(absl::IsNotFound(DescribeConfig(catalog, "m", "3", &response)));
  EXPECT_TRUE(absl::IsNotFound(DescribeConfig(catalog, "n", "", &response)));
  model->set_config_json("{");
  EXPECT_TRUE(absl::IsInternal(DescribeConfig(catalog, "m", "2", &response)));
}

// name/version/state of each entry.
std::vector<std::string> Index(const FakeFrontend& frontend, bool only_ready, bool draining) {
  inference::RepositoryIndexRequest request;
  request.set_ready(only_ready);
  inference::RepositoryIndexResponse response;
  EXPECT_TRUE(IndexRepository(frontend, *frontend.catalog(), draining, request, &response).ok());
  std::vector<std::string> entries;
  for (const auto& model : response.models()) {
    entries.push_back(model.name() + "/" + model.version() + "/" + model.state());
    EXPECT_EQ(model.reason().empty(), model.state() == "READY");
    EXPECT_EQ(model.reason().find("truncated"), std::string::npos) << "the log's, not a client's";
  }
  return entries;
}

TEST(RepositoryIndex, ListsEveryVersionAndItsState) {
  FakeFrontend frontend;
  EXPECT_THAT(Index(frontend, false, false),
              ElementsAre("plain/1/READY", "plain/2/READY", "viewed/1/READY", "ints/1/READY",
                          "broken/1/UNAVAILABLE"));
  EXPECT_THAT(Index(frontend, true, false),
              ElementsAre("plain/1/READY", "plain/2/READY", "viewed/1/READY", "ints/1/READY"));
  EXPECT_THAT(Index(frontend, true, true), IsEmpty());
  EXPECT_EQ(Index(frontend, false, true).size(), 5u);
  frontend.set_ready(false);
  EXPECT_THAT(Index(frontend, true, false), IsEmpty());
  EXPECT_EQ(Index(frontend, false, false)[0], "plain/1/UNAVAILABLE");
}

TEST(RepositoryIndex, KnowsNoNamedRepository) {
  FakeFrontend frontend;
  inference::RepositoryIndexRequest request;
  request.set_repository_name("second");
  inference::RepositoryIndexResponse response;
  EXPECT_TRUE(absl::IsUnimplemented(
      IndexRepository(frontend, *frontend.catalog(), false, request, &response)));
}

}  // namespace
}  // namespace millrace
