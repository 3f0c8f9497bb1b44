#include "services/registry/model_definition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPlain[] = "platform: \"xgboost\" max_batch_size: 8\n";

std::string Error(const std::string& text) {
  const absl::StatusOr<ModelDefinition> definition = ParseModelDefinition(text, "m");
  EXPECT_FALSE(definition.ok()) << text;
  return std::string(definition.status().message());
}

ModelDefinition Parse(const std::string& text) {
  absl::StatusOr<ModelDefinition> definition = ParseModelDefinition(text, "m");
  EXPECT_TRUE(definition.ok()) << definition.status();
  return definition.ok() ? std::move(*definition) : ModelDefinition();
}

std::string Parameter(const std::string& key, const std::string& value) {
  return "parameters { key: \"" + key + "\" value { string_value: \"" + value + "\" } }\n";
}

std::string Output(const std::string& name, const std::string& rest = "") {
  return "output { name: \"" + name + "\" " + rest + " }\n";
}

TEST(ModelDefinition, TheLeastOneCanSay) {
  const ModelDefinition definition = Parse(kPlain);
  EXPECT_EQ(definition.config.name(), "m");
  EXPECT_EQ(definition.platform(), "xgboost");
  EXPECT_THAT(definition.files, ElementsAre("model.json", "model.ubj"));
  EXPECT_THAT(definition.output_kinds, IsEmpty());
  EXPECT_FALSE(definition.IsEnsemble());
}

TEST(ModelDefinition, BackendNamesThePlatformToo) {
  const ModelDefinition definition = Parse("backend: \"lightgbm\" max_batch_size: 1");
  EXPECT_EQ(definition.platform(), "lightgbm");
  EXPECT_THAT(definition.files, ElementsAre("model.txt"));
  EXPECT_THAT(Error("backend: \"lightgbm\" platform: \"xgboost\" max_batch_size: 1"),
              HasSubstr("platform is xgboost and backend is lightgbm"));
  EXPECT_THAT(Error("max_batch_size: 1"), HasSubstr("platform is missing"));
  EXPECT_THAT(Error("platform: \"onnxruntime_onnx\" max_batch_size: 1"),
              HasSubstr("platform onnxruntime_onnx is not supported"));
}

// What is not supported is named with its line; nothing is ever ignored.
TEST(ModelDefinition, AFieldThatIsNotSupportedIsNamedWithItsLine) {
  EXPECT_EQ(Error("platform: \"xgboost\"\nmax_batch_size: 8\ncolour: \"blue\"\n"),
            "config.pbtxt:3: field colour is not supported");
  EXPECT_EQ(Error("name: \"m\"\ninput {\n  name: \"i\"\n  reshape { shape: [ 1 ] }\n}\n"),
            "config.pbtxt:4: field reshape is not supported: a tensor is [rows, columns]");
  EXPECT_EQ(Error("\nsequence_batching { }\n"),
            "config.pbtxt:2: field sequence_batching is not supported: models here keep nothing "
            "from request to request");
  Parse(std::string(kPlain) + "dynamic_batching { }");
}

TEST(ModelDefinition, MalformedTextIsNamedWithItsLine) {
  EXPECT_THAT(Error("platform: \"xgboost\nmax_batch_size: 8"), HasSubstr("config.pbtxt:1: "));
  EXPECT_THAT(Error("platform: \"xgboost\"\n\nmax_batch_size: eight"),
              HasSubstr("config.pbtxt:3: "));
  EXPECT_THAT(Error("\ninput { name: \"i\" data_type: TYPE_FP17 }"), HasSubstr("config.pbtxt:2: "));
  EXPECT_THAT(Error("max_batch_size: 1\nmax_batch_size: 2"), HasSubstr("config.pbtxt:2: "));
  EXPECT_THAT(Error("{"), HasSubstr("config.pbtxt:1: "));
  EXPECT_THAT(Error("name: \"\xff\""), HasSubstr("not UTF-8"));
  EXPECT_THAT(Error("max_batch_size: 99999999999"), HasSubstr("config.pbtxt:1: "));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "input { ";
  EXPECT_FALSE(ParseModelDefinition(deep, "m").ok());
}

