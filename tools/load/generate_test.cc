#include "tools/load/generate.h"

#include <string.h>

#include "gtest/gtest.h"
#include "tools/load/element.h"

namespace millrace {
namespace {

inference::ModelMetadataResponse Model(const std::string& datatype,
                                       const std::vector<int64_t>& shape) {
  inference::ModelMetadataResponse model;
  model.set_name("m");
  auto* input = model.add_inputs();
  input->set_name("in");
  input->set_datatype(datatype);
  for (const int64_t dim : shape) input->add_shape(dim);
  auto* output = model.add_outputs();
  output->set_name("out");
  output->set_datatype("FP32");
  return model;
}

std::string FaultOf(const inference::ModelMetadataResponse& model,
                    const GenerateOptions& options = {}) {
  const auto set = GenerateRequests(model, options);
  return set.ok() ? "" : std::string(set.status().message());
}

TEST(GenerateTest, ShapeAndRowsAreTheMetadatas) {
  GenerateOptions options;
  options.rows = 3;
  options.distinct = 5;
  const auto set = GenerateRequests(Model("FP64", {-1, 4}), options);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->requests.size(), 5U);
  EXPECT_EQ(set->output_names, std::vector<std::string>{"out"});
  const auto& request = set->requests[0].request;
  EXPECT_EQ(request.model_name(), "m");
  EXPECT_EQ(request.inputs(0).name(), "in");
  EXPECT_EQ(request.inputs(0).datatype(), "FP64");
  EXPECT_EQ(request.inputs(0).shape(0), 3);
  EXPECT_EQ(request.inputs(0).shape(1), 4);
  EXPECT_EQ(request.raw_input_contents(0).size(), 3 * 4 * sizeof(double));
  EXPECT_TRUE(set->requests[0].expected.empty());
}

// As many elements as the shape says, each within its range, in every datatype that text can tell.
TEST(GenerateTest, EveryDatatypeHasElementsInRange) {
  for (const char* datatype : {"BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16",
                               "UINT32", "UINT64", "FP32", "FP64"}) {
    const auto set = GenerateRequests(Model(datatype, {-1, 50}), {});
    ASSERT_TRUE(set.ok()) << datatype;
    std::string_view raw = set->requests[0].request.raw_input_contents(0);
    int elements = 0;
    for (; !raw.empty(); ++elements) {
      const auto text = TakeElement(datatype, &raw);
      ASSERT_TRUE(text.ok()) << datatype;
      const double value = std::stod(*text);
      EXPECT_GE(value, 0) << datatype;
      EXPECT_LT(value, strchr(datatype, 'F') != nullptr ? 1 : 100) << datatype;
    }
    EXPECT_EQ(elements, 50) << datatype;
  }
  for (const char* datatype : {"FP16", "BF16"}) {
    const auto set = GenerateRequests(Model(datatype, {-1, 50}), {});
    ASSERT_TRUE(set.ok()) << datatype;
    EXPECT_EQ(set->requests[0].request.raw_input_contents(0).size(), 100U);
  }
}

TEST(GenerateTest, TextsAreOfTheirLength) {
  GenerateOptions options;
  options.text_bytes = 5;
  const auto set = GenerateRequests(Model("BYTES", {-1}), options);
  ASSERT_TRUE(set.ok());
  std::string_view raw = set->requests[0].request.raw_input_contents(0);
  const auto text = TakeElement("BYTES", &raw);
  EXPECT_EQ(text->size(), 5U);
  EXPECT_TRUE(raw.empty());
}

TEST(GenerateTest, TheSeedDecidesTheBytes) {
  GenerateOptions options;
  const auto bytes = [&](uint64_t seed) {
    options.seed = seed;
    return GenerateRequests(Model("FP32", {-1, 4}), options)
        ->requests[1]
        .request.raw_input_contents(0);
  };
  EXPECT_EQ(bytes(1), bytes(1));
  EXPECT_NE(bytes(1), bytes(2));
  const auto set = GenerateRequests(Model("FP32", {-1, 4}), options);
  EXPECT_NE(set->requests[0].request.raw_input_contents(0),
            set->requests[1].request.raw_input_contents(0))
      << "requests differ";
}

TEST(GenerateTest, AShapeIsTakenWhereItFits) {
  GenerateOptions options;
  options.shapes["in"] = {2, 7, 3};
  const auto set = GenerateRequests(Model("INT8", {-1, -1, 3}), options);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->requests[0].request.raw_input_contents(0).size(), 42U);
  EXPECT_NE(FaultOf(Model("INT8", {-1, -1, 4}), options).find("does not fit [-1, -1, 4]"),
            std::string::npos);
  EXPECT_NE(FaultOf(Model("INT8", {-1, -1}), options), "");
  options.shapes["other"] = {1};
  EXPECT_NE(FaultOf(Model("INT8", {-1, -1, 3}), options).find("does not have"), std::string::npos);
}

TEST(GenerateTest, WhatCannotBeMadeUpIsRefused) {
  EXPECT_NE(FaultOf(Model("FP32", {-1, -1})).find("give --shape"), std::string::npos);
  EXPECT_NE(FaultOf(Model("FP8", {-1})).find("'FP8'"), std::string::npos);
  EXPECT_NE(FaultOf(Model("FP64", {1 << 20, 1 << 20})).find("1 GiB"), std::string::npos);
  EXPECT_NE(FaultOf(Model("FP64", {INT64_MAX, INT64_MAX})).find("1 GiB"), std::string::npos);
  EXPECT_NE(FaultOf(inference::ModelMetadataResponse()).find("no inputs"), std::string::npos);
}

TEST(GenerateTest, BigRequestsAreFew) {
  const auto set = GenerateRequests(Model("FP64", {1, 10 << 20}), {});
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(set->requests.size(), 3U);
}

}  // namespace
}  // namespace millrace
