#include "services/ingress/grpc/infer_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "services/ingress/client_shm/shared_memory_for_test.h"

namespace millrace {
namespace {

using inference::ModelInferRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// In slices of `slice_bytes`, as a transport delivers a message.
grpc::ByteBuffer Wire(const std::string& bytes, size_t slice_bytes = 1 << 20) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += slice_bytes) {
    slices.emplace_back(bytes.substr(at, slice_bytes));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

ModelInferRequest Valid() {
  ModelInferRequest message;
  message.set_model_name("m");
  message.set_model_version("3");
  message.set_id("i-1");
  auto* input = message.add_inputs();
  input->set_name("x");
  input->set_datatype("FP32");
  input->add_shape(1);
  input->add_shape(2);
  message.add_raw_input_contents("12345678");
  return message;
}

std::string Fault(InferDecoder* decoder, const ModelInferRequest& message) {
  grpc::ByteBuffer wire = Wire(message.SerializeAsString());
  const absl::Status status = decoder->Decode(&wire);
  decoder->Release();
  if (status.ok()) return "none";
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

class InferDecoderTest : public ::testing::Test {
 protected:
  InferDecoder decoder_;
};

TEST_F(InferDecoderTest, RawInputsBecomeViewsHoweverTheWireIsSliced) {
  ModelInferRequest message = Valid();
  message.add_outputs()->set_name("margin");
  const std::string bytes = message.SerializeAsString();
  for (size_t slice_bytes = 1; slice_bytes <= bytes.size(); ++slice_bytes) {
    grpc::ByteBuffer wire = Wire(bytes, slice_bytes);
    ASSERT_TRUE(decoder_.Decode(&wire).ok());
    const InferRequest& request = decoder_.request();
    EXPECT_EQ(request.model, "m");
    EXPECT_EQ(request.version, "3");
    EXPECT_EQ(decoder_.id(), "i-1");
    ASSERT_EQ(request.inputs.size(), 1u);
    EXPECT_EQ(request.inputs[0].name, "x");
    EXPECT_EQ(request.inputs[0].datatype, DataType::kFp32);
    EXPECT_THAT(request.inputs[0].shape, ElementsAre(1, 2));
    EXPECT_EQ(request.inputs[0].raw, "12345678");
    EXPECT_THAT(request.outputs, ElementsAre("margin"));
    EXPECT_EQ(request.deadline_ns, 0);
    EXPECT_EQ(request.priority, 0u);
    EXPECT_EQ(decoder_.timeout_ns(), 0);
    decoder_.Release();
  }
}

TEST_F(InferDecoderTest, TypedInputsBecomeRawOnes) {
  ModelInferRequest message = Valid();
  message.clear_raw_input_contents();
  message.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  message.mutable_inputs(0)->mutable_contents()->add_fp32_contents(2);
  auto* second = message.add_inputs();
  second->set_name("plan");
  second->set_datatype("BYTES");
  second->add_shape(1);
  second->mutable_contents()->add_bytes_contents("gold");
  grpc::ByteBuffer wire = Wire(message.SerializeAsString());
  ASSERT_TRUE(decoder_.Decode(&wire).ok());
  ASSERT_EQ(decoder_.request().inputs.size(), 2u);
  EXPECT_EQ(decoder_.request().inputs[0].raw, std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  EXPECT_EQ(decoder_.request().inputs[1].raw, std::string("\4\0\0\0gold", 8));
}

TEST_F(InferDecoderTest, NothingOfARequestIsSeenInTheNext) {
  ModelInferRequest full = Valid();
  (*full.mutable_parameters())["priority"].set_uint64_param(7);
  (*full.mutable_parameters())["timeout"].set_int64_param(9);
  (*full.mutable_parameters())["millrace_fault"].set_string_param("boom");
  full.set_id("a-1");
  full.add_outputs()->set_name("margin");
  ASSERT_EQ(Fault(&decoder_, full), "none");
  EXPECT_EQ(decoder_.request().fault, "boom");
  EXPECT_EQ(decoder_.request().id, "a-1");
  ModelInferRequest bare;
  bare.set_model_name("m");
  grpc::ByteBuffer wire = Wire(bare.SerializeAsString());
  ASSERT_TRUE(decoder_.Decode(&wire).ok());
  EXPECT_EQ(decoder_.id(), "");
  EXPECT_EQ(decoder_.request().id, "");
  EXPECT_EQ(decoder_.request().fault, "");
  EXPECT_EQ(decoder_.request().version, "");
  EXPECT_TRUE(decoder_.request().inputs.empty());
  EXPECT_TRUE(decoder_.request().outputs.empty());
  EXPECT_EQ(decoder_.request().priority, 0u);
  EXPECT_EQ(decoder_.timeout_ns(), 0);
}

TEST_F(InferDecoderTest, ALargeRequestIsFollowedByOthers) {
  ModelInferRequest large = Valid();
  large.set_raw_input_contents(0, std::string(1 << 20, 'x'));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Fault(&decoder_, large), "none");
    EXPECT_EQ(Fault(&decoder_, Valid()), "none");
  }
}

TEST_F(InferDecoderTest, WhatIsNotProtobufIsInvalid) {
  const std::string valid = Valid().SerializeAsString();
  for (const std::string& bytes :
       {std::string("\xff\xff"), std::string("{\"inputs\":[]}"), valid.substr(0, valid.size() - 1),
        std::string("\x0a\x02\xc3\x28")}) {  // not UTF-8
    grpc::ByteBuffer wire = Wire(bytes);
    const absl::Status status = decoder_.Decode(&wire);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("not a valid"));
  }
}

TEST_F(InferDecoderTest, AnEmptyMessageLacksItsModel) {
  EXPECT_EQ(Fault(&decoder_, ModelInferRequest()), "model_name: is empty");
}

// Every prefix of a valid message either parses or is INVALID_ARGUMENT.
TEST_F(InferDecoderTest, NoTruncationIsWorseThanInvalid) {
  const std::string bytes = Valid().SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    grpc::ByteBuffer wire = Wire(bytes.substr(0, size));
    const absl::Status status = decoder_.Decode(&wire);
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    decoder_.Release();
  }
}

