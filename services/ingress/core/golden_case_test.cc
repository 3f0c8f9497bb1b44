// What is judged right, wrong, or no verdict at all.
#include "services/ingress/core/golden_case.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <string.h>

#include "common/testing/allocations.h"

namespace millrace {
namespace {

using Verdict = GoldenCase::Verdict;

constexpr char kCatalog[] = R"(
  generation: 1
  models {
    name: "m" version: "3" route: 9 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 1 }
    outputs { tensor { name: "prediction" datatype: 11 dims: 2 } kind: PREDICTION }
    outputs { tensor { name: "label" datatype: 13 dims: 1 } kind: LABEL }
    prediction_columns: 2
  }
)";

std::string Floats(std::initializer_list<float> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(float)};
}

class GoldenCaseTest : public ::testing::Test {
 protected:
  GoldenCaseTest() {
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kCatalog, catalog_.get()));
    golden_ = catalog_->mutable_models(0)->add_golden();
    GoldenTensor* input = golden_->add_inputs();
    input->set_name("input");
    input->set_datatype(11);
    input->add_shape(1);
    input->add_shape(1);
    input->set_data(Floats({1}));
  }
  void Expect(std::initializer_list<float> values) {
    GoldenTensor* output = golden_->add_outputs();
    output->set_name("prediction");
    output->set_datatype(11);
    output->set_data(Floats(values));
  }
  GoldenCase Make(double tolerance = 0) {
    const auto table = ModelTable::Make(catalog_);
    return GoldenCase(table, &table->at(0), golden_, tolerance);
  }
  static Verdict Judge(GoldenCase& golden, std::initializer_list<float> prediction,
                       const std::string& label) {
    const int64_t shape[] = {1, 2};
    const std::string floats = Floats(prediction);
    const TensorView outputs[] = {{"prediction", DataType::kFp32, shape, floats},
                                  {"label", DataType::kBytes, {shape, 1}, label}};
    InferAnswer answer;
    answer.outputs = outputs;
    return golden.Judge(answer);
  }
  static Verdict Judge(GoldenCase& golden, const absl::Status& status) {
    InferAnswer answer;
    answer.status = status;
    return golden.Judge(answer);
  }

  std::shared_ptr<Catalog> catalog_ = std::make_shared<Catalog>();
  Golden* golden_;
};

TEST_F(GoldenCaseTest, ExpectationsHoldFromTheFirstAnswerOnAndOthersAreLearned) {
  Expect({0.25f, 0.75f});
  GoldenCase golden = Make();
  EXPECT_EQ(golden.request().model, "m");
  EXPECT_EQ(golden.request().version, "3");
  EXPECT_EQ(golden.request().inputs.size(), 1u);
  EXPECT_FALSE(golden.raw_columns());
  EXPECT_EQ(Judge(golden, {0.25f, 0.5f}, "b"), Verdict::kWrong);
  EXPECT_EQ(golden.why(), "output 'prediction', element 1: 0.5 instead of 0.75");
  EXPECT_EQ(Judge(golden, {0.25f, 0.75f}, "b"), Verdict::kLearning);
  EXPECT_EQ(Judge(golden, {0.25f, 0.75f}, "b"), Verdict::kGood);
  EXPECT_EQ(Judge(golden, {0.25f, 0.75f}, "c"), Verdict::kWrong);
  EXPECT_EQ(golden.why(), "output 'label': another answer than in earlier runs");
  EXPECT_EQ(Judge(golden, {0.25f, 0.75f}, "b"), Verdict::kGood);
}

TEST_F(GoldenCaseTest, WhatTwoRunsDoNotAgreeOnIsNotLearned) {
  Expect({0, 1});
  GoldenCase golden = Make();
  EXPECT_EQ(Judge(golden, {0, 1}, "a"), Verdict::kLearning);
  EXPECT_EQ(Judge(golden, {0, 1}, "b"), Verdict::kWrong);
  EXPECT_EQ(Judge(golden, {0, 1}, "a"), Verdict::kWrong);
  EXPECT_EQ(Judge(golden, {0, 1}, "a"), Verdict::kGood);
}

