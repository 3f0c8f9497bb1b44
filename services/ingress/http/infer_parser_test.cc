#include "services/ingress/http/infer_parser.h"

#include <gtest/gtest.h>
#include <string.h>

#include <cmath>
#include <limits>

#include "services/ingress/http/json_reader.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using ::testing::Test;

class InferParserTest : public Test {
 protected:
  // Keeps the body, which the views point into.
  const ParsedInfer& Good(std::string_view text, std::optional<size_t> json_bytes = std::nullopt) {
    body_ = Padded(text);
    const absl::Status status = parser_.Parse(body_, json_bytes, &parsed_);
    EXPECT_TRUE(status.ok()) << Message(status) << "\n" << text;
    return parsed_;
  }
  std::string Bad(std::string_view text, std::optional<size_t> json_bytes = std::nullopt) {
    body_ = Padded(text);
    const absl::Status status = parser_.Parse(body_, json_bytes, &parsed_);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    return std::string(Message(status));
  }
  // One input with the given datatype, shape and data.
  static std::string One(std::string_view datatype, std::string_view shape, std::string_view data) {
    return Concat(R"({"inputs":[{"name":"x","datatype":")", datatype, R"(","shape":)", shape,
                  R"(,"data":)", data, "}]}");
  }
  template <typename T>
  std::vector<T> Read(std::string_view datatype, std::string_view shape, std::string_view data) {
    const ParsedInfer& parsed = Good(One(datatype, shape, data));
    if (parsed.inputs.size() != 1) return {};
    std::vector<T> values(parsed.inputs[0].raw.size() / sizeof(T));
    EXPECT_EQ(values.size() * sizeof(T), parsed.inputs[0].raw.size());
    if (!values.empty())
      memcpy(values.data(), parsed.inputs[0].raw.data(), values.size() * sizeof(T));
    return values;
  }

  InferParser parser_;
  ParsedInfer parsed_;
  std::string body_;
};

TEST_F(InferParserTest, WholeRequest) {
  const ParsedInfer& parsed = Good(R"({
    "id": "seven \u00e4",
    "parameters": {"timeout": 2500, "priority": 1, "unknown": [1, {"a": null}]},
    "later": {"versions": ["may", "add"]},
    "inputs": [
      {"name": "a", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2.5], [-3e0, 0.1]]},
      {"name": "b", "shape": [2, 1], "datatype": "BYTES", "data": ["x", "\"\u20ac\n"]}],
    "outputs": [{"name": "p"}, {"name": "c", "parameters": {"binary_data": true}}]
  })");
  EXPECT_EQ(parsed.form.id, "seven \u00e4");
  EXPECT_EQ(parsed.timeout_us, 2500);
  EXPECT_EQ(parsed.priority, 1u);
  ASSERT_EQ(parsed.inputs.size(), 2u);
  EXPECT_EQ(parsed.inputs[0].name, "a");
  EXPECT_EQ(parsed.inputs[0].datatype, DataType::kFp32);
  EXPECT_EQ(parsed.inputs[0].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(parsed.inputs[0].raw, Bytes(1.0f, 2.5f, -3.0f, 0.1f));
  EXPECT_EQ(parsed.inputs[1].raw, Element("x") + Element("\"\u20ac\n"));
  EXPECT_EQ(parsed.outputs, (std::vector<std::string_view>{"p", "c"}));
  ASSERT_EQ(parsed.form.outputs.size(), 2u);
  EXPECT_FALSE(parsed.form.outputs[0].binary);
  EXPECT_TRUE(parsed.form.outputs[1].binary);
  EXPECT_FALSE(parsed.form.binary);
}

