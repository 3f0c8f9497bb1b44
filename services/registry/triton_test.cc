// Repositories made for Triton: each option of its documentation is either served with the meaning
// that it has there, left unused with a warning, or refused by its name and line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/testing/triton_case.h"
#include "services/registry/catalog_builder.h"
#include "services/registry/model_definition.h"
#include "services/registry/testing/small_models.h"
#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kData[] = "kernels/testdata/";

LoaderOptions Options() {
  LoaderOptions options = FakeOptions();
  options.compile = {"kernels/compile/compiler", /*max_memory_mb=*/512, /*timeout_ms=*/30'000};
  return options;
}

// A repository of one model "m".
void Put(const TritonCase& c, const TempRepository& temp) {
  temp.Write("m/config.pbtxt", c.text);
  temp.MakeFolder("m/1");
  for (const auto& [name, from] : c.files) temp.Write("m/1/" + name, ReadWhole(kData + from));
  for (const auto& [name, text] : c.texts) temp.Write("m/" + name, text);
}

std::string OutputsOf(const Model& model) {
  std::vector<std::string> outputs;
  for (const OutputSpec& output : model.outputs()) {
    const auto type = static_cast<DataType>(output.tensor().datatype());
    outputs.push_back(absl::StrCat(output.tensor().name(), " ", DataTypeName(type).data(), " ",
                                   output.tensor().dims(0)));
  }
  return absl::StrJoin(outputs, ", ");
}

void ExpectServed(const TritonCase& c, const BuiltCatalog& built) {
  ASSERT_EQ(built.catalog.models_size(), 1)
      << (built.catalog.failed_size() > 0 ? built.catalog.failed(0).reason() : "nothing");
  const Model& model = built.catalog.models(0);
  EXPECT_EQ(OutputsOf(model), c.serves);
  ASSERT_EQ(model.golden_size(), 1);
  // What readiness asks for follows from the compiler's numbers, output by output.
  EXPECT_EQ(model.golden(0).outputs_size(), model.outputs_size());
  for (int o = 0; o < model.golden(0).outputs_size(); ++o) {
    const GoldenTensor& expected = model.golden(0).outputs(o);
    const TensorSpec& tensor = model.outputs(o).tensor();
    EXPECT_EQ(expected.datatype(), tensor.datatype());
    EXPECT_THAT(expected.shape(), ElementsAre(1, tensor.dims(0)));
    EXPECT_EQ(expected.data().size(),
              tensor.dims(0) * DataTypeSize(static_cast<DataType>(tensor.datatype())));
  }
  const absl::StatusOr<ModelDefinition> definition = ParseModelDefinition(c.text, "m");
  ASSERT_TRUE(definition.ok());
  ASSERT_EQ(definition->unused.size(), c.unused.size()) << absl::StrJoin(definition->unused, "\n");
  for (size_t i = 0; i < c.unused.size(); ++i) {
    EXPECT_THAT(definition->unused, ::testing::Contains(HasSubstr(c.unused[i])));
    EXPECT_THAT(definition->unused[i], ::testing::MatchesRegex("config.pbtxt:[0-9]+: .*"));
  }
}

TEST(TritonCorpus, EachIsServedOrRefusedByName) {
  const std::vector<TritonCase> corpus = TritonCorpus();
  ASSERT_GT(corpus.size(), 60u);
  for (const TritonCase& c : corpus) {
    SCOPED_TRACE(c.name);
    const TempRepository temp;
    Put(c, temp);
    CatalogBuilder builder(Options(), 1, 1);
    const absl::StatusOr<const BuiltCatalog*> built = builder.Build(temp.root());
    ASSERT_TRUE(built.ok()) << built.status();
    if (!c.serves.empty()) {
      ExpectServed(c, **built);
      continue;
    }
    EXPECT_EQ((*built)->catalog.models_size(), 0);
    ASSERT_EQ((*built)->catalog.failed_size(), 1);
    const std::string& reason = (*built)->catalog.failed(0).reason();
    EXPECT_THAT(reason, HasSubstr("config.pbtxt"));
    EXPECT_THAT(reason, HasSubstr(c.refuses));
  }
}

// The layout of folders, as others make it.
class TritonLayout : public ::testing::Test {
 protected:
  TritonLayout() : builder_(Options(), 1, 1) {
    temp_.Write("m/config.pbtxt", "platform: \"xgboost\" max_batch_size: 8\n");
  }
  void AddVersion(const std::string& version) {
    temp_.Write("m/" + version + "/model.json", kXgboostModel);
  }
  std::vector<std::string> Served() {
    std::vector<std::string> names;
    const Catalog& catalog = (*builder_.Build(temp_.root()))->catalog;
    for (const Model& m : catalog.models()) names.push_back(m.name() + "/" + m.version());
    reasons_.clear();
    for (const FailedModel& failed : catalog.failed()) {
      reasons_ += failed.name() + ": " + failed.reason() + "\n";
    }
    return names;
  }

  TempRepository temp_;
  CatalogBuilder builder_;
  std::string reasons_;
};

TEST_F(TritonLayout, TheNewestVersionOfMany) {
  for (const char* version : {"1", "3", "20"}) AddVersion(version);
  EXPECT_THAT(Served(), ElementsAre("m/20")) << reasons_;
}

// Triton passes over such names. Here it is not clear what was meant, so nothing is served.
TEST_F(TritonLayout, AVersionWithALeadingZeroIsNamed) {
  AddVersion("1");
  AddVersion("02");
  EXPECT_THAT(Served(), ElementsAre());
  EXPECT_THAT(reasons_, HasSubstr("m: version folder 02 is not a number from 1"));
}

TEST_F(TritonLayout, FoldersThatAreNoVersionsAreLeftAlone) {
  AddVersion("1");
  temp_.Write("m/warmup/raw", "zeros");
  temp_.Write("m/old_models/1/model.json", "{");
  temp_.Write("m/initial_state/h0", "");
  temp_.Write("m/README.md", "# m");
  temp_.Write("m/1/requirements.txt", "xgboost\n");
  temp_.Write("notes.txt", "a file beside the models");
  temp_.Write(".git/config", "");
  EXPECT_THAT(Served(), ElementsAre("m/1")) << reasons_;
  EXPECT_EQ(reasons_, "");
}

TEST_F(TritonLayout, WithoutAVersionFolder) {
  temp_.Write("m/model.json", kXgboostModel);
  EXPECT_THAT(Served(), ElementsAre());
  EXPECT_EQ(reasons_, "m: there is no version folder\n");
}

TEST_F(TritonLayout, WithoutAConfig) {
  AddVersion("1");
  temp_.Remove("m/config.pbtxt");
  EXPECT_THAT(Served(), ElementsAre());
  EXPECT_THAT(reasons_, HasSubstr("m: m/config.pbtxt does not exist: nothing is guessed"));
}

TEST_F(TritonLayout, WithoutTheFileThatThePlatformWants) {
  temp_.Write("m/1/model.onnx", "x");
  EXPECT_THAT(Served(), ElementsAre());
  EXPECT_THAT(reasons_, HasSubstr("m/1/model.json or model.ubj does not exist"));
}

TEST_F(TritonLayout, AVersionThatIsAFolderOfFiles) {  // as a saved model of TensorFlow
  temp_.MakeFolder("m/1/model.json");
  EXPECT_THAT(Served(), ElementsAre());
  EXPECT_THAT(reasons_, HasSubstr("m/1/model.json is not a regular file"));
}

TEST_F(TritonLayout, ARepositoryOfRepositories) {
  AddVersion("1");
  temp_.Write("team/a/config.pbtxt", "platform: \"xgboost\" max_batch_size: 8\n");
  temp_.Write("team/a/1/model.json", kXgboostModel);
  EXPECT_THAT(Served(), ElementsAre("m/1"));
  EXPECT_THAT(reasons_, HasSubstr("team: team/config.pbtxt does not exist"));
}

TEST_F(TritonLayout, ASpecificVersionThatIsNotThere) {
  AddVersion("1");
  temp_.Write("m/config.pbtxt",
              "platform: \"xgboost\" max_batch_size: 8\n"
              "version_policy: { specific: { versions: [1, 3] } }\n");
  EXPECT_THAT(Served(), ElementsAre("m/1"));
  EXPECT_THAT(reasons_, HasSubstr("version_policy names it, and it is not there"));
}

// What is not used is said in the log, once a model, with its line.
TEST_F(TritonLayout, WhatIsNotUsedIsLogged) {
  AddVersion("1");
  temp_.Write("m/config.pbtxt",
              "platform: \"xgboost\"\nmax_batch_size: 8\ninstance_group [ { count: 4 } ]\n");
  ::testing::internal::CaptureStderr();
  EXPECT_THAT(Served(), ElementsAre("m/1"));
  const std::string log = ::testing::internal::GetCapturedStderr();
  const size_t at = log.find("config_option_not_used");
  ASSERT_NE(at, std::string::npos) << log;
  EXPECT_THAT(log, HasSubstr("config.pbtxt:3: instance_group is not used: all workers serve"));
  EXPECT_EQ(log.find("config_option_not_used", at + 1), std::string::npos);
}

TEST_F(TritonLayout, MoreRowsThanTheServerTakesAreCutDownForFil) {
  temp_.Write("m/config.pbtxt",
              "backend: \"fil\"\nmax_batch_size: 32768\n"
              "parameters { key: \"model_type\" value { string_value: \"xgboost_json\" } }\n"
              "parameters { key: \"output_class\" value { string_value: \"true\" } }\n");
  AddVersion("1");
  ::testing::internal::CaptureStderr();
  EXPECT_THAT(Served(), ElementsAre("m/1")) << reasons_;
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("config.pbtxt:2: max_batch_size is 32768, and 4096 rows are taken"));
  EXPECT_EQ((*builder_.Build(temp_.root()))->catalog.models(0).max_rows(), 4096u);
}

}  // namespace
}  // namespace millrace
