#include "tools/load/http_json.h"

#include <string.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "gtest/gtest.h"
#include "tools/load/element.h"

namespace millrace {
namespace {

using inference::ModelInferRequest;

ModelInferRequest Request(const std::string& datatype, const std::vector<std::string>& cells) {
  ModelInferRequest request;
  request.set_model_name("m");
  auto* input = request.add_inputs();
  input->set_name("in");
  input->set_datatype(datatype);
  input->add_shape(static_cast<int64_t>(cells.size()));
  std::string* raw = request.add_raw_input_contents();
  for (const std::string& cell : cells) EXPECT_TRUE(AppendElement(cell, datatype, "c", raw).ok());
  return request;
}

TEST(HttpJsonTest, ARequestHoldsItsTensorsAndOutputs) {
  ModelInferRequest request = Request("BYTES", {"a", "say \"hi\"", ""});
  request.set_id("7");
  request.add_outputs()->set_name("p");
  const auto body = nlohmann::json::parse(*InferRequestJson(request));
  EXPECT_EQ(body, nlohmann::json::parse(R"({"id":"7","outputs":[{"name":"p"}],"inputs":[
      {"name":"in","datatype":"BYTES","shape":[3],"data":["a","say \"hi\"",""]}]})"));
}

TEST(HttpJsonTest, NumbersKeepTheirBitsAndNanIsNull) {
  const std::vector<std::string> cells = {"0.1", "1e-45", "3.4028235e+38", "-0", "nan"};
  const auto data =
      nlohmann::json::parse(*InferRequestJson(Request("FP32", cells)))["inputs"][0]["data"];
  for (size_t i = 0; i + 1 < cells.size(); ++i) {
    const float value = strtof(cells[i].c_str(), nullptr);
    const auto read = static_cast<float>(data[i].get<double>());
    EXPECT_EQ(memcmp(&value, &read, sizeof value), 0) << data[i];
  }
  EXPECT_TRUE(data[4].is_null());
}

TEST(HttpJsonTest, WhatJsonCannotCarryIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(InferRequestJson(Request("FP64", {"inf"})).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(InferRequestJson(Request("BYTES", {"\xff"})).status()));
}

TEST(HttpJsonTest, AnAnswerBecomesRawContents) {
  const auto answer = ParseInferAnswer(
      R"({"model_name":"m","model_version":"2","outputs":[
          {"name":"p","datatype":"FP32","shape":[1,2],"data":[0.1,null]},
          {"name":"c","datatype":"INT64","shape":[1],"data":[-9223372036854775808]},
          {"name":"l","datatype":"BYTES","shape":[1],"data":["low"]}]})");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->model_version(), "2");
  ASSERT_EQ(answer->raw_output_contents_size(), 3);
  float p[2];
  memcpy(p, answer->raw_output_contents(0).data(), sizeof p);
  EXPECT_EQ(p[0], 0.1f);
  EXPECT_TRUE(std::isnan(p[1]));
  std::string_view rest = answer->raw_output_contents(1);
  EXPECT_EQ(*TakeElement("INT64", &rest), "-9223372036854775808");
  rest = answer->raw_output_contents(2);
  EXPECT_EQ(*TakeElement("BYTES", &rest), "low");
  EXPECT_EQ(answer->outputs(0).shape(1), 2);
}

TEST(HttpJsonTest, AnAnswerOfAnotherFormIsRefused) {
  for (const char* body : {"", "[]", "{}", R"({"model_name":"m","outputs":[{"name":"p"}]})",
                           R"({"model_name":"m","outputs":[{"name":"p","datatype":"FP32",
                              "shape":[1],"data":["x"]}]})"}) {
    EXPECT_TRUE(absl::IsInternal(ParseInferAnswer(body).status())) << body;
  }
}