TEST_F(InferParserTest, EveryDatatypeAtItsBounds) {
  EXPECT_EQ(Good(One("BOOL", "[2]", "[true,false]")).inputs[0].raw, std::string("\1\0", 2));
  EXPECT_EQ(Read<uint8_t>("UINT8", "[2]", "[0,255]"), (std::vector<uint8_t>{0, 255}));
  EXPECT_EQ(Read<uint16_t>("UINT16", "[1]", "[65535]"), std::vector<uint16_t>{65535});
  EXPECT_EQ(Read<uint32_t>("UINT32", "[1]", "[4294967295]"), std::vector<uint32_t>{4294967295});
  EXPECT_EQ(Read<uint64_t>("UINT64", "[1]", "[18446744073709551615]"),
            std::vector<uint64_t>{~uint64_t{0}});
  EXPECT_EQ(Read<int8_t>("INT8", "[2]", "[-128,127]"), (std::vector<int8_t>{-128, 127}));
  EXPECT_EQ(Read<int16_t>("INT16", "[1]", "[-32768]"), std::vector<int16_t>{-32768});
  EXPECT_EQ(Read<int32_t>("INT32", "[1]", "[-2147483648]"),
            std::vector<int32_t>{std::numeric_limits<int32_t>::min()});
  EXPECT_EQ(Read<int64_t>("INT64", "[2]", "[-9223372036854775808,9223372036854775807]"),
            (std::vector<int64_t>{std::numeric_limits<int64_t>::min(),
                                  std::numeric_limits<int64_t>::max()}));
  EXPECT_EQ(Read<double>("FP64", "[3]", "[1e308,-5e-324,0.1]"),
            (std::vector<double>{1e308, -5e-324, 0.1}));
  EXPECT_EQ(Read<float>("FP32", "[2]", "[3.4028234663852886e38,1e-45]"),
            (std::vector<float>{std::numeric_limits<float>::max(),
                                std::numeric_limits<float>::denorm_min()}));
}

TEST_F(InferParserTest, IntegersWithoutAPointAreReals) {
  EXPECT_EQ(Read<double>("FP64", "[3]", "[7,-0,100000000000000000000000]"),
            (std::vector<double>{7, -0.0, 1e23}));
}

TEST_F(InferParserTest, NullIsMissing) {
  const std::vector<float> floats = Read<float>("FP32", "[2]", "[null,1]");
  EXPECT_TRUE(std::isnan(floats[0]));
  EXPECT_EQ(floats[1], 1);
  EXPECT_TRUE(std::isnan(Read<double>("FP64", "[1]", "[null]")[0]));
  EXPECT_EQ(Good(One("BYTES", "[2]", R"([null,"a"])")).inputs[0].raw, Element("") + Element("a"));
}

TEST_F(InferParserTest, FlatAndNestedAreTheSame) {
  const std::vector<float> want = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(Read<float>("FP32", "[3,2]", "[1,2,3,4,5,6]"), want);
  EXPECT_EQ(Read<float>("FP32", "[3,2]", "[[1,2],[3,4],[5,6]]"), want);
  EXPECT_EQ(Read<float>("FP32", "[3,2]", " [ [1,2] , [3,4] ,[5,6] ] "), want);
  EXPECT_EQ(Read<float>("FP32", "[1,3,2]", "[[[1,2],[3,4],[5,6]]]"), want);
  EXPECT_EQ(Read<float>("FP32", "[0,2]", "[]"), std::vector<float>{});
  EXPECT_EQ(Read<float>("FP32", "[2,0]", "[[],[]]"), std::vector<float>{});
}

TEST_F(InferParserTest, DataBeforeItsDatatype) {
  const ParsedInfer& parsed = Good(R"({"inputs":[
    {"data":["a","b"],"name":"x","shape":[2],"datatype":"BYTES","parameters":{"p":"q"}},
    {"data":[[1],[2]],"shape":[2,1],"name":"y","datatype":"INT32","z":[{}]}],"id":"i"})");
  ASSERT_EQ(parsed.inputs.size(), 2u);
  EXPECT_EQ(parsed.inputs[0].raw, Element("a") + Element("b"));
  EXPECT_EQ(parsed.inputs[1].raw, Bytes(int32_t{1}, int32_t{2}));
  EXPECT_EQ(parsed.form.id, "i");
}

// Property: a float in its shortest or exact decimal form arrives as itself.
TEST_F(InferParserTest, FloatsRoundTrip) {
  uint32_t bits = 1;
  for (int i = 0; i < 2000; ++i) {
    bits = bits * 1664525 + 1013904223;
    float value;
    memcpy(&value, &bits, sizeof(value));
    if (!std::isfinite(value)) continue;
    char shortest[32];
    const std::string text(shortest, std::to_chars(shortest, shortest + 32, value).ptr);
    char exact[64];
    snprintf(exact, sizeof(exact), "%.17g", static_cast<double>(value));
    const std::vector<float> got = Read<float>("FP32", "[2]", Concat("[", text, ",", exact, "]"));
    ASSERT_EQ(got, (std::vector<float>{value, value})) << text;
  }
}

