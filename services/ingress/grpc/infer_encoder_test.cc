#include "services/ingress/grpc/infer_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "services/ingress/client_shm/shared_memory_for_test.h"
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

TEST(InferEncoder, OutputsInRegionsLeaveAnEmptyEntryAndSayWhereTheyAre) {
  SharedMemory memory("................");
  ClientRegionsOptions options;
  options.allowed = true;
  ClientRegions regions(options);
  ASSERT_TRUE(regions.Register("r", memory.key(), 4, 12).ok());
  InferEncoder encoder;
  const int64_t shape[] = {1};
  const TensorView outputs[] = {{"a", DataType::kUint8, shape, "AAA"},
                                {"b", DataType::kUint8, shape, "BB"},
                                {"c", DataType::kUint8, shape, "C"}};
  const InferAnswer answer = {absl::OkStatus(), "m", "1", outputs};
  std::vector<OutputPlace> places = {{0, *regions.Find("r", 0, 3)}, {2, *regions.Find("r", 8, 4)}};
  const InferAnswer placed = encoder.Place(answer, &places);
  ASSERT_TRUE(placed.status.ok());
  EXPECT_EQ(memory.Bytes(), "....AAA.....C...");
  const ModelInferResponse response = Parsed(encoder.Encode(placed, "", places));
  EXPECT_THAT(response.raw_output_contents(), ElementsAre("", "BB", ""));
  const auto& first = response.outputs(0).parameters();
  EXPECT_EQ(first.at("shared_memory_region").string_param(), "r");
  EXPECT_EQ(first.at("shared_memory_byte_size").int64_param(), 3);
  EXPECT_EQ(first.count("shared_memory_offset"), 0u);
  EXPECT_TRUE(response.outputs(1).parameters().empty());
  EXPECT_EQ(response.outputs(2).parameters().at("shared_memory_offset").int64_param(), 8);
  EXPECT_EQ(response.outputs(2).parameters().at("shared_memory_byte_size").int64_param(), 1);

  memory.Truncate(4);
  EXPECT_TRUE(absl::IsInvalidArgument(encoder.Place(answer, &places).status));
  const InferAnswer failed = {absl::UnavailableError("gone"), "", "", {}};
  EXPECT_TRUE(absl::IsUnavailable(encoder.Place(failed, &places).status));
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
