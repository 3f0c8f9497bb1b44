// The choice by measure, with kernels whose time is a function of the rows on a clock of the
// test's.
#include "kernels/device/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "kernels/device/dispatch.h"
#include "kernels/plan/sample_plans.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

int64_t g_now_ns = 0;

class Timed : public Kernel {
 public:
  Timed(const std::vector<std::byte>& image, std::function<int64_t(size_t)> ns)
      : reference_(*ReferenceBackend().OpenPlan(image)), ns_(std::move(ns)) {}
  const KernelShape& shape() const override { return reference_->shape(); }
  size_t ScratchBytes(size_t rows) const override { return reference_->ScratchBytes(rows); }
  absl::Status Run(const KernelBatch& batch) const override {
    ++runs;
    most_rows = std::max(most_rows, batch.rows());
    g_now_ns += ns_(batch.rows());
    if (batch.rows() >= fails_from) return absl::Status(code, "as asked");
    absl::Status status = reference_->Run(batch);
    if (batch.rows() == wrong_at) static_cast<float*>(batch.pieces[0].margins)[0] += 1e-3f;
    return status;
  }
  mutable int runs = 0;
  mutable size_t most_rows = 0;
  size_t wrong_at = 0;
  size_t fails_from = SIZE_MAX;
  absl::StatusCode code = absl::StatusCode::kInternal;

 private:
  std::unique_ptr<Kernel> reference_;
  std::function<int64_t(size_t)> ns_;
};

class MeasureTest : public ::testing::Test {
 protected:
  void Make(std::function<int64_t(size_t)> cpu_ns, std::function<int64_t(size_t)> device_ns) {
    auto cpu = std::make_unique<Timed>(image_, std::move(cpu_ns));
    auto device = std::make_unique<Timed>(image_, std::move(device_ns));
    cpu_ = cpu.get();
    device_ = device.get();
    kernel_ = std::make_unique<DispatchKernel>(std::move(cpu), std::move(device));
  }
  absl::Status Measure(uint64_t max_rows) {
    limits_.now_ns = [] { return g_now_ns; };
    const std::vector<float> rows = *PlausibleRows(image_, input_rows_, 1);
    return kernel_->ChooseByMeasure(max_rows, rows, limits_);
  }

  const std::vector<std::byte> image_ = SampleXgboostPlan();
  size_t input_rows_ = 4096;
  Timed* cpu_ = nullptr;
  Timed* device_ = nullptr;
  MeasureLimits limits_;
  std::unique_ptr<DispatchKernel> kernel_;
};

