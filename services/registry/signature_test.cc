#include "services/registry/signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/registry/ensemble.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CompileReport Report(const std::string& objective, uint32_t groups, uint32_t columns,
                     DataType type = DataType::kFp32) {
  CompileReport report;
  report.objective = objective;
  report.features = 30;
  report.groups = groups;
  report.prediction_columns = columns;
  report.margin_type = report.prediction_type = type;
  return report;
}

const CompileReport kBinary = Report("binary:logistic", 1, 1);
const CompileReport kMulticlass = Report("multiclass num_class:3", 3, 3, DataType::kFp64);
const CompileReport kRegression = Report("reg:squarederror", 1, 1);

class SignatureTest : public ::testing::Test {
 protected:
  absl::StatusOr<Model> Make(const std::string& config, const ModelFacts& facts) {
    const absl::StatusOr<ModelDefinition> definition =
        ParseModelDefinition("platform: \"xgboost\" max_batch_size: 8\n" + config, "m");
    EXPECT_TRUE(definition.ok()) << definition.status();
    if (!definition.ok()) return definition.status();
    return MakeSignature(*definition, facts, limits_,
                         [this](const std::string&) { return labels_; });
  }
  std::string Error(const std::string& config, const ModelFacts& facts) {
    const absl::StatusOr<Model> model = Make(config, facts);
    EXPECT_FALSE(model.ok()) << config;
    return std::string(model.status().message());
  }
  std::string LabelError(absl::StatusOr<std::string> labels) {
    labels_ = std::move(labels);
    return Error("output { name: \"label\" label_filename: \"l.txt\" }", FactsOf(kMulticlass));
  }

  ServerLimits limits_{4096, 1 << 20};
  absl::StatusOr<std::string> labels_ = std::string("a\nb\nc\n");
};

TEST_F(SignatureTest, WhatIsLeftOutIsFilledIn) {
  const absl::StatusOr<Model> model = Make("", FactsOf(kBinary));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name(), "m");
  EXPECT_EQ(model->platform(), "xgboost");
  EXPECT_EQ(model->max_rows(), 8u);
  EXPECT_EQ(model->objective(), "binary:logistic");
  EXPECT_EQ(model->prediction_columns(), 1u);
  EXPECT_EQ(model->margin_columns(), 1u);
  ASSERT_EQ(model->inputs_size(), 1);
  EXPECT_EQ(model->inputs(0).name(), "input");
  EXPECT_EQ(model->inputs(0).datatype(), static_cast<uint32_t>(DataType::kFp32));
  EXPECT_THAT(model->inputs(0).dims(), ElementsAre(30));
  ASSERT_EQ(model->outputs_size(), 1);
  EXPECT_EQ(model->outputs(0).kind(), PREDICTION);
  EXPECT_EQ(model->outputs(0).tensor().name(), "prediction");
  // The JSON says what is served, not only what was written.
  EXPECT_THAT(model->config_json(), HasSubstr("\"max_batch_size\":8"));
  EXPECT_THAT(model->config_json(), HasSubstr("\"data_type\":\"TYPE_FP32\""));
  EXPECT_THAT(model->config_json(), HasSubstr("\"dims\":[\"30\"]"));
}

TEST_F(SignatureTest, EveryKindHasItsTypeAndShape) {
  const absl::StatusOr<Model> model = Make(
      "output { name: \"prediction\" data_type: TYPE_FP64 dims: [ 3 ] }"
      "output { name: \"margin\" } output { name: \"class\" data_type: TYPE_INT64 dims: 1 }"
      "output { name: \"label\" data_type: TYPE_STRING label_filename: \"l\" }"
      "output { name: \"top_k\" label_filename: \"l\" }",
      FactsOf(kMulticlass));
  ASSERT_TRUE(model.ok()) << model.status();
  const struct {
    OutputKind kind;
    DataType type;
    int64_t columns;
    int labels;
  } expected[] = {{PREDICTION, DataType::kFp64, 3, 0},
                  {MARGIN, DataType::kFp64, 3, 0},
                  {CLASS, DataType::kInt64, 1, 0},
                  {LABEL, DataType::kBytes, 1, 3},
                  {TOP_K, DataType::kBytes, 3, 3}};  // five, capped to the classes
  ASSERT_EQ(model->outputs_size(), 5);
  for (int i = 0; i < 5; ++i) {
    const OutputSpec& output = model->outputs(i);
    EXPECT_EQ(output.kind(), expected[i].kind);
    EXPECT_EQ(output.tensor().datatype(), static_cast<uint32_t>(expected[i].type));
    EXPECT_THAT(output.tensor().dims(), ElementsAre(expected[i].columns));
    EXPECT_EQ(output.labels_size(), expected[i].labels);
  }
  EXPECT_EQ(model->outputs(4).top_k(), 3u);
}

