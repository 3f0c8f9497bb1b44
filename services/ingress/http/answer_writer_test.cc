#include "services/ingress/http/answer_writer.h"

#include <gtest/gtest.h>
#include <string.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using Json = nlohmann::json;

struct Tensor {
  std::string name;
  DataType datatype;
  std::vector<int64_t> shape;
  std::string raw;
};

absl::Status Write(const std::vector<Tensor>& tensors, const AnswerForm& form, AnswerBody* body) {
  std::vector<TensorView> views;
  for (const Tensor& tensor : tensors) {
    views.push_back({tensor.name, tensor.datatype, tensor.shape, tensor.raw});
  }
  return WriteAnswer({absl::OkStatus(), "m", "3", views}, form, body);
}

std::string Text(const std::vector<Tensor>& tensors, const AnswerForm& form = {}) {
  AnswerBody body;
  const absl::Status status = Write(tensors, form, &body);
  EXPECT_TRUE(status.ok()) << Message(status);
  EXPECT_TRUE(Json::accept(body.json)) << body.json;
  EXPECT_FALSE(body.has_binary);
  return body.json;
}

std::string DataOf(DataType type, int64_t count, std::string raw) {
  return Json::parse(Text({{"y", type, {count}, std::move(raw)}}))["outputs"][0]["data"].dump();
}

TEST(AnswerWriter, JsonAnswer) {
  AnswerForm form;
  form.id = "i\"1";
  EXPECT_EQ(Text({{"p", DataType::kFp32, {2, 1}, Bytes(0.1f, 1e20f)},
                  {"label", DataType::kBytes, {2, 1}, Element("a") + Element("\n\x01\xff")}},
                 form),
            R"({"model_name":"m","model_version":"3","id":"i\"1","outputs":[)"
            R"({"name":"p","datatype":"FP32","shape":[2,1],"data":[0.1,1e+20]},)"
            R"({"name":"label","datatype":"BYTES","shape":[2,1],"data":["a","\n\u0001)"
            "\xEF\xBF\xBD\"]}]}");
  EXPECT_EQ(Text({}), R"({"model_name":"m","model_version":"3","outputs":[]})");
}

TEST(AnswerWriter, EveryDatatype) {
  EXPECT_EQ(DataOf(DataType::kBool, 2, std::string("\0\1", 2)), "[false,true]");
  EXPECT_EQ(DataOf(DataType::kUint8, 1, "\xff"), "[255]");
  EXPECT_EQ(DataOf(DataType::kUint16, 1, Bytes(uint16_t{65535})), "[65535]");
  EXPECT_EQ(DataOf(DataType::kUint32, 1, Bytes(~uint32_t{0})), "[4294967295]");
  EXPECT_EQ(DataOf(DataType::kUint64, 1, Bytes(~uint64_t{0})), "[18446744073709551615]");
  EXPECT_EQ(DataOf(DataType::kInt8, 1, "\xff"), "[-1]");
  EXPECT_EQ(DataOf(DataType::kInt16, 1, Bytes(int16_t{-2})), "[-2]");
  EXPECT_EQ(DataOf(DataType::kInt32, 1, Bytes(int32_t{-3})), "[-3]");
  EXPECT_EQ(DataOf(DataType::kInt64, 1, Bytes(std::numeric_limits<int64_t>::min())),
            "[-9223372036854775808]");
  EXPECT_EQ(DataOf(DataType::kBytes, 1, Element("\xe2\x82\xac")), "[\"\xe2\x82\xac\"]");
}

TEST(AnswerWriter, WhatIsNotFiniteIsNull) {
  EXPECT_EQ(DataOf(DataType::kFp32, 3, Bytes(NAN, INFINITY, -INFINITY)), "[null,null,null]");
  EXPECT_EQ(DataOf(DataType::kFp64, 1, Bytes(std::nan(""))), "[null]");
}

// Property: floats and doubles read back as the same bits.
TEST(AnswerWriter, NumbersRoundTrip) {
  uint64_t bits = 1;
  for (int i = 0; i < 20000; ++i) {
    bits = bits * 6364136223846793005 + 1442695040888963407;
    double wide;
    float narrow;
    memcpy(&wide, &bits, sizeof(wide));
    memcpy(&narrow, &bits, sizeof(narrow));
    std::string text;
    if (std::isfinite(wide)) {
      AppendJsonNumber(wide, &text);
      ASSERT_EQ(strtod(text.c_str(), nullptr), wide);
      ASSERT_TRUE(Json::accept(text)) << text;
    }
    text.clear();
    if (std::isfinite(narrow)) {
      AppendJsonNumber(narrow, &text);
      ASSERT_EQ(strtof(text.c_str(), nullptr), narrow);
      // What a client does that has only doubles.
      ASSERT_EQ(static_cast<float>(strtod(text.c_str(), nullptr)), narrow);
      ASSERT_TRUE(Json::accept(text)) << text;
    }
  }
}

