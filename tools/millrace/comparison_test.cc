#include "tools/millrace/comparison.h"

#include "gtest/gtest.h"
#include "tools/load/element.h"

namespace millrace {
namespace {

std::string Raw(const std::string& datatype, const std::vector<std::string>& cells) {
  std::string raw;
  for (const std::string& cell : cells) EXPECT_TRUE(AppendElement(cell, datatype, "c", &raw).ok());
  return raw;
}

// Two rows of "p" (two columns) and "label".
class ComparisonTest : public testing::Test {
 protected:
  ComparisonTest() {
    set.output_names = {"p", "label"};
    set.output_types = {"FP32", "BYTES"};
    golden.request.add_inputs()->add_shape(2);
    golden.expected = {Raw("FP32", {"0.5", "1", "2", "nan"}), Raw("BYTES", {"low", "high"})};
    Answer("p", "FP32", golden.expected[0]);
    Answer("label", "BYTES", golden.expected[1]);
  }

  void Answer(const std::string& name, const std::string& datatype, const std::string& raw) {
    auto* output = response.add_outputs();
    output->set_name(name);
    output->set_datatype(datatype);
    response.add_raw_output_contents(raw);
  }

  GoldenSet set;
  GoldenRequest golden;
  inference::ModelInferResponse response;
};

TEST_F(ComparisonTest, EqualBitsAreEqualNanToo) {
  Comparison comparison(1, 10);
  comparison.Add(set, golden, response, 0);
  comparison.Add(set, golden, response, 2);
  EXPECT_EQ(comparison.values(), 12);
  EXPECT_EQ(comparison.equal(), 12);
  EXPECT_TRUE(comparison.differences().empty());
  ASSERT_EQ(comparison.shown().size(), 3u) << "the first row only";
  EXPECT_EQ(comparison.shown()[1].column, "p[1]");
  EXPECT_EQ(comparison.shown()[2].answered, "low");
}

TEST_F(ComparisonTest, DifferencesAreToldWithRowAndColumn) {
  *response.mutable_raw_output_contents(0) = Raw("FP32", {"0.5", "1", "2.0000002", "-0"});
  *response.mutable_raw_output_contents(1) = Raw("BYTES", {"low", "height"});
  Comparison comparison(0, 2);
  comparison.Add(set, golden, response, 10);
  EXPECT_EQ(comparison.values(), 6);
  EXPECT_EQ(comparison.equal(), 3);
  ASSERT_EQ(comparison.differences().size(), 2u) << "no more than asked for";
  EXPECT_EQ(comparison.differences()[0].row, 11u);
  EXPECT_EQ(comparison.differences()[0].column, "p[0]");
  EXPECT_EQ(comparison.differences()[0].answered, "2.0000002");
  EXPECT_EQ(comparison.differences()[0].expected, "2");
  EXPECT_TRUE(comparison.shown().empty());
}

TEST_F(ComparisonTest, BothZerosAreDifferentBits) {
  golden.expected[0] = Raw("FP32", {"0", "1", "2", "3"});
  *response.mutable_raw_output_contents(0) = Raw("FP32", {"-0", "1", "2", "3"});
  Comparison comparison(0, 10);
  comparison.Add(set, golden, response, 0);
  EXPECT_EQ(comparison.equal(), 5);
}

TEST_F(ComparisonTest, WhatTheAnswerDoesNotHoldIsADifference) {
  response.mutable_raw_output_contents(0)->resize(9);  // cut within the third element
  response.mutable_outputs(1)->set_datatype("FP32");
  Comparison comparison(0, 10);
  comparison.Add(set, golden, response, 0);
  EXPECT_EQ(comparison.values(), 6);
  EXPECT_EQ(comparison.equal(), 2);
  EXPECT_EQ(comparison.differences()[0].answered, "nothing");
  Comparison empty(0, 10);
  empty.Add(set, golden, inference::ModelInferResponse(), 0);
  EXPECT_EQ(empty.equal(), 0);
  EXPECT_EQ(empty.values(), 6);
}

}  // namespace
}  // namespace millrace