TEST_F(InferParserTest, BinaryTensors) {
  const std::string json =
      R"({"parameters":{"binary_data_output":true},"inputs":[
          {"name":"a","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},
          {"name":"b","shape":[1],"datatype":"INT8","data":[5]},
          {"name":"h","shape":[1],"datatype":"BF16","parameters":{"binary_data_size":2}},
          {"name":"c","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":11}}],
          "outputs":[{"name":"p"},{"name":"q","parameters":{"binary_data":false}}]})";
  const std::string binary = Bytes(1.5f, NAN) + "hh" + Element("abc") + Element("");
  const ParsedInfer& parsed = Good(json + binary, json.size());
  ASSERT_EQ(parsed.inputs.size(), 4u);
  EXPECT_EQ(parsed.inputs[0].raw, Bytes(1.5f, NAN));
  EXPECT_EQ(parsed.inputs[1].raw, "\5");
  EXPECT_EQ(parsed.inputs[2].raw, "hh");
  EXPECT_EQ(parsed.inputs[3].raw, Element("abc") + Element(""));
  EXPECT_TRUE(parsed.form.binary);
  EXPECT_TRUE(parsed.form.outputs[0].binary);
  EXPECT_FALSE(parsed.form.outputs[1].binary);
}

TEST_F(InferParserTest, BadBinaryTensors) {
  const auto with = [&](std::string_view datatype, std::string_view shape, int bytes,
                        std::string_view binary) {
    const std::string json =
        Concat(R"({"inputs":[{"name":"x","datatype":")", datatype, R"(","shape":)", shape,
               R"(,"parameters":{"binary_data_size":)", bytes, "}}]}");
    return Bad(json + std::string(binary), json.size());
  };
  EXPECT_EQ(with("FP32", "[2]", 8, "1234567"),
            "inputs[0].parameters.binary_data_size: 8 bytes, but only 7 are left of the body");
  EXPECT_EQ(with("FP32", "[2]", 8, "123456789"),
            "the body holds 1 bytes after the JSON that no input's binary_data_size claims");
  EXPECT_EQ(
      with("FP32", "[3]", 8, "12345678"),
      "inputs[0].parameters.binary_data_size: 8 bytes are not the shape's 3 elements of FP32");
  EXPECT_EQ(with("BYTES", "[1]", 8, Bytes(uint32_t{5}) + "1234"),
            "inputs[0].parameters.binary_data_size: the bytes are not the shape's 1 elements of a "
            "4-byte length and as many bytes");
  EXPECT_EQ(with("BYTES", "[1099511627776]", 4, Bytes(uint32_t{0})),
            "inputs[0].parameters.binary_data_size: the bytes are not the shape's 1099511627776 "
            "elements of a 4-byte length and as many bytes");
  EXPECT_EQ(with("FP32", "[2]", -1, ""),
            "inputs[0].parameters.binary_data_size: must be an integer from 0 to "
            "9223372036854775807");
  EXPECT_EQ(Bad("{}", 3), "Inference-Header-Content-Length: 3 is more than the body's 2 bytes");
  EXPECT_EQ(Bad("1234", 0), "Inference-Header-Content-Length: 0 leaves no JSON");
  EXPECT_EQ(Bad(One("FP32", "[1]", "[1]") + "x", One("FP32", "[1]", "[1]").size()),
            "the body holds 1 bytes after the JSON that no input's binary_data_size claims");
}

