#include "tools/load/golden.h"

#include <string.h>

#include <cmath>

#include "gtest/gtest.h"
#include "tools/load/element.h"

namespace millrace {
namespace {

using inference::ModelMetadataResponse;

template <typename T>
std::string Bytes(std::initializer_list<T> values) {
  std::string raw;
  for (T value : values) raw.append(reinterpret_cast<const char*>(&value), sizeof value);
  return raw;
}

std::string Text(const std::string& text) {
  return Bytes<uint32_t>({static_cast<uint32_t>(text.size())}) + text;
}

// A tensor of two columns or the raw columns "age" and "plan"; outputs: p of two columns, label.
ModelMetadataResponse TwoColumns() {
  ModelMetadataResponse model;
  model.set_name("m");
  auto* input = model.add_inputs();
  input->set_name("in");
  input->set_datatype("FP32");
  input->add_shape(-1);
  input->add_shape(2);
  for (const auto& [name, type] : {std::pair("p", "FP64"), std::pair("label", "BYTES")}) {
    auto* output = model.add_outputs();
    output->set_name(name);
    output->set_datatype(type);
    output->add_shape(-1);
  }
  (*model.mutable_properties())["feature_view"] = "v";
  (*model.mutable_properties())["raw_column.age"] = "number";
  (*model.mutable_properties())["raw_column.plan"] = "string";
  return model;
}

Csv Parse(const std::string& text) { return *ParseCsv(text, "f.csv"); }

std::string FaultOf(const Csv& rows, const Csv* expect = nullptr) {
  const auto set = MakeGolden(TwoColumns(), rows, expect, 1);
  return set.ok() ? "" : std::string(set.status().message());
}

TEST(GoldenTest, ATensorIsCutIntoRequests) {
  const auto set = MakeGolden(TwoColumns(), Parse("x,y\n1,2\n3,\n5,6\n"), nullptr, 2);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->requests.size(), 2u);
  const auto& request = set->requests[0].request;
  EXPECT_EQ(request.model_name(), "m");
  ASSERT_EQ(request.inputs_size(), 1);
  EXPECT_EQ(request.inputs(0).name(), "in");
  EXPECT_EQ(request.inputs(0).shape(0), 2);
  EXPECT_EQ(request.inputs(0).shape(1), 2);
  ASSERT_EQ(request.raw_input_contents(0).size(), 16u);
  float values[4];
  memcpy(values, request.raw_input_contents(0).data(), 16);
  EXPECT_EQ(values[2], 3);
  EXPECT_TRUE(std::isnan(values[3])) << "an empty cell is missing";
  EXPECT_EQ(set->requests[1].request.raw_input_contents(0), Bytes<float>({5, 6}));
  EXPECT_TRUE(set->requests[0].expected.empty());
}

TEST(GoldenTest, AHeaderOfRawColumnsSendsThemInAnyOrder) {
  const auto set = MakeGolden(TwoColumns(), Parse("plan,age\nfamily,\n,7\n"), nullptr, 2);
  ASSERT_TRUE(set.ok()) << set.status();
  const auto& request = set->requests[0].request;
  ASSERT_EQ(request.inputs_size(), 2);
  EXPECT_EQ(request.inputs(0).name(), "plan");
  EXPECT_EQ(request.inputs(0).datatype(), "BYTES");
  EXPECT_EQ(request.raw_input_contents(0), Text("family") + Text(""));
  EXPECT_EQ(request.inputs(1).datatype(), "FP64");
  EXPECT_EQ(request.inputs(1).shape_size(), 1);
  EXPECT_EQ(request.raw_input_contents(1).substr(8), Bytes<double>({7}));
}

TEST(GoldenTest, ExpectedBytesStandInTheModelsOrder) {
  const Csv expect = Parse("label,p[0],p[1]\nlow,0.5,1\n");
  const auto set = MakeGolden(TwoColumns(), Parse("x,y\n1,2\n"), &expect, 1);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->output_names, (std::vector<std::string>{"p", "label"}));
  EXPECT_EQ(set->output_types, (std::vector<std::string>{"FP64", "BYTES"}));
  const GoldenRequest& golden = set->requests[0];
  ASSERT_EQ(golden.request.outputs_size(), 2);
  EXPECT_EQ(golden.request.outputs(0).name(), "p");
  EXPECT_EQ(golden.expected[0], Bytes<double>({0.5, 1}));
  EXPECT_EQ(golden.expected[1], Text("low"));
}

