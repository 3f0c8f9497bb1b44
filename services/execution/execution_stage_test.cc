// How requests become batches: what is put together, what is not, and that no answer depends on it.
#include "services/execution/execution_stage.h"

#include "common/testing/allocations.h"
#include "gmock/gmock.h"
#include "services/execution/stage_rig.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ExecutionStageTest : public StageTest {
 protected:
  void Begin() {
    ASSERT_TRUE(
        StartStage({{kRoute, SampleXgboostPlan()}, {kOtherRoute, SampleXgboostPlan()}}).ok());
  }
  // Rows of each batch that was run.
  std::vector<size_t> Rows() const {
    std::vector<size_t> rows;
    for (const auto& run : cpu_.runs) rows.push_back(run.rows);
    return rows;
  }
};

// What a worker that is warm has done: each plan answered its golden row.
TEST_F(ExecutionStageTest, AGoldenRowIsRunWhenItsPlanIsOpened) {
  const std::vector<std::byte> image = SampleXgboostPlan();
  const auto reference = Must(ReferenceBackend().OpenPlan({image.data(), image.size()}));
  const KernelShape& shape = reference->shape();
  const std::vector<float> row(shape.features, 0.5f);
  std::vector<std::byte> margins(shape.groups * DataTypeSize(shape.margin_type));
  std::vector<std::byte> scratch(reference->ScratchBytes(1) + 64);
  const KernelPiece piece = {row.data(), 1, margins.data(), nullptr};
  ASSERT_TRUE(reference->Run({DataType::kFp32, {&piece, 1}, absl::MakeSpan(scratch)}).ok());
  golden_.emplace();
  GoldenTensor* input = golden_->add_inputs();
  input->set_datatype(static_cast<uint32_t>(DataType::kFp32));
  input->set_data(row.data(), row.size() * sizeof(float));
  GoldenTensor* output = golden_->add_outputs();
  output->set_name("margin");
  output->set_datatype(static_cast<uint32_t>(shape.margin_type));
  output->set_data(margins.data(), margins.size());
  const auto told = [&] { return told_.back().kernel_choice().golden(); };
  ASSERT_TRUE(StartStage({{kRoute, image}}).ok());
  ASSERT_EQ(cpu_.runs.size(), 1u);
  EXPECT_EQ(told(), 1u);
  output->mutable_data()->front() ^= 1;
  ASSERT_TRUE(TakeUp({{kRoute + 1, image}}).ok());
  EXPECT_EQ(told(), 2u) << "one bit";
  golden_->set_tolerance(0.01);
  ASSERT_TRUE(TakeUp({{kRoute + 2, image}}).ok());
  EXPECT_EQ(told(), 1u);
  output->mutable_data()->back() ^= 0x10;
  ASSERT_TRUE(TakeUp({{kRoute + 3, image}}).ok());
  EXPECT_EQ(told(), 2u);
  input->mutable_data()->pop_back();  // raw columns, say
  ASSERT_TRUE(TakeUp({{kRoute + 4, image}}).ok());
  EXPECT_EQ(told(), 0u);
  EXPECT_EQ(cpu_.runs.size(), 4u);
}

TEST_F(ExecutionStageTest, WhatWaitsForOnePlanIsOneBatch) {
  Begin();
  for (uint16_t slot = 0; slot < 5; ++slot) Ask(slot, 1 + slot);
  Serve();
  EXPECT_THAT(answered_, SizeIs(5));
  ASSERT_THAT(cpu_.runs, SizeIs(1));
  EXPECT_EQ(cpu_.runs[0].pieces, 5u);
  EXPECT_EQ(cpu_.runs[0].rows, 15u);
  EXPECT_EQ(Count(Counter::kBatches), 1u);
  EXPECT_EQ(Count(Counter::kRows), 15u);
  EXPECT_EQ(Count(Counter::kDeviceBatches), 0u);
  EXPECT_TRUE(worker_.Idle());
}