TEST_F(InferParserTest, BadData) {
  const struct {
    const char* datatype;
    const char* shape;
    const char* data;
    const char* sentence;
  } kCases[] = {
      {"FP32", "[2]", "[1]",
       "inputs[0].data: holds fewer than the 2 elements that shape [2] needs"},
      {"FP32", "[2]", "[1,2,3]",
       "inputs[0].data: holds more than the 2 elements that shape [2] needs"},
      {"FP32", "[2,2]", "[[1,2],[3]]",
       "inputs[0].data[1]: holds fewer than the 2 elements that shape [2,2] needs"},
      {"FP32", "[2,2]", "[[1,2]]",
       "inputs[0].data: holds fewer than the 2 elements that shape [2,2] needs"},
      {"FP32", "[2,2]", "[[1,2],3,4]",
       "inputs[0].data[1]: must be an array: data is flat or nested as shape [2,2] says"},
      {"FP32", "[2,2]", "[1,[2,3],4]", "inputs[0].data[1]: must be a number (FP32), not an array"},
      {"FP32", "[2]", "[[1,2]]", "inputs[0].data[0]: must be a number (FP32), not an array"},
      {"FP32", "[2]", "[1,\"2\"]", "inputs[0].data[1]: must be a number (FP32), not a string"},
      {"FP32", "[1]", "[true]", "inputs[0].data[0]: must be a number (FP32), not true or false"},
      {"FP32", "[1]", "[{}]", "inputs[0].data[0]: must be a number (FP32), not an object"},
      {"FP32", "[1]", "[NaN]",
       "inputs[0].data[0]: NaN and infinities are not JSON; send null for a missing value"},
      {"FP64", "[1]", "[-Infinity]",
       "inputs[0].data[0]: NaN and infinities are not JSON; send null for a missing value"},
      {"FP32", "[1]", "[3.5e38]", "inputs[0].data[0]: is not a number in the range of FP32"},
      {"FP64", "[1]", "[1e999]", "inputs[0].data[0]: is not a number in the range of FP64"},
      {"FP64", "[1]", "[01]", "inputs[0].data[0]: is not a number in the range of FP64"},
      {"FP64", "[1]", "[1.]", "inputs[0].data[0]: is not a number in the range of FP64"},
      {"FP64", "[1]", "[+1]",
       "inputs[0].data[0]: must be a number (FP64), not something that is not JSON"},
      {"INT8", "[1]", "[128]", "inputs[0].data[0]: is not an integer in the range of INT8"},
      {"UINT8", "[1]", "[-1]", "inputs[0].data[0]: is not an integer in the range of UINT8"},
      {"UINT8", "[1]", "[256]", "inputs[0].data[0]: is not an integer in the range of UINT8"},
      {"INT64", "[1]", "[1.5]", "inputs[0].data[0]: is not an integer in the range of INT64"},
      {"INT64", "[1]", "[9223372036854775808]",
       "inputs[0].data[0]: is not an integer in the range of INT64"},
      {"UINT64", "[1]", "[18446744073709551616]",
       "inputs[0].data[0]: is not an integer in the range of UINT64"},
      {"INT32", "[1]", "[null]",
       "inputs[0].data[0]: null (a missing value) has no INT32 form; FP32 and FP64 do"},
      {"BOOL", "[1]", "[1]", "inputs[0].data[0]: must be true or false (BOOL), not a number"},
      {"BOOL", "[1]", "[tru]",
       "inputs[0].data[0]: must be true or false (BOOL), not something that is not JSON"},
      {"BYTES", "[1]", "[1]", "inputs[0].data[0]: must be a string (BYTES), not a number"},
      {"BYTES", "[2,1]", "[[\"a\"],[[\"b\"]]]",
       "inputs[0].data[1][0]: must be a string (BYTES), not an array"},
      {"FP16", "[1]", "[1]", "inputs[0].data: FP16 has no JSON form; send it as a binary tensor"},
      {"BF16", "[1]", "[1]", "inputs[0].data: BF16 has no JSON form; send it as a binary tensor"},
      {"FP8", "[1]", "[1]", "inputs[0].datatype: \"FP8\" is not a datatype of the protocol"},
      {"fp32", "[1]", "[1]", "inputs[0].datatype: \"fp32\" is not a datatype of the protocol"},
      {"FP32", "[1]", "1", "inputs[0].data: must be an array"},
      {"FP32", "[1]", "\"1\"", "inputs[0].data: must be an array"},
      {"FP32", "[]", "[]", "inputs[0].shape: must have 1 to 8 dimensions"},
      {"FP32", "[1,1,1,1,1,1,1,1,1]", "[1]", "inputs[0].shape: must have 1 to 8 dimensions"},
      {"FP32", "[-1]", "[1]", "inputs[0].shape: must be an integer from 0 to 9223372036854775807"},
      {"FP32", "[1.5]", "[1]", "inputs[0].shape: must be an integer from 0 to 9223372036854775807"},
      {"FP32", "2", "[1]", "inputs[0].shape: must be an array"},
      {"FP32", "[4294967296,4294967296]", "[1]", "inputs[0].shape: holds too many elements"},
      {"FP32", "[9223372036854775807]", "[1]", "inputs[0].shape: holds too many elements"},
      {"FP32", "[1000000]", "[1]", "inputs[0].shape: needs more elements than the body can hold"},
  };
  for (const auto& bad : kCases) {
    EXPECT_EQ(Bad(One(bad.datatype, bad.shape, bad.data)), bad.sentence) << bad.data;
  }
}