TEST(GoldenTest, OnlyTheOutputsThatTheFileHasAreAskedFor) {
  const Csv expect = Parse("label\nlow\n");
  const auto set = MakeGolden(TwoColumns(), Parse("x,y\n1,2\n"), &expect, 1);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->requests[0].request.outputs_size(), 1);
  EXPECT_EQ(set->requests[0].request.outputs(0).name(), "label");
}

TEST(GoldenTest, FaultsSayWhatDisagrees) {
  EXPECT_EQ(FaultOf(Parse("x,y\n")), "no rows");
  EXPECT_EQ(FaultOf(Parse("x,y\n1,two\n")), "row 1, column 'y': 'two' is no FP32");
  EXPECT_EQ(FaultOf(Parse("age,plan\n1x,a\n")), "row 1, column 'age': '1x' is no FP64");
  EXPECT_EQ(FaultOf(Parse("age,place,sum\n1,a,2\n")),
            "rows: 3 columns (age, place, sum), but the model takes a tensor of shape [-1, 2], or "
            "the columns age, plan");
  const Csv rows = Parse("x,y\n1,2\n");
  Csv expect = Parse("p\n1\n2\n");
  EXPECT_EQ(FaultOf(rows, &expect), "1 rows, but 2 expected");
  expect = Parse("q\n1\n");
  EXPECT_EQ(FaultOf(rows, &expect), "the model has no output for column 'q'");
  expect = Parse("p\n\n");
  EXPECT_EQ(FaultOf(rows, &expect), "row 1, column 'p': '' is no FP64");
}

TEST(ElementTest, TextAndBytesGoBothWays) {
  const std::pair<const char*, const char*> cases[] = {
      {"FP32", "0.1"},    {"FP32", "1e-45"},       {"FP32", "-0"},
      {"FP32", "inf"},    {"FP32", "nan"},         {"FP64", "0.1"},
      {"FP64", "5e-324"}, {"FP64", "-inf"},        {"INT64", "-9223372036854775808"},
      {"BYTES", ""},      {"BYTES", "caf\xc3\xa9"}};
  for (const auto& [datatype, text] : cases) {
    std::string raw;
    ASSERT_TRUE(AppendElement(text, datatype, "cell", &raw).ok()) << text;
    std::string_view rest = raw;
    EXPECT_EQ(*TakeElement(datatype, &rest), text);
    EXPECT_TRUE(rest.empty());
  }
}

TEST(ElementTest, WhatIsNoNumberOrCutShortIsRefused) {
  std::string raw;
  for (const char* text : {"", " ", "x", "1 ", "0x", "1,5"}) {
    EXPECT_FALSE(AppendElement(text, "FP32", "cell", &raw).ok()) << text;
  }
  EXPECT_FALSE(AppendElement("9223372036854775808", "INT64", "cell", &raw).ok());
  EXPECT_FALSE(AppendElement("1.5", "INT64", "cell", &raw).ok());
  EXPECT_FALSE(AppendElement("1", "COMPLEX", "cell", &raw).ok());
  for (const auto& [datatype, bytes] :
       {std::pair("FP64", std::string(7, 'x')), std::pair("BYTES", std::string(3, '\0')),
        std::pair("BYTES", Text("abc").substr(0, 6))}) {
    std::string_view rest = bytes;
    EXPECT_FALSE(TakeElement(datatype, &rest).ok()) << datatype;
  }
}

}  // namespace
}  // namespace millrace