TEST_F(InferDecoderTest, TensorFaultsNameTheTensor) {
  ModelInferRequest message = Valid();
  message.mutable_inputs(0)->set_datatype("FLOAT");
  EXPECT_EQ(Fault(&decoder_, message),
            "inputs[0] \"x\": datatype \"FLOAT\" is not one of the protocol's");

  message = Valid();
  message.add_raw_input_contents("more");
  EXPECT_EQ(Fault(&decoder_, message), "raw_input_contents: has 2 entries for 1 inputs");

  message = Valid();
  message.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  EXPECT_EQ(Fault(&decoder_, message),
            "inputs[0] \"x\": contents: must not be set together with raw_input_contents");

  message = Valid();
  message.clear_raw_input_contents();
  message.mutable_inputs(0)->mutable_contents()->add_fp64_contents(1);
  EXPECT_EQ(Fault(&decoder_, message),
            "inputs[0] \"x\": contents.fp64_contents: FP32 is sent in fp32_contents");

  message = Valid();
  (*message.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("r");
  message.clear_raw_input_contents();
  grpc::ByteBuffer wire = Wire(message.SerializeAsString());
  EXPECT_EQ(decoder_.Decode(&wire),
            absl::UnimplementedError(
                "inputs[0] \"x\": shared_memory_region: not supported by this server"));

  message = Valid();
  message.add_outputs()->set_name("y");
  auto& k = (*message.mutable_outputs(0)->mutable_parameters())["classification"];
  const std::string sentence =
      "outputs[0] \"y\": parameters[\"classification\"]: must be a whole number of classes, 1 or "
      "more";
  k.set_int64_param(0);
  EXPECT_EQ(Fault(&decoder_, message), sentence);
  k.set_int64_param(-1);
  EXPECT_EQ(Fault(&decoder_, message), sentence);
  k.set_string_param("3");
  EXPECT_EQ(Fault(&decoder_, message), sentence);
  k.set_uint64_param(3);
  (*message.mutable_outputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("r");
  EXPECT_EQ(Fault(&decoder_, message),
            "outputs[0] \"y\": parameters[\"classification\"]: must not be set together with "
            "shared_memory_region");
}

TEST_F(InferDecoderTest, TimeoutAndPriorityOfEitherIntegerType) {
  for (const bool is_unsigned : {false, true}) {
    ModelInferRequest message = Valid();
    auto& timeout = (*message.mutable_parameters())["timeout"];
    auto& priority = (*message.mutable_parameters())["priority"];
    is_unsigned ? timeout.set_uint64_param(250) : timeout.set_int64_param(250);
    is_unsigned ? priority.set_uint64_param(2) : priority.set_int64_param(2);
    (*message.mutable_parameters())["unheard_of"].set_bool_param(true);
    grpc::ByteBuffer wire = Wire(message.SerializeAsString());
    ASSERT_TRUE(decoder_.Decode(&wire).ok());
    EXPECT_EQ(decoder_.timeout_ns(), 250'000);
    EXPECT_EQ(decoder_.request().priority, 2u);
  }
}

TEST_F(InferDecoderTest, ATimeoutOfCenturiesIsNone) {
  ModelInferRequest message = Valid();
  (*message.mutable_parameters())["timeout"].set_uint64_param(std::numeric_limits<uint64_t>::max());
  grpc::ByteBuffer wire = Wire(message.SerializeAsString());
  ASSERT_TRUE(decoder_.Decode(&wire).ok());
  EXPECT_EQ(decoder_.timeout_ns(), 0);
}

TEST_F(InferDecoderTest, ParameterFaultsNameTheParameter) {
  ModelInferRequest message = Valid();
  (*message.mutable_parameters())["timeout"].set_int64_param(-1);
  EXPECT_THAT(Fault(&decoder_, message), HasSubstr("parameters[\"timeout\"]: must be"));
  (*message.mutable_parameters())["timeout"].set_string_param("5");
  EXPECT_THAT(Fault(&decoder_, message), HasSubstr("parameters[\"timeout\"]: must be"));

  message = Valid();
  (*message.mutable_parameters())["priority"].set_uint64_param(1ULL << 32);
  EXPECT_THAT(Fault(&decoder_, message), HasSubstr("parameters[\"priority\"]: must be"));

  message = Valid();
  (*message.mutable_parameters())["sequence_end"].set_bool_param(false);
  (*message.mutable_parameters())["sequence_id"].set_int64_param(4);
  EXPECT_EQ(Fault(&decoder_, message), "parameters[\"sequence_id\"]: not supported by this server");
}

class InferDecoderRegionTest : public ::testing::Test {
 protected:
  InferDecoderRegionTest() { EXPECT_TRUE(regions_.Register("r", memory_.key(), 0, 16).ok()); }

  // An input of two FP32 elements at `offset` of the region.
  static ModelInferRequest InRegion(int64_t offset, int64_t bytes = 8) {
    ModelInferRequest message = Valid();
    message.clear_raw_input_contents();
    SetRegion(offset, bytes, message.mutable_inputs(0)->mutable_parameters());
    return message;
  }
  template <typename Map>
  static void SetRegion(int64_t offset, int64_t bytes, Map* parameters) {
    (*parameters)["shared_memory_region"].set_string_param("r");
    (*parameters)["shared_memory_byte_size"].set_int64_param(bytes);
    if (offset != 0) (*parameters)["shared_memory_offset"].set_int64_param(offset);
  }
  absl::Status Decode(const ModelInferRequest& message) {
    grpc::ByteBuffer wire = Wire(message.SerializeAsString());
    return decoder_.Decode(&wire);
  }
  static ClientRegionsOptions Allowed() {
    ClientRegionsOptions options;
    options.allowed = true;
    options.max_request_bytes = 20;
    return options;
  }

  SharedMemory memory_{"12345678abcdefgh"};
  ClientRegions regions_{Allowed()};
  InferDecoder decoder_{&regions_};
};

TEST_F(InferDecoderRegionTest, InputsInRegionsHaveNoEntryAmongTheRawOnes) {
  ModelInferRequest message = InRegion(8);
  auto* raw = message.add_inputs();
  raw->set_name("raw");
  raw->set_datatype("FP32");
  message.add_raw_input_contents("RAW.");
  *message.add_inputs() = InRegion(0).inputs(0);
  raw = message.add_inputs();
  raw->set_name("raw2");
  raw->set_datatype("FP32");
  message.add_raw_input_contents("RAW2");
  ASSERT_TRUE(Decode(message).ok());
  // A client that writes now changes nothing.
  memory_.Set(std::string(16, '!'));
  const auto& inputs = decoder_.request().inputs;
  ASSERT_EQ(inputs.size(), 4u);
  EXPECT_EQ(inputs[0].raw, "abcdefgh");
  EXPECT_EQ(inputs[1].raw, "RAW.");
  EXPECT_EQ(inputs[2].raw, "12345678");
  EXPECT_EQ(inputs[3].raw, "RAW2");
  EXPECT_TRUE(decoder_.output_places().empty());
  message.add_raw_input_contents("more");
  EXPECT_EQ(Decode(message).message(), "raw_input_contents: has 3 entries for 2 inputs");
}

TEST_F(InferDecoderRegionTest, FaultsNameTensorAndParameter) {
  const auto fault = [&](const ModelInferRequest& message) {
    const absl::Status status = Decode(message);
    decoder_.Release();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(fault(InRegion(12)),
              HasSubstr("inputs[0] \"x\": shared_memory_byte_size: 8 bytes from"));
  EXPECT_THAT(fault(InRegion(-1)), HasSubstr("shared_memory_offset: must be a whole number"));
  EXPECT_THAT(fault(InRegion(0, -8)), HasSubstr("shared_memory_byte_size: must be a whole"));
  ModelInferRequest message = InRegion(0);
  auto* parameters = message.mutable_inputs(0)->mutable_parameters();
  parameters->erase("shared_memory_byte_size");
  EXPECT_THAT(fault(message), HasSubstr("shared_memory_byte_size: must be a whole"));
  (*parameters)["shared_memory_region"].set_int64_param(1);
  EXPECT_THAT(fault(message), HasSubstr("shared_memory_region: must be a string"));
  (*parameters)["shared_memory_region"].set_string_param("other");
  (*parameters)["shared_memory_byte_size"].set_uint64_param(8);
  EXPECT_THAT(fault(message), HasSubstr("shared_memory_region: no region \"other\""));
  message = InRegion(0);
  message.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  EXPECT_THAT(fault(message), HasSubstr("contents: must not be set together with shared"));
  message = Valid();
  message.add_outputs()->set_name("y");
  SetRegion(9, 8, message.mutable_outputs(0)->mutable_parameters());
  EXPECT_THAT(fault(message), HasSubstr("outputs[0] \"y\": shared_memory_byte_size: 8 bytes"));
  // What the client shrank after it was registered.
  memory_.Truncate(12);
  EXPECT_THAT(fault(InRegion(8)), HasSubstr("is shorter than was registered"));
}

// Many inputs may name the same bytes: the sum is bounded before more is read.
TEST_F(InferDecoderRegionTest, TheBytesOfAllInputsAreBounded) {
  ModelInferRequest message = InRegion(0);
  *message.add_inputs() = message.inputs(0);
  EXPECT_TRUE(Decode(message).ok());
  *message.add_inputs() = message.inputs(0);
  EXPECT_TRUE(absl::IsResourceExhausted(Decode(message)));
  EXPECT_TRUE(Decode(InRegion(0)).ok());
}

TEST_F(InferDecoderRegionTest, OutputPlacesAreThoseOfTheirOutputs) {
  ModelInferRequest message = Valid();
  message.add_outputs()->set_name("y");
  message.add_outputs()->set_name("z");
  SetRegion(8, 8, message.mutable_outputs(1)->mutable_parameters());
  ASSERT_TRUE(Decode(message).ok());
  ASSERT_EQ(decoder_.output_places().size(), 1u);
  EXPECT_EQ(decoder_.output_places()[0].output, 1u);
  EXPECT_EQ(decoder_.output_places()[0].place.offset(), 8u);
  EXPECT_EQ(decoder_.output_places()[0].place.bytes(), 8u);
  EXPECT_THAT(decoder_.request().outputs, ElementsAre("y", "z"));
  ASSERT_TRUE(Decode(Valid()).ok());
  EXPECT_TRUE(decoder_.output_places().empty());
}

// Every file of the corpus is decoded as its name says: "CODE_what.pb", with gRPC's number.
TEST_F(InferDecoderRegionTest, TheCorpusIsAnsweredAsItsNamesSay) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("services/ingress/grpc/corpus")) {
    const std::string name = entry.path().filename();
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    for (const size_t slice_bytes : {size_t{1} << 20, size_t{1}}) {
      grpc::ByteBuffer wire = Wire(bytes, slice_bytes);
      const absl::Status status = decoder_.Decode(&wire);
      EXPECT_EQ(static_cast<int>(status.code()), atoi(name.c_str())) << name << ": " << status;
      decoder_.Release();
    }
    ++files;
  }
  EXPECT_GE(files, 40u);
}

}  // namespace
}  // namespace millrace