TEST_F(InferParserTest, BadRequests) {
  const std::string kIn = R"({"name":"x","datatype":"FP32","shape":[1],"data":[1]})";
  const std::pair<std::string, std::string> kCases[] = {
      {"{}", "inputs: is missing"},
      {"[]", "the body must be a JSON object"},
      {"3", "the body must be a JSON object"},
      {R"({"inputs":{}})", "inputs: must be an array"},
      {R"({"inputs":[]})", "inputs: must name at least one input"},
      {R"({"inputs":[3]})", "inputs[0]: must be an object"},
      {R"({"inputs":[{"datatype":"FP32","shape":[1],"data":[1]}]})", "inputs[0].name: is missing"},
      {R"({"inputs":[{"name":"","datatype":"FP32","shape":[1],"data":[1]}]})",
       "inputs[0].name: must not be empty"},
      {R"({"inputs":[{"name":7,"datatype":"FP32","shape":[1],"data":[1]}]})",
       "inputs[0].name: must be a string"},
      {R"({"inputs":[{"name":"x","datatype":7,"shape":[1],"data":[1]}]})",
       "inputs[0].datatype: must be a string"},
      {R"({"inputs":[{"name":"x","datatype":"FP32","data":[1]}]})", "inputs[0].shape: is missing"},
      {R"({"inputs":[{"name":"x","shape":[1],"data":[1]}]})", "inputs[0].datatype: is missing"},
      {R"({"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]})", "inputs[0].data: is missing"},
      {R"({"inputs":[{"name":"x","name":"y"}]})", "inputs[0].name: is given twice"},
      {R"({"inputs":[{"data":[1],"data":[1]}]})", "inputs[0].data: is given twice"},
      {R"({"inputs":[{"d\u0061ta":[1],"name":"x","datatype":"FP32","shape":[1]}]})",
       "inputs[0].data: must be spelt without escapes"},
      {R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1],)"
       R"("parameters":{"binary_data_size":4}}]})",
       "inputs[0].data: is given beside parameters.binary_data_size"},
      {R"({"inputs":[{"parameters":{"shared_memory_handle":1}}]})",
       "inputs[0].parameters.shared_memory_handle: is not supported"},
      {R"({"inputs":[{"parameters":[]}]})", "inputs[0].parameters: must be an object"},
      {R"({"inputs":[)" + kIn + "," + kIn + "]}", "inputs[1].name: \"x\" is given twice"},
      {R"({"inputs":[)" + kIn + R"(],"inputs":[]})", "inputs: is given twice"},
      {R"({"id":7})", "id: must be a string"},
      {R"({"parameters":7})", "parameters: must be an object"},
      {R"({"parameters":{"timeout":-1}})",
       "parameters.timeout: must be an integer from 0 to 9223372036854775807"},
      {R"({"parameters":{"timeout":"soon"}})",
       "parameters.timeout: must be an integer from 0 to 9223372036854775807"},
      {R"({"parameters":{"priority":4294967296}})",
       "parameters.priority: must be an integer from 0 to 4294967295"},
      {R"({"parameters":{"sequence_id":1}})", "parameters.sequence_id: is not supported"},
      {R"({"parameters":{"binary_data_output":1}})",
       "parameters.binary_data_output: must be true or false"},
      {R"({"outputs":7})", "outputs: must be an array"},
      {R"({"outputs":["p"]})", "outputs[0]: must be an object"},
      {R"({"outputs":[{}]})", "outputs[0].name: is missing or empty"},
      {R"({"outputs":[{"name":"p"},{"name":"p"}]})", "outputs[1].name: \"p\" is given twice"},
      {R"({"outputs":[{"name":"p","parameters":{"classification":0}}]})",
       "outputs[0].parameters.classification: must be an integer from 1 to 9223372036854775807"},
      {R"({"outputs":[{"name":"p","parameters":{"classification":"3"}}]})",
       "outputs[0].parameters.classification: must be an integer from 1 to 9223372036854775807"},
      {R"({"outputs":[{"name":"p","parameters":{"binary_data":"yes"}}]})",
       "outputs[0].parameters.binary_data: must be true or false"},
  };
  for (const auto& [text, sentence] : kCases) EXPECT_EQ(Bad(text), sentence) << text;
}