TEST(AnswerWriter, BinaryOutputs) {
  AnswerForm form;
  form.binary = true;
  form.outputs = {{"j", false}, {"b", true}};
  AnswerBody body;
  const std::vector<Tensor> tensors = {{"b", DataType::kFp32, {2}, Bytes(1.0f, NAN)},
                                       {"j", DataType::kInt8, {1}, "\1"},
                                       {"other", DataType::kFp16, {1}, "hh"}};
  ASSERT_TRUE(Write(tensors, form, &body).ok());
  EXPECT_TRUE(body.has_binary);
  EXPECT_EQ(
      body.json,
      R"({"model_name":"m","model_version":"3","outputs":[)"
      R"({"name":"b","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}},)"
      R"({"name":"j","datatype":"INT8","shape":[1],"data":[1]},)"
      R"({"name":"other","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}}]})");
  EXPECT_EQ(body.binary, Bytes(1.0f, NAN) + "hh");
}

TEST(AnswerWriter, Predictions) {
  AnswerForm form;
  form.predictions = true;
  const Tensor one = {"p", DataType::kFp32, {2, 1}, Bytes(1.5f, 2.0f)};
  const Tensor two = {"q", DataType::kFp64, {2, 2}, Bytes(1.0, 2.0, 3.0, 4.0)};
  const Tensor label = {"l", DataType::kBytes, {2, 1}, Element("a") + Element("b")};
  EXPECT_EQ(Text({one}, form), R"({"predictions":[1.5,2]})");
  EXPECT_EQ(Text({two}, form), R"({"predictions":[[1,2],[3,4]]})");
  EXPECT_EQ(Text({one, two, label}, form),
            R"({"predictions":[{"p":1.5,"q":[1,2],"l":"a"},{"p":2,"q":[3,4],"l":"b"}]})");
}

TEST(AnswerWriter, MalformedAnswersAreOurFault) {
  AnswerForm predictions;
  predictions.predictions = true;
  const std::vector<Tensor> kBad = {
      {"y", DataType::kFp32, {2}, "1234567"},
      {"y", DataType::kFp32, {3}, "12345678"},
      {"y", DataType::kFp32, {-1}, "1234"},
      {"y", DataType::kFp32, {}, "1234"},
      {"y", DataType::kFp32, {int64_t{1} << 62, 4}, ""},
      {"y", DataType::kInvalid, {1}, "1"},
      {"y", DataType::kBytes, {2}, Element("a")},
      {"y", DataType::kBytes, {1}, Element("a") + "x"},
      {"y", DataType::kBytes, {1}, Bytes(uint32_t{9}) + "short"},
  };
  for (const Tensor& tensor : kBad) {
    AnswerBody body;
    EXPECT_TRUE(absl::IsInternal(Write({tensor}, {}, &body)));
    EXPECT_TRUE(absl::IsInternal(Write({tensor}, predictions, &body)));
  }
  AnswerBody body;
  EXPECT_TRUE(absl::IsInternal(Write(
      {{"a", DataType::kInt8, {2}, "12"}, {"b", DataType::kInt8, {1}, "1"}}, predictions, &body)));
}

TEST(AnswerWriter, HalfPrecisionNeedsBinary) {
  AnswerBody body;
  const absl::Status status = Write({{"y", DataType::kFp16, {1}, "hh"}}, {}, &body);
  EXPECT_EQ(Message(status),
            "the output \"y\" is FP16, which has no JSON form; ask for binary_data");
  EXPECT_TRUE(absl::IsInvalidArgument(status));
}

// Property: any bytes become valid JSON, and valid UTF-8 reads back unchanged.
TEST(JsonWriter, ANegativeZeroIsNoInteger) {
  std::string json;
  AppendJsonNumber(-0.0, &json);
  json += ",";
  AppendJsonNumber(-0.0f, &json);
  EXPECT_EQ(json, "-0.0,-0.0");
}

TEST(JsonWriter, AnyBytesAreAString) {
  uint32_t seed = 7;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes;
    for (int n = 0; n < 6; ++n) {
      seed = seed * 1664525 + 1013904223;
      bytes.push_back(static_cast<char>(seed >> 24));
    }
    std::string json;
    AppendJsonString(bytes, &json);
    ASSERT_TRUE(Json::accept(json)) << json;
  }
  for (std::string_view text :
       {"", "\"\\/\b\f\n\r\t", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    std::string json;
    AppendJsonString(text, &json);
    EXPECT_EQ(Json::parse(json).get<std::string>(), text);
  }
}

TEST(JsonWriter, Errors) {
  EXPECT_EQ(JsonError("a \"b\""), R"({"error":"a \"b\""})");
  EXPECT_EQ(Quoted("ab"), "\"ab\"");
  EXPECT_EQ(Quoted(std::string(100, 'x')), "\"" + std::string(64, 'x') + "...\"");
}

}  // namespace
}  // namespace millrace::http