// What ingress counts: each request's wait and work, and each batch once.
TEST_F(ExecutionStageTest, AnAnswerTellsItsTimesAndOneOfABatchItsRows) {
  config_.max_batch_rows = 8;
  Begin();
  for (uint16_t slot = 0; slot < 4; ++slot) Ask(slot, 3);
  Serve();
  ASSERT_THAT(answers_.messages, SizeIs(4));
  std::vector<uint64_t> batches;
  for (const Message& message : answers_.messages) {
    const StageTimes times = StageTimes::Unpack(message.times);
    EXPECT_GT(times.infer_ns, 0u);
    EXPECT_EQ(times.input_ns + times.output_ns, 0u);
    batches.push_back(times.batch_rows);
  }
  EXPECT_THAT(batches, ElementsAre(6, 0, 6, 0));
  EXPECT_THAT(Rows(), ElementsAre(6, 6));
}

TEST_F(ExecutionStageTest, ABatchHoldsSoManyRowsAndAnItemOverTheLimitRunsByItself) {
  config_.max_batch_rows = 8;
  Begin();
  const size_t rows[] = {3, 3, 3, 20, 2, 6, 1};
  for (uint16_t slot = 0; slot < 7; ++slot) Ask(slot, rows[slot]);
  Serve();
  EXPECT_THAT(answered_, ElementsAre(0, 1, 2, 3, 4, 5, 6)) << "in the order of their deadlines";
  EXPECT_THAT(Rows(), ElementsAre(6, 3, 20, 8, 1));
  EXPECT_TRUE(worker_.Idle());
}

TEST_F(ExecutionStageTest, PlansAreNotMixed) {
  Begin();
  for (uint16_t slot = 0; slot < 6; ++slot)
    Ask(slot, 1, slot < 2 || slot == 5 ? kRoute : kOtherRoute);
  Serve();
  EXPECT_THAT(Rows(), ElementsAre(2, 3, 1));
  EXPECT_THAT(answered_, SizeIs(6));
}

TEST_F(ExecutionStageTest, InputTypesAreNotMixed) {
  std::vector<std::byte> both;
  for (const SamplePlan& sample : SamplePlans()) {
    if ((*ReferenceBackend().OpenPlan(sample.image))->shape().accepts_fp64) both = sample.image;
  }
  ASSERT_TRUE(StartStage({{kRoute, both}}).ok());
  Ask(0, 2);
  Ask(1, 3);
  Ask(2, 4, kRoute, 0, DataType::kFp64);
  Ask(3, 5, kRoute, 0, DataType::kFp64);
  Ask(4, 6);
  Serve();
  EXPECT_THAT(Rows(), ElementsAre(5, 9, 6));
  EXPECT_THAT(answered_, SizeIs(5));
}

TEST_F(ExecutionStageTest, ASuspectRunsByItself) {
  Begin();
  Ask(0, 1);
  Ask(1, 2, kRoute, kFlagAlone);
  Ask(2, 3);
  Ask(3, 4);
  Serve();
  EXPECT_THAT(Rows(), ElementsAre(1, 2, 7));
  EXPECT_THAT(answered_, SizeIs(4));
}

TEST_F(ExecutionStageTest, WhatIsWrongGetsItsOwnAnswerAndHarmsNoOther) {
  Begin();
  Ask(0, 4);
  Send(1, "no pack at all, and long enough to be a block", kRoute, 0, MessageKind::kData);
  Ask(2, 3);
  Send(3, "the stage before says no", kRoute, 0, MessageKind::kError);
  PackWriter narrow(1);
  narrow.Add(0, DataType::kFp32, 2, 8);
  std::string bytes(narrow.bytes(), 0);
  narrow.Place(reinterpret_cast<std::byte*>(bytes.data()));
  Send(4, bytes, kRoute, 0, MessageKind::kData);
  Ask(5, kRequestRows + 1);
  Ask(6, kRequestRows);
  Serve();
  EXPECT_THAT(answered_, ElementsAre(0, 2, 6));
  EXPECT_THAT(Rows(), ElementsAre(4 + 3 + kRequestRows)) << "all seven are one batch";
  ASSERT_THAT(errors_, SizeIs(4));
  EXPECT_THAT(errors_[3].second, HasSubstr("the stage before says no"));
  EXPECT_EQ(errors_[3].first, 5);
  EXPECT_THAT(errors_[4].second, HasSubstr("not the model's"));
  EXPECT_EQ(errors_[5].second, "more rows than the model takes");
  EXPECT_EQ(Count(Counter::kFailed), 4u);
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
}

