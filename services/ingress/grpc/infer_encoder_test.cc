#include "services/ingress/grpc/infer_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "services/ingress/grpc/grpc_status.h"

namespace millrace {
namespace {

using inference::ModelInferResponse;
using ::testing::ElementsAre;

ModelInferResponse Parsed(grpc::ByteBuffer wire) {
  ModelInferResponse response;
  EXPECT_TRUE(ParseMessage(&wire, &response).ok());
  return response;
}

TEST(InferEncoder, TheGeneratedParserReadsWhatIsWritten) {
  InferEncoder encoder;
  const int64_t prediction_shape[] = {2, 1};
  const int64_t label_shape[] = {0, 1};
  const TensorView outputs[] = {{"prediction", DataType::kFp32, prediction_shape, "abcdefgh"},
                                {"label", DataType::kBytes, label_shape, ""}};
  const ModelInferResponse response =
      Parsed(encoder.Encode({absl::OkStatus(), "m", "2", outputs}, "my id"));
  EXPECT_EQ(response.model_name(), "m");
  EXPECT_EQ(response.model_version(), "2");
  EXPECT_EQ(response.id(), "my id");
  ASSERT_EQ(response.outputs_size(), 2);
  EXPECT_EQ(response.outputs(0).name(), "prediction");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(2, 1));
  EXPECT_FALSE(response.outputs(0).has_contents());
  EXPECT_EQ(response.outputs(1).datatype(), "BYTES");
  EXPECT_THAT(response.outputs(1).shape(), ElementsAre(0, 1));
  EXPECT_THAT(response.raw_output_contents(), ElementsAre("abcdefgh", ""));
}

// Lengths on both sides of where a varint grows.
TEST(InferEncoder, EveryLengthSurvives) {
  InferEncoder encoder;
  const int64_t shape[] = {1};
  for (const size_t size : {0, 1, 126, 127, 128, 129, 16383, 16384, 16385, 1 << 21}) {
    const std::string raw(size, 'r');
    const TensorView outputs[] = {{"a", DataType::kUint8, shape, raw},
                                  {"b", DataType::kUint8, shape, raw}};
    const ModelInferResponse response =
        Parsed(encoder.Encode({absl::OkStatus(), "m", "1", outputs}, ""));
    EXPECT_THAT(response.raw_output_contents(), ElementsAre(raw, raw)) << size;
  }
}

TEST(InferEncoder, NothingOfAnAnswerIsSeenInTheNext) {
  InferEncoder encoder;
  const int64_t shape[] = {1, 1, 1};
  const TensorView outputs[] = {{"a", DataType::kUint8, shape, "x"}};
  Parsed(encoder.Encode({absl::OkStatus(), "model", "1", outputs}, "id"));
  const ModelInferResponse response = Parsed(encoder.Encode({absl::OkStatus(), "", "", {}}, ""));
  EXPECT_EQ(response.ByteSizeLong(), 0u);
}

TEST(GrpcStatus, CodesAreTheSameAndLongMessagesEndAtACharacter) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "because");
    EXPECT_EQ(static_cast<int>(ToGrpcStatus(status).error_code()), code);
  }
  std::string text = "x";
  while (text.size() < 600) text += "\u00e9";
  const std::string message = ToGrpcStatus(absl::InternalError(text)).error_message();
  EXPECT_EQ(message, text.substr(0, 511) + "...");
}

}  // namespace
}  // namespace millrace
