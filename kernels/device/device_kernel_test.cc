// Plans through the plug-in: the same numbers as the reference's, and each of its answers.
#include "kernels/device/device_kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "kernels/device/loader.h"
#include "kernels/device/measure.h"
#include "kernels/device/testing/fault_file.h"
#include "kernels/plan/sample_plans.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMaxRows = 100;

class DeviceKernelTest : public ::testing::Test {
 protected:
  DeviceKernelTest() : device_(OpenDevice(kFakePlugin, 0)) {}

  absl::StatusOr<std::unique_ptr<Kernel>> Open(const SamplePlan& sample) {
    EXPECT_TRUE(device_.ready()) << device_.sentence;
    DeviceOptions options = {};
    options.max_rows = kMaxRows;
    return DeviceBackend(device_.plugin, options).OpenPlan(sample.image);
  }

  FaultFile faults_{"faults"};
  Device device_;
  const std::vector<SamplePlan> samples_ = SamplePlans();
};

struct Answers {
  std::vector<std::byte> margins, predictions;
};

// The rows in pieces of `piece_rows`; what is not asked for stays zero.
Answers RunPieces(const Kernel& kernel, const std::vector<float>& rows, size_t piece_rows,
                  bool margins, bool predictions) {
  const KernelShape& shape = kernel.shape();
  const size_t count = rows.size() / shape.features;
  const size_t margin = shape.groups * DataTypeSize(shape.margin_type);
  const size_t prediction = shape.prediction_columns * DataTypeSize(shape.prediction_type);
  Answers answers = {std::vector<std::byte>(count * margin),
                     std::vector<std::byte>(count * prediction)};
  std::vector<KernelPiece> pieces;
  for (size_t first = 0; first < count; first += piece_rows) {
    pieces.push_back({rows.data() + first * shape.features, std::min(piece_rows, count - first),
                      margins ? answers.margins.data() + first * margin : nullptr,
                      predictions ? answers.predictions.data() + first * prediction : nullptr});
    if (pieces.size() == 2) pieces.push_back({rows.data(), 0, nullptr, nullptr});
  }
  std::vector<std::byte> scratch(kernel.ScratchBytes(count) + 64);
  EXPECT_TRUE(kernel.Run({DataType::kFp32, pieces, absl::MakeSpan(scratch)}).ok());
  return answers;
}

TEST_F(DeviceKernelTest, GivesTheReferencesNumbersHoweverTheRowsCome) {
  ASSERT_TRUE(device_.ready());
  for (const SamplePlan& sample : samples_) {
    auto kernel = Open(sample);
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    auto reference = *ReferenceBackend().OpenPlan(sample.image);
    EXPECT_FALSE((*kernel)->shape().accepts_fp64);
    EXPECT_EQ((*kernel)->shape().groups, reference->shape().groups);
    const std::vector<float> rows = *PlausibleRows(sample.image, kMaxRows, 5);
    for (const size_t piece_rows : {size_t{1}, size_t{7}, size_t{kMaxRows}}) {
      for (const int asked : {1, 2, 3}) {
        const bool margins = asked & 1, predictions = asked & 2;
        const Answers ours = RunPieces(**kernel, rows, piece_rows, margins, predictions);
        const Answers theirs = RunPieces(*reference, rows, kMaxRows, margins, predictions);
        EXPECT_EQ(ours.margins, theirs.margins) << sample.name << " " << piece_rows;
        EXPECT_EQ(ours.predictions, theirs.predictions) << sample.name << " " << piece_rows;
      }
    }
  }
}

TEST_F(DeviceKernelTest, EachAnswerOfOpenHasItsStatus) {
  const std::pair<int, absl::StatusCode> cases[] = {{4, absl::StatusCode::kUnimplemented},
                                                    {5, absl::StatusCode::kInvalidArgument},
                                                    {6, absl::StatusCode::kResourceExhausted},
                                                    {99, absl::StatusCode::kUnimplemented},
                                                    {7, absl::StatusCode::kInternal}};
  for (const auto& [code, status] : cases) {
    faults_.Set("open " + std::to_string(code));
    const auto kernel = Open(samples_[0]);
    EXPECT_EQ(kernel.status().code(), status) << code;
    EXPECT_EQ(kernel.status().message(), "open fails as asked");
  }
}

TEST_F(DeviceKernelTest, APlanThatDoesNotCheckIsNeverShownToTheDevice) {
  SamplePlan cut = samples_[0];
  cut.image.resize(cut.image.size() / 2);
  EXPECT_TRUE(absl::IsInvalidArgument(Open(cut).status()));
  EXPECT_EQ(faults_.Log().find("open"), std::string::npos);
}

TEST_F(DeviceKernelTest, EachAnswerOfRunHasItsStatus) {
  auto kernel = Open(samples_[0]);
  ASSERT_TRUE(kernel.ok());
  const std::vector<float> row((*kernel)->shape().features, 1);
  std::vector<std::byte> scratch((*kernel)->ScratchBytes(1) + 64);
  const KernelPiece piece = {row.data(), 1, nullptr, nullptr};
  const std::pair<int, absl::StatusCode> cases[] = {{3, absl::StatusCode::kUnimplemented},
                                                    {4, absl::StatusCode::kUnimplemented},
                                                    {5, absl::StatusCode::kInvalidArgument},
                                                    {6, absl::StatusCode::kResourceExhausted},
                                                    {7, absl::StatusCode::kInternal}};
  for (const auto& [code, status] : cases) {
    faults_.Set("run " + std::to_string(code));
    EXPECT_EQ((*kernel)->Run({DataType::kFp32, {&piece, 1}, absl::MakeSpan(scratch)}).code(),
              status);
  }
  // A sticky error stays, and the sentence is the plug-in's.
  faults_.Set("");
  const absl::Status lost = (*kernel)->Run({DataType::kFp32, {&piece, 1}, absl::MakeSpan(scratch)});
  EXPECT_TRUE(absl::IsInternal(lost));
  EXPECT_EQ(lost.message(), "run fails as asked");
}

TEST_F(DeviceKernelTest, TellsWhenItsStepsEndedToWhoAsks) {
  auto kernel = Open(samples_[0]);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  const std::vector<float> row((*kernel)->shape().features, 1);
  std::vector<std::byte> scratch((*kernel)->ScratchBytes(1) + 64);
  const KernelPiece piece = {row.data(), 1, nullptr, nullptr};
  KernelTimes times;
  EXPECT_TRUE((*kernel)->Run({DataType::kFp32, {&piece, 1}, absl::MakeSpan(scratch), &times}).ok());
  EXPECT_GT(times.begin_ns, 0);
  EXPECT_EQ(times.brought_ns - times.begin_ns, 1'000);  // as the fake one says
  EXPECT_EQ(times.launched_ns - times.brought_ns, 2'000);
  EXPECT_EQ(times.done_ns - times.launched_ns, 4'000);
  EXPECT_EQ(times.end_ns - times.done_ns, 8'000);
}

TEST_F(DeviceKernelTest, TheModelIsClosedWithTheKernel) {
  auto kernel = Open(samples_[0]);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_THAT(faults_.Log(), HasSubstr("open 100 0"));
  EXPECT_EQ(faults_.Log().find("close"), std::string::npos);
  kernel->reset();
  EXPECT_THAT(faults_.Log(), HasSubstr("close"));
}

}  // namespace
}  // namespace millrace
