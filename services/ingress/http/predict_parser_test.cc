#include "services/ingress/http/predict_parser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "services/ingress/http/catalog_json.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"
#include "services/ingress/testing/fake_frontend.h"

namespace millrace::http {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

class PredictParserTest : public ::testing::Test {
 protected:
  absl::Status Parse(std::string_view model, std::string_view text) {
    body_ = Padded(text);
    return parser_.Parse(body_, **FindModel(catalog_.get(), model, ""), &parsed_);
  }
  void Good(std::string_view model, std::string_view text) {
    const absl::Status status = Parse(model, text);
    ASSERT_TRUE(status.ok()) << Message(status) << "\n" << text;
  }
  std::string Bad(std::string_view model, std::string_view text) {
    const absl::Status status = Parse(model, text);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    return std::string(Message(status));
  }

  std::shared_ptr<const Catalog> catalog_ = FakeCatalog();
  PredictParser parser_;
  ParsedInfer parsed_;
  std::string body_;
};

TEST_F(PredictParserTest, RowsOfNumbers) {
  Good("plain", R"({"signature_name":"x","instances":[[1,2,3],[4,null,6]],"more":[]})");
  ASSERT_EQ(parsed_.inputs.size(), 1u);
  EXPECT_TRUE(parsed_.form.predictions);
  EXPECT_EQ(parsed_.inputs[0].name, "input");
  EXPECT_EQ(parsed_.inputs[0].datatype, DataType::kFp32);
  EXPECT_EQ(parsed_.inputs[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(parsed_.inputs[0].raw.substr(0, 16), Bytes(1.0f, 2.0f, 3.0f, 4.0f));
  EXPECT_EQ(parsed_.inputs[0].raw.substr(20), Bytes(6.0f));
  Good("ints", R"({"instances":[[1,-2]]})");
  EXPECT_EQ(parsed_.inputs[0].raw, Bytes(int64_t{1}, int64_t{-2}));
}

TEST_F(PredictParserTest, RowsOfColumns) {
  Good("viewed", R"({"instances":[{"age":41,"plan":"a"},{"plan":null,"age":null},
                                  {"age":1.5,"plan":"b"}]})");
  ASSERT_EQ(parsed_.inputs.size(), 2u);
  EXPECT_EQ(parsed_.inputs[0].name, "age");
  EXPECT_EQ(parsed_.inputs[0].datatype, DataType::kFp64);
  EXPECT_EQ(parsed_.inputs[0].shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(parsed_.inputs[0].raw, Bytes(41.0, kNan, 1.5));
  EXPECT_EQ(parsed_.inputs[1].name, "plan");
  EXPECT_EQ(parsed_.inputs[1].datatype, DataType::kBytes);
  EXPECT_EQ(parsed_.inputs[1].raw, Element("a") + Element("") + Element("b"));
}

TEST_F(PredictParserTest, TypesComeFromTheViewOrElseFromTheValues) {
  Good("viewed", R"({"instances":[{"plan":null,"age":true,"other":null,"none":null},
                                  {"plan":null,"age":false,"other":"x","none":null}]})");
  ASSERT_EQ(parsed_.inputs.size(), 4u);
  EXPECT_EQ(parsed_.inputs[0].raw, Element("") + Element(""));
  EXPECT_EQ(parsed_.inputs[1].raw, Bytes(1.0, 0.0));
  EXPECT_EQ(parsed_.inputs[2].datatype, DataType::kBytes);
  EXPECT_EQ(parsed_.inputs[2].raw, Element("") + Element("x"));
  EXPECT_EQ(parsed_.inputs[3].datatype, DataType::kFp64);
  EXPECT_EQ(parsed_.inputs[3].raw, Bytes(kNan, kNan));
}

TEST_F(PredictParserTest, BadBodies) {
  const struct {
    const char* model;
    const char* text;
    const char* sentence;
  } kCases[] = {
      {"plain", "{}", "instances: is missing"},
      {"plain", R"({"instances":[[1,2,3]],"instances":[]})", "instances: is given twice"},
      {"plain", R"({"instances":{}})", "instances: must be an array"},
      {"plain", R"({"instances":[]})", "instances: must hold at least one row"},
      {"plain", R"({"instances":[1,2]})",
       "instances[0]: must be an array (a row of the tensor) or an object (its columns)"},
      {"plain", R"({"instances":[[1,2,3],{"a":1}]})",
       "instances[1]: must be like the rows before it: all arrays or all objects"},
      {"plain", R"({"instances":[[1,2,3],[1,2]]})",
       "instances[1]: holds fewer than the 3 elements that shape [3] needs"},
      {"plain", R"({"instances":[[1,2,3,4]]})",
       "instances[0]: holds more than the 3 elements that shape [3] needs"},
      {"plain", R"({"instances":[[1,2,3],[1,"2",3]]})",
       "instances[1][1]: must be a number (FP32), not a string"},
      {"ints", R"({"instances":[[1,2.5]]})",
       "instances[0][1]: is not an integer in the range of INT64"},
      {"viewed", R"({"instances":[{}]})", "instances[0]: must have at least one column"},
      {"viewed", R"({"instances":[{"age":"old"}]})",
       "instances[0].age: must be a number (FP64), not a string"},
      {"viewed", R"({"instances":[{"age":NaN}]})",
       "instances[0].age: NaN and infinities are not JSON; send null for a missing value"},
      {"viewed", R"({"instances":[{"age":[1]}]})",
       "instances[0].age: must be a number (FP64), not an array"},
      {"viewed", R"({"instances":[{"plan":7}]})",
       "instances[0].plan: must be a string (BYTES), not a number"},
      {"viewed", R"({"instances":[{"age":1,"plan":"a"},{"age":2}]})",
       "instances[1].plan: is missing; send null for a missing value"},
      {"viewed", R"({"instances":[{"age":1},{"age":2,"plan":"a"}]})",
       "instances[1]: has the column \"plan\", which the first row has not"},
      {"viewed", R"({"instances":[{"age":1,"age":2}]})", "instances[0].age: is given twice"},
      {"viewed", R"({"instances":[{"age":1},{"age":2,"age":3}]})",
       "instances[1].age: is given twice"},
      {"viewed", R"({"instances":[{"x":1},{"x":"a"}]})",
       "instances[1].x: must be a number (FP64), not a string"},
      {"viewed", R"({"instances":[{"age":1}]} x})",
       "the body is not valid JSON: something follows the object"},
  };
  for (const auto& bad : kCases) EXPECT_EQ(Bad(bad.model, bad.text), bad.sentence) << bad.text;
}

TEST_F(PredictParserTest, ColumnsAreBounded) {
  std::string text = R"({"instances":[{)";
  for (size_t i = 0; i <= kMaxColumns; ++i) Append(&text, i == 0 ? "" : ",", "\"c", i, "\":1");
  EXPECT_EQ(Bad("viewed", text + "}]}"), "instances[0]: more than 1024 columns");
}

TEST_F(PredictParserTest, SeveralInputsNeedTheFullProtocol) {
  Model model;
  model.add_inputs()->set_name("a");
  model.add_inputs()->set_name("b");
  body_ = Padded(R"({"instances":[[1]]})");
  EXPECT_EQ(Message(parser_.Parse(body_, model, &parsed_)),
            "instances[0]: the model has several inputs; use /v2/models/M/infer");
}

}  // namespace
}  // namespace millrace::http