TEST(ModelDefinition, TheNameIsTheFolders) {
  EXPECT_EQ(Parse(std::string(kPlain) + "name: \"m\"").config.name(), "m");
  EXPECT_THAT(Error(std::string(kPlain) + "name: \"other\""),
              HasSubstr("name is other, and the folder is m"));
}

TEST(ModelDefinition, BatchSizeIsOneOrMore) {
  for (const char* size :
       {"", "max_batch_size: 0", "max_batch_size: -1", "max_batch_size: 1048577"}) {
    EXPECT_THAT(Error("platform: \"xgboost\" " + std::string(size)),
                HasSubstr("max_batch_size must be from 1 to 1048576"));
  }
}

TEST(ModelDefinition, AFileNameIsNoPath) {
  EXPECT_THAT(Parse(std::string(kPlain) + "default_model_filename: \"x.ubj\"").files,
              ElementsAre("x.ubj"));
  for (const char* bad : {"../x", "a/b", ".hidden", "/etc/passwd"}) {
    EXPECT_THAT(Error(std::string(kPlain) + "default_model_filename: \"" + std::string(bad) + "\""),
                HasSubstr("default_model_filename must be the plain name of a file"));
    EXPECT_THAT(Error(kPlain + Output("label", "label_filename: \"" + std::string(bad) + "\"")),
                HasSubstr("output label: label_filename must be the plain name of a file"));
  }
}

TEST(ModelDefinition, OutputsAreKnownByNameOrByParameter) {
  const ModelDefinition definition =
      Parse(kPlain + Output("prediction") + Output("scores") + Output("class") +
            Output("label", "label_filename: \"labels.txt\"") + Output("top_k") +
            Parameter("output_kind.scores", "margin") + Parameter("top_k", "3"));
  EXPECT_THAT(definition.output_kinds, ElementsAre(PREDICTION, MARGIN, CLASS, LABEL, TOP_K));
  EXPECT_EQ(definition.top_k, 3u);
  // The parameter goes before the name.
  EXPECT_THAT(
      Parse(kPlain + Output("class") + Parameter("output_kind.class", "prediction")).output_kinds,
      ElementsAre(PREDICTION));
}

TEST(ModelDefinition, OutputFaults) {
  EXPECT_THAT(Error(kPlain + Output("output__0")),
              HasSubstr("output output__0 is none of prediction, margin, class, label, top_k"));
  EXPECT_THAT(Error(kPlain + Output("x") + Parameter("output_kind.x", "score")),
              HasSubstr("parameters output_kind.x is score"));
  EXPECT_THAT(Error(kPlain + Parameter("output_kind.x", "class")),
              HasSubstr("parameters output_kind.x: there is no output of that name"));
  EXPECT_THAT(Error(kPlain + Output("class") + Output("class")),
              HasSubstr("output class stands twice"));
  EXPECT_THAT(Error(kPlain + Output("class") + Output("x") + Parameter("output_kind.x", "class")),
              HasSubstr("output x: another output is of that kind"));
  EXPECT_THAT(Error(kPlain + Output("label")),
              HasSubstr("output label: label_filename is missing"));
  EXPECT_THAT(Error(kPlain + Output("class", "label_filename: \"l\"")),
              HasSubstr("output class: label_filename belongs to a label or top_k"));
  EXPECT_THAT(Error(kPlain + Output("")), HasSubstr("output.name is missing"));
  EXPECT_THAT(Error(std::string(kPlain) + "input { } "), HasSubstr("input.name is missing"));
  EXPECT_THAT(Error(std::string(kPlain) + "input { name: \"a\" } input { name: \"b\" }"),
              HasSubstr("input: a model takes one tensor, and 2 are declared"));
  for (const char* k : {"0", "-1", "x", "1025", ""}) {
    EXPECT_THAT(Error(kPlain + Output("top_k") + Parameter("top_k", k)),
                HasSubstr("parameters top_k must be from 1 to 1024"));
  }
  EXPECT_THAT(Error(kPlain + Parameter("top_k", "3")),
              HasSubstr("parameters top_k: there is no output of that kind"));
}

TEST(ModelDefinition, AParameterThatNobodyKnowsIsAFault) {
  EXPECT_THAT(Error(kPlain + Parameter("threshold", "0.5")),
              HasSubstr("parameters threshold is not supported"));
  EXPECT_THAT(Error(kPlain + Parameter("members", "a,b")),
              HasSubstr("parameters members is not supported for this platform"));
}