TEST(HttpJsonTest, MetadataWithAndWithoutProperties) {
  const auto plain = ParseMetadataAnswer(
      R"({"name":"m","versions":["1","2"],"platform":"x",
          "inputs":[{"name":"in","datatype":"FP32","shape":[-1,3]}],"outputs":[]})");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->versions_size(), 2);
  EXPECT_EQ(plain->inputs(0).shape(1), 3);
  const auto view = ParseMetadataAnswer(
      R"({"name":"m","versions":[],"inputs":[],"outputs":[],
          "properties":{"raw_column.age":"number"}})");
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->properties().at("raw_column.age"), "number");
}

TEST(HttpJsonTest, ErrorsKeepTheirSentence) {
  EXPECT_EQ(ParseHttpError(404, R"({"error":"no such model"})"),
            absl::NotFoundError("no such model"));
  EXPECT_EQ(ParseHttpError(503, "<html>"), absl::UnavailableError("the server answered HTTP 503"));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseHttpError(400, "")));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ParseHttpError(504, "")));
  EXPECT_TRUE(absl::IsResourceExhausted(ParseHttpError(429, "")));
  EXPECT_TRUE(absl::IsInternal(ParseHttpError(418, "")));
}

TEST(HttpJsonTest, TargetsAreEncoded) {
  EXPECT_EQ(ModelTarget("a-b_c.d", ""), "/v2/models/a-b_c.d");
  EXPECT_EQ(ModelTarget("a/b c", "1%"), "/v2/models/a%2Fb%20c/versions/1%25");
}

// Each datatype from a cell to JSON, and from an answer's JSON to bytes and to text again.
TEST(HttpJsonTest, EveryDatatypeThatJsonCanCarry) {
  const std::pair<const char*, std::vector<std::string>> cells[] = {
      {"BOOL", {"0", "1"}},
      {"INT8", {"-128", "127"}},
      {"INT16", {"-32768", "32767"}},
      {"INT32", {"-2147483648", "2147483647"}},
      {"INT64", {"-9223372036854775808", "9223372036854775807"}},
      {"UINT8", {"0", "255"}},
      {"UINT16", {"0", "65535"}},
      {"UINT32", {"0", "4294967295"}},
      {"UINT64", {"0", "18446744073709551615"}},
      {"FP32", {"0.1", "-3"}},
      {"FP64", {"0.1", "-3"}}};
  for (const auto& [datatype, texts] : cells) {
    inference::ModelInferRequest request;
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype(datatype);
    input->add_shape(2);
    std::string* raw = request.add_raw_input_contents();
    for (const std::string& text : texts) {
      ASSERT_TRUE(AppendElement(text, datatype, "cell", raw).ok()) << datatype;
    }
    const auto body = InferRequestJson(request);
    ASSERT_TRUE(body.ok()) << datatype << body.status();
    auto json = nlohmann::json::parse(*body);
    const auto answer =
        ParseInferAnswer(nlohmann::json{{"model_name", "m"}, {"outputs", json["inputs"]}}.dump());
    ASSERT_TRUE(answer.ok()) << datatype << answer.status();
    EXPECT_EQ(answer->raw_output_contents(0), *raw) << datatype;
    std::string_view rest = answer->raw_output_contents(0);
    for (const std::string& text : texts) {
      const auto told = TakeElement(datatype, &rest);
      ASSERT_TRUE(told.ok()) << datatype;
      EXPECT_EQ(*told, text) << datatype;
    }
  }
}

TEST(HttpJsonTest, ACellOutOfItsDatatypesRangeIsRefused) {
  std::string raw;
  for (const auto& [datatype, cell] :
       {std::pair("INT8", "128"), std::pair("UINT8", "-1"), std::pair("INT32", "2147483648"),
        std::pair("UINT64", "18446744073709551616"), std::pair("BOOL", "2"),
        std::pair("INT16", "1.5"), std::pair("UINT16", ""), std::pair("FP16", "1")}) {
    EXPECT_FALSE(AppendElement(cell, datatype, "cell", &raw).ok()) << datatype << " " << cell;
  }
}

}  // namespace
}  // namespace millrace