int64_t Linear(size_t rows) { return 500 * static_cast<int64_t>(rows); }
// As a device is: a long way to go, then little for each row. Even with Linear at 40 rows.
int64_t Device(size_t rows) { return 18'000 + 50 * static_cast<int64_t>(rows); }

TEST_F(MeasureTest, TheCrossoverIsWhereTheDeviceBecomesFaster) {
  Make(Linear, Device);
  ASSERT_TRUE(Measure(4096).ok());
  EXPECT_EQ(kernel_->device_from_rows(), 33u) << "32: 16.0 and 19.6 us; 64: 32.0 and 21.2 us";
  ASSERT_EQ(kernel_->buckets().size(), 13u);
  const Bucket& bucket = kernel_->buckets()[6];
  EXPECT_EQ(bucket.rows, 64u);
  EXPECT_EQ(bucket.cpu_ns, 32'000);
  EXPECT_EQ(bucket.device_ns, 21'200);
  EXPECT_FALSE(bucket.cpu_estimated || bucket.device_estimated);
}

TEST_F(MeasureTest, ADeviceThatIsNeverFasterIsNotUsedAndOneThatAlwaysIs) {
  Make(Linear, [](size_t rows) { return Linear(rows) + 1; });
  ASSERT_TRUE(Measure(256).ok());
  EXPECT_EQ(kernel_->device_from_rows(), DispatchKernel::kNever);
  Make(Linear, [](size_t rows) { return Linear(rows) * 95 / 100; });
  ASSERT_TRUE(Measure(256).ok());
  EXPECT_EQ(kernel_->device_from_rows(), DispatchKernel::kNever) << "nearly equal is the CPU's";
  Make(Linear, [](size_t rows) { return Linear(rows) / 2; });
  ASSERT_TRUE(Measure(256).ok());
  EXPECT_EQ(kernel_->device_from_rows(), 1u);
}

TEST_F(MeasureTest, OneBadReadingDoesNotDecide) {
  Make(Linear, [](size_t rows) { return Device(rows) + (rows == 1024 ? 900'000 : 0); });
  ASSERT_TRUE(Measure(4096).ok());
  EXPECT_EQ(kernel_->device_from_rows(), 33u);
  Make([](size_t rows) { return Linear(rows) * (rows == 2 ? 50 : 1); }, Device);
  ASSERT_TRUE(Measure(4096).ok());
  EXPECT_EQ(kernel_->device_from_rows(), 33u);
}

TEST_F(MeasureTest, OneSlowRunOfABucketIsNotItsTime) {
  int calls = 0;
  Make(Linear, [&](size_t rows) { return Device(rows) + (++calls % 5 == 0 ? 9'000'000 : 0); });
  ASSERT_TRUE(Measure(64).ok());
  EXPECT_EQ(kernel_->buckets()[6].device_ns, Device(64));
}

TEST_F(MeasureTest, ItIsBounded) {
  const auto slow = [](size_t rows) { return 2'000'000 * static_cast<int64_t>(rows); };
  Make(slow, Device);
  const int64_t begin_ns = g_now_ns;
  ASSERT_TRUE(Measure(4096).ok());
  EXPECT_EQ(cpu_->most_rows, 16u) << "64 ms for 32 rows is over the limit of a side";
  EXPECT_EQ(device_->most_rows, 4096u);
  EXPECT_TRUE(kernel_->buckets()[5].cpu_estimated);
  EXPECT_EQ(kernel_->buckets()[12].cpu_ns, slow(4096));
  EXPECT_EQ(kernel_->device_from_rows(), 1u);
  EXPECT_LT(g_now_ns - begin_ns, 500'000'000);

  limits_.total_ns = 100'000'000;
  Make(slow, slow);
  const int64_t again_ns = g_now_ns;
  ASSERT_TRUE(Measure(4096).ok());
  EXPECT_LT(kernel_->buckets().size(), 6u);
  EXPECT_LT(g_now_ns - again_ns, limits_.total_ns + 4 * limits_.side_ns);
}

TEST_F(MeasureTest, BucketsWithoutRowsToMeasureThemAreLeftOut) {
  input_rows_ = 100;
  Make(Linear, Device);
  ASSERT_TRUE(Measure(4096).ok());
  EXPECT_EQ(kernel_->buckets().size(), 7u);
  EXPECT_EQ(kernel_->device_from_rows(), 33u) << "and what is above them goes as the last did";
}

TEST_F(MeasureTest, ADeviceWithOtherNumbersIsRefused) {
  Make(Linear, Device);
  device_->wrong_at = 128;
  const absl::Status status = Measure(4096);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(kernel_->device_from_rows(), DispatchKernel::kNever);
  limits_.exact = false;
  EXPECT_TRUE(Measure(4096).ok());
}

TEST_F(MeasureTest, ADeviceThatFailsIsTold) {
  Make(Linear, Device);
  device_->fails_from = 16;
  EXPECT_TRUE(absl::IsInternal(Measure(4096)));
  device_->code = absl::StatusCode::kResourceExhausted;
  EXPECT_TRUE(absl::IsResourceExhausted(Measure(4096)));
  EXPECT_EQ(kernel_->device_from_rows(), DispatchKernel::kNever);
}

TEST(BucketRows, ArePowersOfTwoAndTheLargestBatch) {
  EXPECT_THAT(BucketRows(1), ElementsAre(1));
  EXPECT_THAT(BucketRows(8), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(BucketRows(9), ElementsAre(1, 2, 4, 8, 9));
  EXPECT_EQ(BucketRows(uint64_t{1} << 20).size(), 21u);
}

TEST(PlausibleRows, LieOnBothSidesOfEveryThreshold) {
  for (const SamplePlan& sample : SamplePlans()) {
    const TreePlan plan = *TreePlan::Open(sample.image);
    const std::vector<float> rows = *PlausibleRows(sample.image, 512, 9);
    ASSERT_EQ(rows.size(), 512 * plan.features());
    int missing = 0;
    for (float x : rows) missing += std::isnan(x);
    EXPECT_EQ(missing > 0, !plan.used_features().empty()) << sample.name;
    EXPECT_LE(missing, static_cast<int>(rows.size()) / 16) << sample.name;
    for (const PlanFeature& feature : plan.used_features()) {
      std::set<int> categories;
      for (uint32_t i = 0; i < feature.edge_count; ++i) {
        const float edge = plan.edges32()[feature.first_edge + i];
        int below = 0, above = 0;
        for (size_t r = 0; r < 512; ++r) {
          const float x = rows[r * plan.features() + feature.feature];
          below += x < edge;
          above += x >= edge;
        }
        EXPECT_GT(below, 0) << sample.name;
        EXPECT_GT(above, 0) << sample.name;
      }
      for (size_t r = 0; r < 512 && feature.row_count > 0; ++r) {
        const float x = rows[r * plan.features() + feature.feature];
        if (x >= 0) categories.insert(static_cast<int>(x));
      }
      EXPECT_EQ(categories.size() > 16, feature.row_count > 0) << sample.name;
    }
  }
}

}  // namespace
}  // namespace millrace
