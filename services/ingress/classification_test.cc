#include "services/ingress/classification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <cmath>
#include <limits>

namespace millrace {
namespace {

using ::testing::ElementsAre;

template <typename T>
std::string Raw(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

std::vector<std::string> Texts(std::string_view raw) {
  std::vector<std::string> texts;
  while (!raw.empty()) {
    uint32_t size = 0;
    EXPECT_GE(raw.size(), sizeof size);
    memcpy(&size, raw.data(), sizeof size);
    texts.emplace_back(raw.substr(sizeof size, size));
    raw.remove_prefix(sizeof size + size);
  }
  return texts;
}

// A model "m" with a prediction and margin of three columns, its class, label and top-k.
std::shared_ptr<const Catalog> ThreeClasses() {
  auto catalog = std::make_shared<Catalog>();
  for (const char* version : {"1", "2"}) {
    Model* model = catalog->add_models();
    model->set_name("m");
    model->set_version(version);
    model->set_latest(*version == '2');
    const auto add = [&](const char* name, DataType type, int64_t columns, OutputKind kind) {
      OutputSpec* output = model->add_outputs();
      output->set_kind(kind);
      output->mutable_tensor()->set_name(name);
      output->mutable_tensor()->set_datatype(static_cast<uint32_t>(type));
      output->mutable_tensor()->add_dims(columns);
      return output;
    };
    add("prediction", DataType::kFp32, 3, PREDICTION);
    add("margin", DataType::kFp64, 3, MARGIN);
    add("class", DataType::kInt64, 1, CLASS);
    OutputSpec* label = add("label", DataType::kBytes, 1, LABEL);
    for (const char* text : {"ant", "bee", "cat"}) {
      label->add_labels(text + std::string(*version == '2' ? "" : " of old"));
    }
  }
  return catalog;
}

class ClassificationTest : public ::testing::Test {
 protected:
  // The first output of the model, classified.
  InferAnswer Classify(const char* name, uint64_t k, const TensorView& view,
                       std::string_view version = "") {
    wanted_.Clear();
    wanted_.Add(0, k);
    EXPECT_EQ(Bind({name}, version), absl::OkStatus());
    views_ = {view};
    InferAnswer answer;
    answer.outputs = views_;
    return classifier_.Apply(answer, wanted_);
  }

  absl::Status Bind(const std::vector<std::string_view>& outputs, std::string_view version = "",
                    std::string_view model = "m") {
    InferRequest request;
    request.model = model;
    request.version = version;
    request.outputs = outputs;
    return wanted_.Bind(ThreeClasses(), request, &at_);
  }

  Classification wanted_;
  Classifier classifier_;
  std::vector<TensorView> views_;
  size_t at_ = 99;
};

TEST_F(ClassificationTest, EachRowByItselfHighestFirstWithLabels) {
  const int64_t shape[] = {2, 3};
  const std::string raw = Raw<float>({0.25f, 0.5f, 0.125f, 1, 2, 3});
  const InferAnswer answer = Classify("prediction", 2, {"prediction", DataType::kFp32, shape, raw});
  ASSERT_EQ(answer.status, absl::OkStatus());
  ASSERT_EQ(answer.outputs.size(), 1u);
  EXPECT_EQ(answer.outputs[0].name, "prediction");
  EXPECT_EQ(answer.outputs[0].datatype, DataType::kBytes);
  EXPECT_THAT(answer.outputs[0].shape, ElementsAre(2, 2));
  EXPECT_THAT(Texts(answer.outputs[0].raw),
              ElementsAre("0.500000:1:bee", "0.250000:0:ant", "3.000000:2:cat", "2.000000:1:bee"));
}

TEST_F(ClassificationTest, LabelsAreThoseOfTheVersion) {
  const int64_t shape[] = {1, 3};
  const std::string raw = Raw<double>({1, 2, 3});
  const InferAnswer answer = Classify("margin", 1, {"margin", DataType::kFp64, shape, raw}, "1");
  EXPECT_THAT(Texts(answer.outputs[0].raw), ElementsAre("3.000000:2:cat of old"));
}

TEST_F(ClassificationTest, MoreClassesThanThereAreGivesAllOfThem) {
  const int64_t shape[] = {1, 3};
  const float nan = std::nanf("");
  const std::string raw = Raw<float>({nan, 7, 7});
  const InferAnswer answer = Classify("prediction", std::numeric_limits<uint64_t>::max(),
                                      {"prediction", DataType::kFp32, shape, raw});
  EXPECT_THAT(answer.outputs[0].shape, ElementsAre(1, 3));
  EXPECT_THAT(Texts(answer.outputs[0].raw),
              ElementsAre("7.000000:1:bee", "7.000000:2:cat", "nan:0:ant"));
}

TEST_F(ClassificationTest, WholeNumbersAreExactAndHaveNoFraction) {
  const int64_t shape[] = {1, 1, 3};  // a row is all that follows the first dimension
  const int64_t big = (int64_t{1} << 53) + 1;
  const std::string raw = Raw<int64_t>({big - 1, big, -big});
  const InferAnswer answer = Classify("class", 3, {"class", DataType::kInt64, shape, raw});
  EXPECT_THAT(Texts(answer.outputs[0].raw),
              ElementsAre("9007199254740993:1", "9007199254740992:0", "-9007199254740993:2"));
}

TEST_F(ClassificationTest, AnOutputOfTextIsRefusedByItsPlace) {
  wanted_.Add(1, 3);
  EXPECT_EQ(Bind({"prediction", "label"}),
            absl::InvalidArgumentError("is for outputs of numbers, and this one is BYTES"));
  EXPECT_EQ(at_, 1u);
}

TEST_F(ClassificationTest, WhatIsNotThereIsTheFrontendsToRefuse) {
  wanted_.Add(0, 3);
  EXPECT_EQ(Bind({"nothing"}), absl::OkStatus());
  EXPECT_EQ(Bind({"prediction"}, "3"), absl::OkStatus());
  EXPECT_EQ(Bind({"prediction"}, "", "nobody"), absl::OkStatus());
}

// What comes from another process may say anything.
TEST_F(ClassificationTest, AnAnswerThatDoesNotAgreeWithItselfIsAFault) {
  const std::string raw = Raw<float>({1, 2, 3});
  const std::vector<std::vector<int64_t>> kShapes = {
      {},     {3},     {1, 2},
      {1, 4}, {-1, 3}, {1, -3},
      {1, 0}, {2, 3},  {std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::max()}};
  for (const std::vector<int64_t>& shape : kShapes) {
    const InferAnswer answer =
        Classify("prediction", 2, {"prediction", DataType::kFp32, shape, raw});
    EXPECT_EQ(answer.status,
              absl::InternalError("outputs[0]: classification: does not agree with its shape"));
    EXPECT_TRUE(answer.outputs.empty());
  }
  wanted_.Clear();
  wanted_.Add(0, 1);
  ASSERT_EQ(Bind({"prediction"}), absl::OkStatus());
  EXPECT_EQ(classifier_.Apply(InferAnswer(), wanted_).status.code(), absl::StatusCode::kInternal);
}

TEST_F(ClassificationTest, TheTextIsBounded) {
  const int64_t rows = 300'000;
  const int64_t shape[] = {rows, 3};
  const std::string raw(rows * 3 * sizeof(float), '\0');
  const InferAnswer answer = Classify("prediction", 3, {"prediction", DataType::kFp32, shape, raw});
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace millrace