TEST_F(InferParserTest, BrokenJson) {
  const std::string kGood = One("FP32", "[1]", "[1]");
  const auto is = [&](std::string_view text, std::string_view sentence) {
    EXPECT_EQ(Bad(text).substr(0, sentence.size()), sentence) << text;
  };
  is("", "the body is not valid JSON: it is empty");
  is("   ", "the body is not valid JSON: it is empty");
  is("{", "the body is not valid JSON: an object or array does not end");
  is(R"({"inputs":[)", "the body is not valid JSON: an object or array does not end");
  is(R"({"inputs":[{"name":"x)", "the body is not valid JSON: a string does not end");
  is("{\"a\":\"\xff\"}", "the body is not valid JSON: it is not UTF-8");
  is("{\"a\":\"\n\"}", "the body is not valid JSON: a string holds an unescaped control");
  is(R"({"a":"\q"})", "the body is not valid JSON: a string holds a bad escape");
  is(R"({"a":1 "b":2})", "the body is not valid JSON: a comma, colon");
  is(R"({"a":1,})", "the body is not valid JSON: a comma, colon");
  is(R"({"a":tru})", "the body is not valid JSON: a comma, colon");
  is(R"({"a":1.2.3})", "the body is not valid JSON: a number is malformed");
  is(R"({'a':1})", "the body is not valid JSON: a comma, colon");
  is(R"({"a":[1,2})", "the body is not valid JSON: a comma, colon");
  is(R"({"a":{"b":1]})", "the body is not valid JSON: a comma, colon");
  is(kGood + "{}", "the body is not valid JSON: something follows the object");
  is(kGood + " x}", "the body is not valid JSON: something follows the object");
  is(R"({"a" 1})", "the body is not valid JSON: a comma, colon");
  EXPECT_TRUE(Bad(R"({"abc":1,"d":tru})").ends_with("malformed or misplaced, near byte 13"));
}

TEST_F(InferParserTest, DepthIsBounded) {
  const auto nest = [](size_t levels) {
    return Concat(R"({"a":)", std::string(levels, '['), std::string(levels, ']'),
                  R"(,"inputs":[]})");
  };
  EXPECT_EQ(Bad(nest(kMaxJsonDepth - 1)), "inputs: must name at least one input");
  EXPECT_EQ(Bad(nest(kMaxJsonDepth)).substr(0, 62),
            "the body is not valid JSON: it nests deeper than 100 levels, n");
  EXPECT_EQ(Bad(nest(1'000'000)).substr(0, 59),
            "the body is not valid JSON: it nests deeper than 100 levels");
}

TEST_F(InferParserTest, BoundsOnCounts) {
  std::string inputs = R"({"inputs":[)";
  for (size_t i = 0; i <= kMaxInputs; ++i) {
    Append(&inputs, i == 0 ? "" : ",", R"({"name":"x)", i,
           R"(","datatype":"INT8","shape":[1],"data":[1]})");
  }
  EXPECT_EQ(Bad(inputs + "]}"), "inputs: more than 1024");
  std::string outputs = R"({"outputs":[)";
  for (size_t i = 0; i <= kMaxOutputs; ++i) {
    Append(&outputs, i == 0 ? "" : ",", R"({"name":"x)", i, "\"}");
  }
  EXPECT_EQ(Bad(outputs + "]}"), "outputs: more than 256");
}

TEST_F(InferParserTest, NothingOfOneRequestReachesTheNext) {
  Good(R"({"id":"a","parameters":{"priority":3,"timeout":9,"binary_data_output":true},
           "inputs":[{"name":"x","datatype":"FP32","shape":[2,1],"data":[1,2]},
                     {"name":"y","datatype":"FP32","shape":[1],"data":[1]}],
           "outputs":[{"name":"p"}]})");
  Bad(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[3,3],"data":[1,)");
  const ParsedInfer& parsed = Good(One("INT8", "[1]", "[9]"));
  ASSERT_EQ(parsed.inputs.size(), 1u);
  EXPECT_EQ(parsed.inputs[0].shape, std::vector<int64_t>{1});
  EXPECT_EQ(parsed.inputs[0].raw, "\x9");
  EXPECT_TRUE(parsed.outputs.empty());
  EXPECT_EQ(parsed.timeout_us, 0);
  EXPECT_EQ(parsed.priority, 0u);
  EXPECT_EQ(parsed.form.id, "");
  EXPECT_FALSE(parsed.form.binary);
  EXPECT_TRUE(parsed.form.outputs.empty());
}

}  // namespace
}  // namespace millrace::http
