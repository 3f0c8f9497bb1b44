// Tensors in shared memory, and a body that is a tensor and nothing else.
#include <gtest/gtest.h>

#include "services/ingress/client_shm/shared_memory_for_test.h"
#include "services/ingress/http/infer_parser.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using ::testing::Test;

class InferParserRegionTest : public Test {
 protected:
  InferParserRegionTest() { EXPECT_TRUE(regions_.Register("r", memory_.key(), 0, 16).ok()); }

  absl::Status Parse(std::string_view text) {
    body_ = Padded(text);
    return parser_.Parse(body_, std::nullopt, &parsed_);
  }
  // One input with these parameters and further members.
  absl::Status One(std::string_view parameters, std::string_view more = "",
                   std::string_view datatype = "FP32") {
    return Parse(Concat(R"({"inputs":[{"name":"x","parameters":{)", parameters, R"(},"shape":[2],)",
                        R"("datatype":")", datatype, "\"", more, "}]}"));
  }
  static ClientRegionsOptions Allowed() {
    ClientRegionsOptions options;
    options.allowed = true;
    options.max_request_bytes = 20;
    return options;
  }

  SharedMemory memory_{std::string("\2\0\0\0ab\1\0\0\0cdefgh", 16)};
  ClientRegions regions_{Allowed()};
  InferParser parser_{&regions_};
  ParsedInfer parsed_;
  std::string body_;
};

constexpr std::string_view kRegion = R"("shared_memory_region":"r","shared_memory_byte_size":8)";

TEST_F(InferParserRegionTest, InputsAreCopiedOutOfTheirRegions) {
  ASSERT_TRUE(Parse(Concat(R"({"inputs":[{"name":"x","parameters":{)", kRegion,
                           R"(},"shape":[2],"datatype":"FP32"},)",
                           R"({"name":"y","shape":[1],"datatype":"UINT8","data":[7]},)",
                           R"({"name":"z","shape":[8],"datatype":"UINT8","parameters":{)", kRegion,
                           R"(,"shared_memory_offset":8}}]})"))
                  .ok());
  memory_.Set(std::string(16, '!'));
  ASSERT_EQ(parsed_.inputs.size(), 3u);
  EXPECT_EQ(parsed_.inputs[0].raw, std::string_view("\2\0\0\0ab\1\0", 8));
  EXPECT_EQ(parsed_.inputs[1].raw, "\7");
  EXPECT_EQ(parsed_.inputs[2].raw, std::string_view("\0\0cdefgh", 8));
}

TEST_F(InferParserRegionTest, TextsInRegionsAreHeldToTheirLengths) {
  const std::string_view eleven = R"("shared_memory_region":"r","shared_memory_byte_size":11)";
  EXPECT_TRUE(One(eleven, "", "BYTES").ok());
  const absl::Status bad = One(kRegion, "", "BYTES");
  EXPECT_TRUE(absl::IsInvalidArgument(bad));
  EXPECT_NE(Message(bad).find("a 4-byte length"), std::string_view::npos);
}