TEST_F(SignatureTest, WhatIsDeclaredMustAgree) {
  const ModelFacts facts = FactsOf(kBinary);
  EXPECT_THAT(Error("input { name: \"i\" data_type: TYPE_FP64 }", facts),
              HasSubstr("input i: data_type is TYPE_FP64, and the model has TYPE_FP32"));
  EXPECT_THAT(Error("input { name: \"i\" dims: [ 31 ] }", facts),
              HasSubstr("input i: dims is [31], and the model has [30]"));
  EXPECT_THAT(Error("input { name: \"i\" dims: [ -1 ] }", facts), HasSubstr("dims is [-1]"));
  EXPECT_THAT(Error("input { name: \"i\" dims: [ 30, 1 ] }", facts), HasSubstr("dims is [30, 1]"));
  EXPECT_THAT(Error("output { name: \"prediction\" data_type: TYPE_FP64 }", facts),
              HasSubstr("output prediction: data_type is TYPE_FP64, and the model has TYPE_FP32"));
  EXPECT_THAT(Error("output { name: \"prediction\" dims: [ 2 ] }", facts),
              HasSubstr("output prediction: dims is [2], and the model has [1]"));
  EXPECT_THAT(Error("output { name: \"class\" data_type: TYPE_INT32 }", facts),
              HasSubstr("output class: data_type is TYPE_INT32, and the model has TYPE_INT64"));
}

TEST_F(SignatureTest, ModelsInDoubleTakeBothTypesOfInput) {
  const absl::StatusOr<Model> model =
      Make("input { name: \"i\" data_type: TYPE_FP64 }", FactsOf(kMulticlass));
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->inputs(0).datatype(), static_cast<uint32_t>(DataType::kFp64));
  EXPECT_EQ(Make("", FactsOf(kMulticlass))->inputs(0).datatype(),
            static_cast<uint32_t>(DataType::kFp32));
}

TEST_F(SignatureTest, ClassesNeedAClassifier) {
  for (const char* kind : {"class", "top_k"}) {
    EXPECT_THAT(Error("output { name: \"" + std::string(kind) + "\" }", FactsOf(kRegression)),
                HasSubstr("needs a prediction of classes, and the objective is reg:squarederror"));
  }
  // Its prediction is the number of a class, which a threshold would make nonsense of.
  EXPECT_THAT(Error("output { name: \"class\" }", FactsOf(Report("multi:softmax", 4, 1))),
              HasSubstr("needs a prediction of classes"));
  EXPECT_TRUE(Make("output { name: \"class\" }", FactsOf(kBinary)).ok());
  EXPECT_TRUE(Make("output { name: \"class\" }", FactsOf(Report("binary sigmoid:1", 1, 1))).ok());
  EXPECT_THAT(Error("output { name: \"top_k\" }", FactsOf(kBinary)),
              HasSubstr("output top_k: needs a column for each class"));
}