std::string Ensemble(const std::string& members, const std::string& method = "weighted_mean",
                     const std::string& weights = "") {
  return "platform: \"millrace_ensemble\" max_batch_size: 8\n" + Parameter("members", members) +
         Parameter("method", method) + (weights.empty() ? "" : Parameter("weights", weights));
}

TEST(ModelDefinition, ReadsEnsembles) {
  const ModelDefinition mean = Parse(Ensemble("a, b", "weighted_mean", "0.25, 3"));
  EXPECT_TRUE(mean.IsEnsemble());
  EXPECT_EQ(mean.ensemble.combine, WEIGHTED_MEAN);
  EXPECT_THAT(mean.ensemble.members, ElementsAre("a", "b"));
  EXPECT_THAT(mean.ensemble.weights, ElementsAre(0.25, 3.0));
  EXPECT_THAT(mean.files, IsEmpty());
  const ModelDefinition vote = Parse(Ensemble("a,b,c", "vote"));
  EXPECT_EQ(vote.ensemble.combine, VOTE);
  EXPECT_THAT(vote.ensemble.weights, ElementsAre(1, 1, 1));
}

TEST(ModelDefinition, EnsembleFaults) {
  const std::string start = "platform: \"millrace_ensemble\" max_batch_size: 8\n";
  EXPECT_THAT(Error(start), HasSubstr("parameters members is missing"));
  EXPECT_THAT(Error(start + Parameter("members", "a,b")), HasSubstr("method is missing"));
  EXPECT_THAT(Error(Ensemble("a")), HasSubstr("parameters members names 1 models"));
  EXPECT_THAT(Error(Ensemble("a,b,c,d,e,f,g,h,i")),
              HasSubstr("names 9 models, and may name 2 to 8"));
  EXPECT_THAT(Error(Ensemble("a,,b")), HasSubstr("parameters members: '' is no model's name"));
  EXPECT_THAT(Error(Ensemble("a,../b")), HasSubstr("'../b' is no model's name"));
  EXPECT_THAT(Error(Ensemble("a,b,a")), HasSubstr("parameters members: a stands twice"));
  EXPECT_THAT(Error(Ensemble("a,b", "median")), HasSubstr("parameters method is median"));
  EXPECT_THAT(Error(Ensemble("a,b", "vote", "1")), HasSubstr("has 1 numbers for 2 members"));
  for (const char* bad : {"1,-1", "1,nan", "1,inf", "1,x", "1,"}) {
    EXPECT_THAT(Error(Ensemble("a,b", "vote", bad)), HasSubstr("is no number of 0 or more")) << bad;
  }
  EXPECT_THAT(Error(Ensemble("a,b", "vote", "0,0")), HasSubstr("their sum must be above 0"));
  EXPECT_THAT(Error(Ensemble("a,b", "vote", "1e308,1e308")), HasSubstr("above 0 and finite"));
  EXPECT_THAT(Error(Ensemble("a,b") + "default_model_filename: \"x\""),
              HasSubstr("an ensemble has no file"));
}

TEST(SelectVersions, FollowsThePolicy) {
  const auto select = [](const std::string& policy, std::vector<int64_t>* missing) {
    const ModelDefinition definition = Parse(kPlain + policy);
    return SelectVersions(definition.config.version_policy(), {1, 2, 5},
                          [missing](int64_t version) { missing->push_back(version); });
  };
  std::vector<int64_t> missing;
  EXPECT_THAT(select("", &missing), ElementsAre(5));
  EXPECT_THAT(select("version_policy { latest { } }", &missing), ElementsAre(5));
  EXPECT_THAT(select("version_policy { latest { num_versions: 2 } }", &missing), ElementsAre(2, 5));
  EXPECT_THAT(select("version_policy { latest { num_versions: 9 } }", &missing),
              ElementsAre(1, 2, 5));
  EXPECT_THAT(select("version_policy { all { } }", &missing), ElementsAre(1, 2, 5));
  EXPECT_THAT(missing, IsEmpty());
  EXPECT_THAT(select("version_policy { specific { versions: [ 5, 1, 7, 5 ] } }", &missing),
              ElementsAre(1, 5));
  EXPECT_THAT(missing, ElementsAre(7));
}

}  // namespace
}  // namespace millrace