TEST_F(InferParserRegionTest, FaultsNameTheParameter) {
  const std::pair<absl::Status, std::string_view> kFaults[] = {
      {One(R"("shared_memory_region":"r")"), "shared_memory_byte_size: is missing"},
      {One(R"("shared_memory_byte_size":8)"), "shared_memory_region: is missing"},
      {One(R"("shared_memory_offset":8)"), "shared_memory_region: is missing"},
      {One(R"("shared_memory_region":1)"), "shared_memory_region: must be"},
      {One(R"("shared_memory_region":"r","shared_memory_byte_size":-1)"),
       "shared_memory_byte_size: must be"},
      {One(R"("shared_memory_region":"o","shared_memory_byte_size":8)"),
       "shared_memory_region: no region \"o\" is registered"},
      {One(R"("shared_memory_region":"r","shared_memory_byte_size":7)"),
       "shared_memory_byte_size: 7 bytes are not the shape's 2 elements"},
      {One(Concat(kRegion, R"(,"shared_memory_offset":9)")),
       "shared_memory_byte_size: 8 bytes from offset 9"},
      {One(Concat(kRegion, R"(,"shared_memory_offset":9223372036854775807)")),
       "shared_memory_byte_size: 8 bytes from offset 9"}};
  for (const auto& [status, sentence] : kFaults) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << sentence;
    EXPECT_TRUE(Message(status).starts_with(Concat("inputs[0].parameters.", sentence)))
        << Message(status);
  }
  EXPECT_EQ(Message(One(kRegion, R"(,"data":[1,2])")),
            "inputs[0].data: is given beside parameters.shared_memory_region");
  EXPECT_EQ(Message(One(Concat(kRegion, R"(,"binary_data_size":8)"))),
            "inputs[0].parameters.binary_data_size: is given beside "
            "parameters.shared_memory_region");
  memory_.Truncate(4);
  EXPECT_TRUE(absl::IsInvalidArgument(One(kRegion)));
  EXPECT_TRUE(absl::IsUnimplemented(InferParser().Parse(body_, std::nullopt, &parsed_)));
}

TEST_F(InferParserRegionTest, OutputsHaveTheirPlaces) {
  const auto outputs = [&](std::string_view parameters) {
    return Parse(Concat(R"({"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","data":[1]}],)",
                        R"("outputs":[{"name":"a"},{"name":"b","parameters":{)", parameters,
                        "}}]}"));
  };
  ASSERT_TRUE(outputs(Concat(kRegion, R"(,"shared_memory_offset":8)")).ok());
  ASSERT_EQ(parsed_.form.outputs.size(), 2u);
  EXPECT_FALSE(parsed_.form.outputs[0].place);
  EXPECT_EQ(parsed_.form.outputs[1].place.offset(), 8u);
  EXPECT_EQ(parsed_.form.outputs[1].place.bytes(), 8u);
  const absl::Status outside = outputs(Concat(kRegion, R"(,"shared_memory_offset":9)"));
  EXPECT_TRUE(Message(outside).starts_with("outputs[1].parameters.shared_memory_byte_size: "));
}

TEST_F(InferParserRegionTest, ABodyWithoutJsonIsTheModelsOneInput) {
  Model model;
  TensorSpec* input = model.add_inputs();
  input->set_name("input");
  input->set_datatype(static_cast<int>(DataType::kFp32));
  input->add_dims(3);
  const std::string body(24, 'x');
  ASSERT_TRUE(parser_.ParseRaw(body, model, &parsed_).ok());
  ASSERT_EQ(parsed_.inputs.size(), 1u);
  EXPECT_EQ(parsed_.inputs[0].name, "input");
  EXPECT_EQ(parsed_.inputs[0].datatype, DataType::kFp32);
  EXPECT_EQ(std::vector<int64_t>(parsed_.inputs[0].shape.begin(), parsed_.inputs[0].shape.end()),
            (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(parsed_.inputs[0].raw, body);
  EXPECT_TRUE(parsed_.form.binary);
  for (const size_t bytes : {0, 1, 11, 13, 23}) {
    const absl::Status status = parser_.ParseRaw(std::string(bytes, 'x'), model, &parsed_);
    EXPECT_EQ(Message(status),
              Concat("the body: ", bytes, " bytes are not rows of input \"input\", which have 12"));
  }
  input->set_datatype(static_cast<int>(DataType::kBytes));
  EXPECT_TRUE(absl::IsInvalidArgument(parser_.ParseRaw(body, model, &parsed_)));
  input->set_datatype(static_cast<int>(DataType::kFp32));
  model.add_inputs()->set_datatype(static_cast<int>(DataType::kFp32));
  EXPECT_TRUE(absl::IsInvalidArgument(parser_.ParseRaw(body, model, &parsed_)));
}

}  // namespace
}  // namespace millrace::http