TEST_F(GoldenCaseTest, BitsCountUnlessThereIsATolerance) {
  Expect({0, 1});
  GoldenCase exact = Make();
  EXPECT_EQ(Judge(exact, {-0.0f, 1}, "a"), Verdict::kWrong);
  GoldenCase lax = Make(1e-3);
  EXPECT_EQ(Judge(lax, {-0.0f, 1.0005f}, "a"), Verdict::kGood);
  EXPECT_EQ(Judge(lax, {0, 1.002f}, "a"), Verdict::kWrong);
  golden_->set_tolerance(0.5);  // the greater one holds
  GoldenCase laxer = Make(1e-3);
  EXPECT_EQ(Judge(laxer, {0, 1.4f}, "any"), Verdict::kGood);
  EXPECT_EQ(Judge(laxer, {0, NAN}, "any"), Verdict::kWrong);
}

TEST_F(GoldenCaseTest, ABusyServerIsNoVerdictAndOtherErrorsAre) {
  GoldenCase golden = Make();
  for (const absl::Status& status : {absl::UnavailableError(""), absl::ResourceExhaustedError(""),
                                     absl::DeadlineExceededError(""), absl::CancelledError("")}) {
    EXPECT_EQ(Judge(golden, status), Verdict::kNone) << status;
  }
  for (const absl::Status& status :
       {absl::InternalError("poison"), absl::NotFoundError(""), absl::InvalidArgumentError("no")}) {
    EXPECT_EQ(Judge(golden, status), Verdict::kError) << status;
  }
}

TEST_F(GoldenCaseTest, AViewMayRefuseInputsThatWereMadeUpAlwaysTheSameWay) {
  golden_->set_guessed(true);
  GoldenCase golden = Make();
  EXPECT_EQ(Judge(golden, absl::InvalidArgumentError("column 'x'")), Verdict::kGood);
  EXPECT_EQ(Judge(golden, absl::InvalidArgumentError("column 'y'")), Verdict::kError);
  EXPECT_EQ(Judge(golden, absl::InternalError("column 'x'")), Verdict::kError);
}

TEST_F(GoldenCaseTest, WhatWasLearnedGoesOnInTheNextCatalog) {
  Expect({0, 1});
  GoldenCase first = Make();
  Judge(first, {0, 1}, "a");
  ASSERT_EQ(Judge(first, {0, 1}, "a"), Verdict::kGood);
  GoldenCase second = Make();
  ASSERT_TRUE(second.SameAs(first));
  second.LearnFrom(first);
  EXPECT_EQ(Judge(second, {0, 1}, "b"), Verdict::kWrong);
  EXPECT_EQ(Judge(second, {0, 1}, "a"), Verdict::kGood);
  auto other = std::make_shared<Catalog>(*catalog_);
  other->mutable_models(0)->set_route(10);
  const auto table = ModelTable::Make(other);
  EXPECT_FALSE(GoldenCase(table, &table->at(0), &other->models(0).golden(0), 0).SameAs(first));
}

TEST_F(GoldenCaseTest, AGoodJudgementAllocatesNothing) {
  Expect({0.25f, 0.75f});
  GoldenCase golden = Make();
  const int64_t shape[] = {1, 2};
  const std::string floats = Floats({0.25f, 0.75f});
  const TensorView outputs[] = {{"prediction", DataType::kFp32, shape, floats},
                                {"label", DataType::kBytes, {shape, 1}, "a label that is long"}};
  InferAnswer answer;
  answer.outputs = outputs;
  golden.Judge(answer);
  const uint64_t before = Allocations();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(golden.Judge(answer), Verdict::kGood);
  EXPECT_EQ(Allocations(), before);
}

}  // namespace
}  // namespace millrace
