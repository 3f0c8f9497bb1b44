// Where each batch runs, and that it is answered whole whatever the device says.
#include "kernels/device/dispatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "common/testing/allocations.h"
#include "kernels/device/plugin.h"
#include "kernels/plan/sample_plans.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::StatusCode kOk = absl::StatusCode::kOk;
constexpr absl::StatusCode kFull = absl::StatusCode::kResourceExhausted;
constexpr absl::StatusCode kElsewhere = absl::StatusCode::kUnimplemented;
constexpr absl::StatusCode kGone = absl::StatusCode::kInternal;

// The reference, which answers with what the script says and writes nothing where that is not OK.
class Scripted : public Kernel {
 public:
  explicit Scripted(const std::vector<std::byte>& image)
      : reference_(*ReferenceBackend().OpenPlan(image)) {
    runs.reserve(64);
  }
  const KernelShape& shape() const override { return reference_->shape(); }
  size_t ScratchBytes(size_t rows) const override { return reference_->ScratchBytes(rows); }
  absl::Status Run(const KernelBatch& batch) const override {
    runs.push_back(batch.rows());
    const size_t at = next_++;
    if (at < script.size() && script[at] != kOk) {
      for (const KernelPiece& piece : batch.pieces) Spoil(piece);
      return absl::Status(script[at], "");
    }
    return reference_->Run(batch);
  }
  void Say(std::vector<absl::StatusCode> codes) {
    script = std::move(codes);
    next_ = 0;
    runs.clear();
  }

  std::vector<absl::StatusCode> script;
  mutable std::vector<size_t> runs;  // rows of each

 private:
  // A device that fails may have written anything into the outputs.
  void Spoil(const KernelPiece& piece) const {
    if (piece.predictions == nullptr) return;
    memset(piece.predictions, 0xcd,
           piece.rows * shape().prediction_columns * DataTypeSize(shape().prediction_type));
  }

  std::unique_ptr<Kernel> reference_;
  mutable size_t next_ = 0;
};

class DispatchTest : public ::testing::Test {
 protected:
  DispatchTest() {
    auto cpu = std::make_unique<Scripted>(image_);
    auto device = std::make_unique<Scripted>(image_);
    cpu_ = cpu.get();
    device_ = device.get();
    kernel_ = std::make_unique<DispatchKernel>(std::move(cpu), std::move(device));
    kernel_->ChooseFrom(1);
  }

  // Runs rows in pieces of these sizes and compares with the reference's.
  absl::Status Run(const std::vector<size_t>& sizes) {
    const KernelShape& shape = kernel_->shape();
    size_t rows = 0;
    for (size_t size : sizes) rows += size;
    const std::vector<float> input = *PlausibleRows(image_, rows, 3);
    std::vector<float> predictions(rows * shape.prediction_columns, -1), expected = predictions;
    std::vector<KernelPiece> pieces;
    size_t first = 0;
    for (size_t size : sizes) {
      pieces.push_back({input.data() + first * shape.features, size, nullptr,
                        predictions.data() + first * shape.prediction_columns});
      first += size;
    }
    std::vector<std::byte> scratch(kernel_->ScratchBytes(rows) + 64);
    const KernelBatch batch = {DataType::kFp32, pieces, absl::MakeSpan(scratch)};
    const uint64_t before = Allocations();
    const absl::Status status = kernel_->Run(batch, &tally_);
    EXPECT_EQ(Allocations(), before) << "Run allocates nothing";
    if (!status.ok()) return status;
    const KernelPiece whole = {input.data(), rows, nullptr, expected.data()};
    auto reference = *ReferenceBackend().OpenPlan(image_);
    EXPECT_TRUE(reference->Run({DataType::kFp32, {&whole, 1}, absl::MakeSpan(scratch)}).ok());
    EXPECT_EQ(memcmp(predictions.data(), expected.data(), expected.size() * sizeof(float)), 0);
    return status;
  }

  const std::vector<std::byte> image_ = SampleXgboostPlan();
  Scripted* cpu_;
  Scripted* device_;
  std::unique_ptr<DispatchKernel> kernel_;
  DispatchTally tally_;
};

TEST_F(DispatchTest, BatchesFromTheCrossoverOnAreTheDevices) {
  kernel_->ChooseFrom(8);
  EXPECT_TRUE(Run({7}).ok());
  EXPECT_TRUE(Run({3, 4}).ok());
  EXPECT_THAT(device_->runs, IsEmpty());
  EXPECT_TRUE(Run({8}).ok());
  EXPECT_TRUE(Run({3, 4, 1}).ok());
  EXPECT_THAT(device_->runs, ElementsAre(8, 8));
  EXPECT_THAT(cpu_->runs, ElementsAre(7, 7));
  EXPECT_EQ(tally_.device_batches, 2u);
  EXPECT_EQ(tally_.halved + tally_.fell_back, 0u);
}

TEST_F(DispatchTest, WithoutAChoiceEverythingIsTheCpus) {
  DispatchKernel fresh(std::make_unique<Scripted>(image_), std::make_unique<Scripted>(image_));
  EXPECT_EQ(fresh.device_from_rows(), DispatchKernel::kNever);
  DispatchKernel without(std::make_unique<Scripted>(image_), nullptr);
  EXPECT_FALSE(without.has_device());
}