TEST_F(ExecutionStageTest, ARouteThatIsNotLoadedIsUnavailable) {
  Begin();
  Ask(0, 1);
  reference_[99] = Must(ReferenceBackend().OpenPlan(images_[0]));
  Ask(1, 1, 99);
  Serve();
  EXPECT_THAT(answered_, ElementsAre(0));
  EXPECT_EQ(errors_[1].first, static_cast<uint8_t>(absl::StatusCode::kUnavailable));
}

TEST_F(ExecutionStageTest, WhatIsExecutedIsNamedAndWhatDidNotFitIsNot) {
  config_.max_batch_rows = 8;
  Begin();
  const Page& page = execution_.lane.page();
  std::vector<std::vector<uint64_t>> named;
  cpu_.on_run = [&] {
    named.emplace_back();
    for (uint32_t i = 0; i < page.executing_count.load(); ++i) {
      EXPECT_EQ(page.executing_origin[i].load(), ingress_.incarnation());
      named.back().push_back(PartId::Unpack(page.executing_id[i].load()).slot);
    }
  };
  for (uint16_t slot = 0; slot < 4; ++slot) Ask(slot, 3);
  Serve();
  EXPECT_THAT(named, ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3)));
  EXPECT_EQ(page.executing_count.load(), 0u);
  EXPECT_EQ(page.predicted_ns.load(), 0u);
}

TEST_F(ExecutionStageTest, ABatchNamesNoMoreThanThePageHolds) {
  Begin();
  for (uint16_t slot = 0; slot < 100; ++slot) Ask(slot, 1);
  worker_.Poll();
  worker_.Poll();
  Serve();
  EXPECT_THAT(Rows(), ElementsAre(kMaxExecuting, 100 - kMaxExecuting));
  EXPECT_THAT(answered_, SizeIs(100));
}

TEST_F(ExecutionStageTest, WorkAllocatesNothing) {
  config_.max_batch_rows = 40;
  Begin();
  for (int round = 0; round < 3; ++round) {
    for (uint16_t slot = 0; slot < 50; ++slot) {
      Ask(slot, 1 + slot % 7, slot % 9 == 0 ? kOtherRoute : kRoute, slot == 20 ? kFlagAlone : 0);
    }
    worker_.Poll();
    const uint64_t before = Allocations();
    while (stage_.Work(worker_) > 0) {
    }
    EXPECT_EQ(Allocations(), before) << "round " << round;
    Collect();
  }
  EXPECT_THAT(answered_, SizeIs(150));
  EXPECT_GT(cpu_.runs.size(), 12u);
}

// However requests come and are put together, each answer is what it would be alone.
TEST_F(ExecutionStageTest, AnyMixtureGivesTheSameAnswers) {
  config_.max_batch_rows = 16;
  Begin();
  size_t asked = 0;
  for (int round = 0; round < 60; ++round) {
    const auto count = static_cast<uint16_t>(1 + random_() % 40);
    for (uint16_t slot = 0; slot < count; ++slot) {
      Ask(slot, 1 + random_() % 12, random_() % 3 ? kRoute : kOtherRoute,
          random_() % 10 ? 0 : kFlagAlone);
    }
    asked += count;
    Serve();
  }
  EXPECT_EQ(answered_.size(), asked);
  EXPECT_THAT(errors_, IsEmpty());
  EXPECT_TRUE(worker_.Idle());
}

// A request of the older catalog is answered until then, and its plan's memory is there no more
// after it.
TEST_F(StageTest, OnceACatalogIsSettledOlderPlansAreGone) {
  ASSERT_TRUE(StartStage({{kRoute, SampleXgboostPlan()}, {20, SampleXgboostPlan()}}).ok());
  ASSERT_TRUE(TakeUp({{kRoute, SampleXgboostPlan()}, {kOtherRoute, SampleXgboostPlan()}}).ok());
  EXPECT_EQ(cpu_.living, 3);
  Ask(0, 4, 20);
  Serve();
  EXPECT_EQ(answered_, std::vector<uint16_t>{0});
  Settle();
  EXPECT_EQ(cpu_.living, 2);
  Ask(1, 4, kRoute);
  Ask(2, 4, kOtherRoute);
  Ask(3, 4, 20);
  Serve();
  EXPECT_EQ(answered_, (std::vector<uint16_t>{0, 1, 2}));
  EXPECT_EQ(errors_.count(3), 1u);
  EXPECT_EQ(cpu_.opened, 3) << "what stays is not opened again";
}

}  // namespace
}  // namespace millrace
