// Golden requests: made from a signature, read from a file, combined for an ensemble.
#include "services/registry/golden.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <math.h>
#include <string.h>

#include "common/golden_row.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

template <typename T>
std::vector<T> Numbers(const std::string& data) {
  std::vector<T> numbers(data.size() / sizeof(T));
  memcpy(numbers.data(), data.data(), data.size());
  return numbers;
}

Model ModelOf(const std::string& more) {
  Model model;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "name: 'm' version: '1' inputs { name: 'input' datatype: 11 dims: 3 }" + more, &model));
  return model;
}

constexpr char kOutputs[] = R"(
  outputs { tensor { name: "prediction" datatype: 12 dims: 2 } kind: PREDICTION }
  outputs { tensor { name: "margin" datatype: 11 dims: 2 } kind: MARGIN }
  outputs { tensor { name: "class" datatype: 9 dims: 1 } kind: CLASS }
  outputs { tensor { name: "label" datatype: 13 dims: 1 } kind: LABEL labels: "no" labels: "yes" }
  outputs { tensor { name: "top_k" datatype: 13 dims: 2 } kind: TOP_K })";

constexpr char kView[] = R"(
  view { features { column: "age" type: NUMBER }
         features { column: "plan" type: STRING
                    transforms { vocabulary { values: "family" values: "single" } } }
         features { column: "age" type: NUMBER }
         features { column: "note" type: STRING } })";

ModelFacts Facts() {
  ModelFacts facts;
  facts.features = 3;
  facts.golden_margins = {-1.5, 1.5};
  facts.golden_predictions = {0.125, 0.875};
  return facts;
}

TEST(GoldenTest, TheTensorRequestExpectsWhatFollowsFromTheReference) {
  Model model = ModelOf(kOutputs);
  AddGolden(Facts(), &model);
  ASSERT_EQ(model.golden_size(), 1);
  const Golden& golden = model.golden(0);
  EXPECT_FALSE(golden.guessed());
  ASSERT_EQ(golden.inputs_size(), 1);
  EXPECT_EQ(Numbers<float>(golden.inputs(0).data()),
            (std::vector<float>{GoldenRowValue(0), GoldenRowValue(1), GoldenRowValue(2)}));
  ASSERT_EQ(golden.outputs_size(), 4) << "the text of scores is not reckoned here";
  EXPECT_EQ(Numbers<double>(golden.outputs(0).data()), (std::vector<double>{0.125, 0.875}));
  EXPECT_EQ(Numbers<float>(golden.outputs(1).data()), (std::vector<float>{-1.5, 1.5}));
  EXPECT_EQ(Numbers<int64_t>(golden.outputs(2).data()), std::vector<int64_t>{1});
  EXPECT_EQ(golden.outputs(3).data(), std::string("\3\0\0\0yes", 7));
}

TEST(GoldenTest, WithoutNumbersNothingIsExpected) {
  Model model = ModelOf(kOutputs);
  AddGolden({}, &model);
  ASSERT_EQ(model.golden_size(), 1);
  EXPECT_EQ(model.golden(0).outputs_size(), 0);
}

TEST(GoldenTest, AViewHasARequestOfItsColumnsEachOnce) {
  Model model = ModelOf(std::string(kOutputs) + kView);
  AddGolden(Facts(), &model);
  ASSERT_EQ(model.golden_size(), 2);
  const Golden& raw = model.golden(1);
  EXPECT_TRUE(raw.guessed());
  ASSERT_EQ(raw.inputs_size(), 3);
  EXPECT_EQ(raw.inputs(0).name(), "age");
  EXPECT_EQ(raw.inputs(0).datatype(), static_cast<uint32_t>(DataType::kFp64));
  EXPECT_EQ(raw.inputs(1).data(), std::string("\6\0\0\0family", 10));
  EXPECT_EQ(raw.inputs(2).data(), std::string("\1\0\0\0a", 5));
  EXPECT_EQ(raw.outputs_size(), 0);
}

TEST(GoldenTest, AFileTakesThePlaceOfTheRequestOfItsKind) {
  Model model = ModelOf(std::string(kOutputs) + kView);
  AddGolden(Facts(), &model);
  const Golden tensor = model.golden(0);
  ASSERT_TRUE(ReadGolden(R"({"tolerance": 1e-6, "inputs": [
      {"name": "note", "datatype": "BYTES", "shape": [1], "data": ["x"]},
      {"name": "age", "datatype": "INT16", "shape": [1, 1], "data": [-3]},
      {"name": "plan", "datatype": "BYTES", "shape": [1], "data": ["single"]}],
    "outputs": [{"name": "prediction", "datatype": "FP64", "shape": [1, 2], "data": [0.1, null]}]})",
                         &model)
                  .ok());
  ASSERT_EQ(model.golden_size(), 2);
  EXPECT_EQ(model.golden(0).SerializeAsString(), tensor.SerializeAsString());
  const Golden& raw = model.golden(1);
  EXPECT_FALSE(raw.guessed());
  EXPECT_EQ(raw.tolerance(), 1e-6);
  EXPECT_EQ(Numbers<int16_t>(raw.inputs(1).data()), std::vector<int16_t>{-3});
  ASSERT_EQ(raw.outputs_size(), 1);
  EXPECT_EQ(Numbers<double>(raw.outputs(0).data())[0], 0.1);
  EXPECT_TRUE(std::isnan(Numbers<double>(raw.outputs(0).data())[1]));

  ASSERT_TRUE(ReadGolden(R"({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3],
                             "data": [1, 2.5, 3]}], "outputs": [{"name": "class",
                             "datatype": "INT64", "shape": [1, 1], "data": [1]}]})",
                         &model)
                  .ok());
  EXPECT_EQ(Numbers<float>(model.golden(0).inputs(0).data()), (std::vector<float>{1, 2.5, 3}));
  EXPECT_FALSE(model.golden(1).guessed());
}