TEST_F(DispatchTest, OutOfMemoryHalvesOnceAndCounts) {
  device_->Say({kFull, kOk, kOk});
  EXPECT_TRUE(Run({5, 1, 7}).ok());
  EXPECT_THAT(device_->runs, ElementsAre(13, 6, 7));
  EXPECT_THAT(cpu_->runs, IsEmpty());
  EXPECT_EQ(tally_.halved, 1u);
  EXPECT_EQ(tally_.fell_back, 0u);
}

TEST_F(DispatchTest, AHalfThatFailsAgainAndWhatIsBehindItRunOnTheCpu) {
  device_->Say({kFull, kFull});
  EXPECT_TRUE(Run({5, 1, 7}).ok());
  EXPECT_THAT(device_->runs, ElementsAre(13, 6)) << "no third try";
  EXPECT_THAT(cpu_->runs, ElementsAre(6, 7));
  EXPECT_EQ(tally_.halved, 1u);
  EXPECT_EQ(tally_.fell_back, 1u);
  device_->Say({kFull, kOk, kFull});
  cpu_->Say({});
  EXPECT_TRUE(Run({13}).ok());
  EXPECT_THAT(device_->runs, ElementsAre(13, 6, 7));
  EXPECT_THAT(cpu_->runs, ElementsAre(7));
  EXPECT_EQ(tally_.device_batches, 2u);
  EXPECT_EQ(tally_.halved, 2u);
  EXPECT_EQ(tally_.fell_back, 2u);
}

TEST_F(DispatchTest, OneRowIsNotHalved) {
  device_->Say({kFull});
  EXPECT_TRUE(Run({0, 1, 0}).ok());
  EXPECT_THAT(device_->runs, ElementsAre(1));
  EXPECT_THAT(cpu_->runs, ElementsAre(1));
  EXPECT_EQ(tally_.halved, 0u);
  EXPECT_EQ(tally_.fell_back, 1u);
}

TEST_F(DispatchTest, EveryOtherRefusalGoesToTheCpuAtOnce) {
  for (const auto code : {kElsewhere, absl::StatusCode::kInvalidArgument}) {
    device_->Say({code});
    cpu_->Say({});
    EXPECT_TRUE(Run({4, 4}).ok());
    EXPECT_THAT(device_->runs, ElementsAre(8));
    EXPECT_THAT(cpu_->runs, ElementsAre(8));
  }
  EXPECT_EQ(tally_.halved, 0u);
  EXPECT_EQ(tally_.fell_back, 2u);
}

TEST_F(DispatchTest, ALostDeviceIsNeverHidden) {
  const std::vector<std::vector<absl::StatusCode>> scripts = {
      {kGone}, {kFull, kGone}, {kFull, kOk, kGone}};
  for (const auto& script : scripts) {
    device_->Say(script);
    EXPECT_TRUE(absl::IsInternal(Run({4, 4})));
    EXPECT_EQ(device_->runs.size(), script.size());
  }
  EXPECT_THAT(cpu_->runs, IsEmpty());
}

TEST_F(DispatchTest, HalvesOfAnyPiecesGiveTheSameNumbers) {
  std::minstd_rand random(11);
  for (int i = 0; i < 300; ++i) {
    std::vector<size_t> sizes(1 + random() % 12);
    size_t rows = 0;
    for (size_t& size : sizes) rows += size = random() % 5;
    if (rows < 2) continue;
    device_->Say({kFull, random() % 2 ? kOk : kFull, random() % 2 ? kOk : kElsewhere});
    cpu_->Say({});
    ASSERT_TRUE(Run(sizes).ok());
  }
}

TEST_F(DispatchTest, MorePiecesThanAPlugInTakesAreTheCpus) {
  EXPECT_TRUE(Run(std::vector<size_t>(kMaxDevicePieces + 1, 1)).ok());
  EXPECT_THAT(device_->runs, IsEmpty());
  device_->Say({kFull, kFull});
  EXPECT_TRUE(Run(std::vector<size_t>(kMaxDevicePieces, 1)).ok());
  EXPECT_THAT(device_->runs, ElementsAre(kMaxDevicePieces, kMaxDevicePieces / 2));
}

TEST_F(DispatchTest, DoublesAreTheCpus) {
  std::vector<std::byte> image;
  for (const SamplePlan& sample : SamplePlans()) {
    if ((*ReferenceBackend().OpenPlan(sample.image))->shape().accepts_fp64) image = sample.image;
  }
  auto device = std::make_unique<Scripted>(image);
  const Scripted* watched = device.get();
  DispatchKernel kernel(std::make_unique<Scripted>(image), std::move(device));
  kernel.ChooseFrom(1);
  EXPECT_TRUE(kernel.shape().accepts_fp64);
  const std::vector<double> row(kernel.shape().features, 0.5);
  std::vector<std::byte> scratch(kernel.ScratchBytes(1) + 64);
  const KernelPiece piece = {row.data(), 1, nullptr, nullptr};
  EXPECT_TRUE(kernel.Run({DataType::kFp64, {&piece, 1}, absl::MakeSpan(scratch)}).ok());
  EXPECT_THAT(watched->runs, IsEmpty());
}

}  // namespace
}  // namespace millrace