TEST_F(SignatureTest, LabelsAreOneALine) {
  const auto labels = [this](const std::string& text) {
    labels_ = text;
    const auto model =
        Make("output { name: \"label\" label_filename: \"l\" }", FactsOf(kMulticlass));
    EXPECT_TRUE(model.ok()) << model.status();
    return std::vector<std::string>(model->outputs(0).labels().begin(),
                                    model->outputs(0).labels().end());
  };
  EXPECT_THAT(labels("a\nb b\nc"), ElementsAre("a", "b b", "c"));
  EXPECT_THAT(labels("a\r\nb\r\nc\r\n"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(LabelError("a\nb\n"), HasSubstr("label_filename l.txt has 2 labels for 3 classes"));
  EXPECT_THAT(LabelError("a\nb\nc\nd"), HasSubstr("has 4 labels"));
  EXPECT_THAT(LabelError("a\n\nc\n"), HasSubstr("l.txt:2: a label is UTF-8"));
  EXPECT_THAT(LabelError(""), HasSubstr("l.txt:1: a label"));
  EXPECT_THAT(LabelError("a\nb\n\xff"), HasSubstr("l.txt:3: a label"));
  EXPECT_THAT(LabelError("a\nb\n" + std::string(4097, 'x')), HasSubstr("l.txt:3: a label"));
  EXPECT_THAT(LabelError(absl::NotFoundError("m/l.txt does not exist")),
              HasSubstr("output label: label_filename: m/l.txt does not exist"));
  labels_ = std::string("no\nyes\n");
  EXPECT_EQ(Make("output { name: \"label\" label_filename: \"l\" }", FactsOf(kBinary))
                ->outputs(0)
                .labels_size(),
            2);
}

TEST_F(SignatureTest, HoldsToTheServersLimits) {
  limits_.max_batch_rows = 7;
  EXPECT_THAT(Error("", FactsOf(kBinary)),
              HasSubstr("max_batch_size is 8, and the server's execution.max_batch_rows is 7"));
  limits_ = {4096, 119};
  EXPECT_THAT(Error("", FactsOf(kBinary)), HasSubstr("input: one row has 120 bytes"));
  limits_ = {4096, 120};
  EXPECT_TRUE(Make("", FactsOf(kBinary)).ok());
  EXPECT_THAT(Error("", FactsOf(Report("multi:softprob", 31, 31))),
              HasSubstr("output: one row has 124 bytes"));
}

class EnsembleTest : public SignatureTest {
 protected:
  void Add(const std::string& name, const CompileReport& report, uint32_t max_rows = 64,
           DataType input = DataType::kFp32) {
    Model model;
    model.set_name(name);
    model.set_max_rows(max_rows);
    model.add_inputs()->set_datatype(static_cast<uint32_t>(input));
    models_.push_back(model);
    facts_.push_back(FactsOf(report));
  }
  absl::StatusOr<ModelFacts> Combine(millrace::Combine combine) {
    EnsembleDefinition definition;
    definition.combine = combine;
    std::vector<EnsembleMember> members;
    for (size_t i = 0; i < models_.size(); ++i) {
      definition.members.push_back(models_[i].name());
      members.push_back({&models_[i], &facts_[i]});
    }
    return CombineFacts(definition, members);
  }
  std::string CombineError(millrace::Combine combine) {
    return std::string(Combine(combine).status().message());
  }

  std::vector<Model> models_;
  std::vector<ModelFacts> facts_;
};

TEST_F(EnsembleTest, IsMadeOfItsMembers) {
  Add("a", Report("count:poisson", 1, 1));
  Add("b", Report("poisson", 1, 1, DataType::kFp64), 4);
  const absl::StatusOr<ModelFacts> facts = Combine(WEIGHTED_MEAN);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->features, 30u);
  EXPECT_EQ(facts->prediction_columns, 1u);
  EXPECT_EQ(facts->margin_columns, 0u);
  EXPECT_FALSE(facts->classifies);
  EXPECT_THAT(facts->prediction_types, ElementsAre(DataType::kFp64, DataType::kFp32));
  // Through the signature: no margins, FP32 only where it is asked for, and no more rows than b.
  EXPECT_THAT(Error("", *facts), HasSubstr("max_batch_size is 8, and a member takes 4"));
  facts_.clear();
  models_.clear();
  Add("a", kBinary);
  Add("b", Report("binary", 1, 1, DataType::kFp64));
  const ModelFacts binary = *Combine(WEIGHTED_MEAN);
  EXPECT_THAT(Error("output { name: \"margin\" }", binary),
              HasSubstr("an ensemble has no margins"));
  EXPECT_EQ(Make("", binary)->outputs(0).tensor().datatype(),
            static_cast<uint32_t>(DataType::kFp64));
  EXPECT_TRUE(Make("output { name: \"prediction\" data_type: TYPE_FP32 }", binary).ok());
  EXPECT_TRUE(Make("output { name: \"class\" }", binary).ok());
}

TEST_F(EnsembleTest, MembersMustFitTogether) {
  Add("a", kBinary);
  Add("wide", kBinary);
  facts_[1].features = 31;
  EXPECT_THAT(CombineError(WEIGHTED_MEAN), HasSubstr("wide takes 31 features, and a takes 30"));
  facts_[1] = FactsOf(kMulticlass);
  models_[1].set_name("multi");
  EXPECT_THAT(CombineError(WEIGHTED_MEAN), HasSubstr("multi predicts 3 columns, and a predicts 1"));
  facts_[1] = FactsOf(kRegression);
  EXPECT_TRUE(Combine(WEIGHTED_MEAN).ok());
  EXPECT_THAT(CombineError(VOTE), HasSubstr("multi cannot vote"));
  models_[1].mutable_inputs(0)->set_datatype(static_cast<uint32_t>(DataType::kFp64));
  EXPECT_THAT(CombineError(WEIGHTED_MEAN), HasSubstr("multi takes FP64"));
}

}  // namespace
}  // namespace millrace