TEST(GoldenTest, FaultsOfTheFileNameTheField) {
  const std::string in = R"("inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3],)"
                         R"( "data": [1, 2, 3]}])";
  const std::string out = R"("outputs": [{"name": "class", "datatype": "INT64", "shape": [1],)"
                          R"( "data": [1]}])";
  const std::pair<std::string, const char*> cases[] = {
      {"nonsense", "the file: must be one JSON object"},
      {"{" + in + "}", "outputs: is missing"},
      {"{" + out + "}", "inputs: is missing"},
      {"{" + in + "," + out + R"(,"x": 1})", "x: is not known"},
      {"{" + in + "," + out + R"(,"tolerance": 1})", "tolerance: must be a number"},
      {R"({"inputs": [], )" + out + "}", "inputs: must be an array, not empty"},
      {R"({"inputs": [3], )" + out + "}", "inputs[0].name: the model has no such input"},
      {R"({"inputs": [{"name": "input", "datatype": "FP64"}], )" + out + "}",
       "inputs[0].datatype: must be FP32"},
      {R"({"inputs": [{"name": "input", "datatype": "FP32", "shape": [2, 3]}], )" + out + "}",
       "inputs[0].shape: must be [1, 3]"},
      {R"({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3], "data": [1]}], )" +
           out + "}",
       "inputs[0].data: must be 3 elements"},
      {R"({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3],)"
       R"( "data": [1, 2, "x"]}], )" +
           out + "}",
       "inputs[0].data[2]: is no FP32"},
      {R"({"inputs": [{"name": "age", "datatype": "FP32", "shape": [1], "data": [1]}], )" + out +
           "}",
       "note is missing"},
      {"{" + in + R"(,"outputs": [{"name": "y"}]})",
       "outputs[0].name: the model has no such output"},
      {"{" + in +
           R"(,"outputs": [{"name": "class", "datatype": "INT64", "shape": [1],)"
           R"( "data": [1.5]}]})",
       "outputs[0].data[0]: is no INT64"},
  };
  for (const auto& [text, message] : cases) {
    Model model = ModelOf(std::string(kOutputs) + kView);
    AddGolden(Facts(), &model);
    const absl::Status status = ReadGolden(text, &model);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << text;
  }
}

TEST(GoldenTest, AnEnsembleIsCombinedFromItsMembers) {
  const std::vector<double> a = {0.5, 0.25, 0.25}, b = {0.1, 0.2, 0.7}, none, one = {0.7},
                            low = {0.2};
  EXPECT_EQ(CombineGolden(WEIGHTED_MEAN, {3, 1}, {&a, &b}),
            (std::vector<double>{(3 * 0.5 + 0.1) / 4, (3 * 0.25 + 0.2) / 4, (3 * 0.25 + 0.7) / 4}));
  EXPECT_EQ(CombineGolden(VOTE, {3, 1}, {&a, &b}), (std::vector<double>{0.75, 0, 0.25}));
  EXPECT_EQ(CombineGolden(VOTE, {3, 1}, {&low, &one}), std::vector<double>{0.25});
  EXPECT_TRUE(CombineGolden(WEIGHTED_MEAN, {1, 1}, {&a, &none}).empty());
  EXPECT_TRUE(CombineGolden(WEIGHTED_MEAN, {1, 1}, {&none, &a}).empty());
}

GoldenTensor TensorOf(DataType type, const std::string& data) {
  GoldenTensor tensor;
  tensor.set_datatype(static_cast<uint32_t>(type));
  tensor.set_data(data);
  return tensor;
}

template <typename T>
std::string Bytes(std::initializer_list<T> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};
}

TEST(GoldenTest, AnAnswerDiffersByAnyElement) {
  const auto differ = [](DataType type, const std::string& a, const std::string& b, double within) {
    return GoldenDifference(TensorOf(type, a), TensorOf(type, b), within);
  };
  const std::string floats = Bytes<float>({1, NAN, 3});
  EXPECT_EQ(differ(DataType::kFp32, floats, floats, 0), "");
  EXPECT_EQ(differ(DataType::kFp32, floats, Bytes<float>({1, NAN, 3.25}), 0),
            "element 2 is 3, and the model answers 3.25");
  EXPECT_EQ(differ(DataType::kFp32, floats, Bytes<float>({1, NAN, 3.25}), 0.1), "");
  EXPECT_EQ(differ(DataType::kFp32, floats, Bytes<float>({1, 2, 3}), 0.9),
            "element 1 is nan, and the model answers 2");
  EXPECT_EQ(differ(DataType::kFp32, floats, Bytes<float>({1, NAN}), 0), "has another size");
  EXPECT_EQ(differ(DataType::kFp64, Bytes<double>({1, 2}), Bytes<double>({1, 2.5}), 0.1),
            "element 1 is 2, and the model answers 2.5");
  // Of no other type is one answer near another.
  EXPECT_EQ(differ(DataType::kInt64, Bytes<int64_t>({100}), Bytes<int64_t>({100}), 0.5), "");
  EXPECT_EQ(differ(DataType::kInt64, Bytes<int64_t>({100}), Bytes<int64_t>({101}), 0.5),
            "the model answers otherwise");
  EXPECT_EQ(differ(DataType::kBytes, "\x02...ab", "\x02...ac", 0.5), "the model answers otherwise");
}

}  // namespace
}  // namespace millrace
