// Flips bytes of valid plans. An image is refused, or it evaluates inside its bounds: images and
// outputs end at a page that cannot be touched, so a step outside dies here and under ASan alike.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "common/check.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/prepare.h"
#include "kernels/plan/sample_plans.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"

namespace millrace {
namespace {

// Bytes that end where a forbidden page begins.
class Fenced {
 public:
  explicit Fenced(size_t bytes) : bytes_(bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t room = (bytes + page - 1) / page * page;
    mapped_ = room + page;
    base_ = static_cast<std::byte*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    MR_CHECK(base_ != MAP_FAILED, "the test needs address space");
    MR_CHECK(mprotect(base_ + room, page, PROT_NONE) == 0, "the fence stands");
    start_ = base_ + room - bytes;
  }
  ~Fenced() { munmap(base_, mapped_); }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;

  std::byte* data() { return start_; }
  absl::Span<const std::byte> span() const { return {start_, bytes_}; }

 private:
  const size_t bytes_;
  size_t mapped_;
  std::byte* base_;
  std::byte* start_;
};

constexpr size_t kRows = 6;

// Rows that steer into every kind of branch.
template <typename T>
void FillRows(T* rows, size_t features) {
  constexpr T kValues[kRows] = {
      T(0),   T(1), T(33), std::numeric_limits<T>::quiet_NaN(), -std::numeric_limits<T>::infinity(),
      T(1e30)};
  for (size_t r = 0; r < kRows; ++r) {
    // Features beyond these stay 0: a flipped header may ask for millions.
    for (size_t f = 0; f < std::min<size_t>(features, 16); ++f) {
      rows[r * features + f] = kValues[(r + f) % kRows];
    }
  }
}

template <typename In>
void EvaluateAs(const TreePlan& plan, DataType type) {
  Fenced rows(kRows * plan.features() * sizeof(In));
  FillRows(reinterpret_cast<In*>(rows.data()), plan.features());
  Fenced margins(kRows * plan.groups() * DataTypeSize(plan.margin_type()));
  Fenced predictions(kRows * plan.prediction_columns() * DataTypeSize(plan.prediction_type()));
  reference::Margins(plan, type, rows.data(), kRows, margins.data());
  reference::Predictions(plan, margins.data(), kRows, predictions.data());
}

// Every engine of every level: one row, some, and a block.
void EvaluateOnLevels(const TreePlan& plan) {
  constexpr size_t kMost = 20;
  Fenced rows(kRows * plan.features() * sizeof(float));
  FillRows(reinterpret_cast<float*>(rows.data()), plan.features());
  const size_t row_bytes = plan.features() * sizeof(float);
  const size_t margin_bytes = plan.groups() * DataTypeSize(plan.margin_type());
  Fenced margins(kMost * margin_bytes);
  const void* in[kMost];
  void* out[kMost];
  for (size_t i = 0; i < kMost; ++i) {
    in[i] = rows.data() + i % kRows * row_bytes;
    out[i] = margins.data() + i * margin_bytes;
  }
  const cpu::PreparedForest forest(plan);
  const size_t scratch_bytes = (cpu::ScratchBytes(forest.tables()) + 63) / 64 * 64;
  Fenced scratch(scratch_bytes);
  for (const cpu::Level* level : cpu::SupportedLevels()) {
    for (const size_t n : {size_t{1}, size_t{5}, kMost}) {
      level->margins(forest.tables(), false, in, out, n,
                     reinterpret_cast<uint8_t*>(scratch.data()));
    }
  }
}

// Returns whether the image opened.
bool TryImage(absl::Span<const std::byte> image) {
  const auto plan = TreePlan::Open(image);
  if (!plan.ok()) return false;
  for (uint32_t i = 0; plan->has_feature_names() && i < plan->features(); ++i) {
    EXPECT_LE(plan->feature_name(i).size(), image.size());
  }
  EvaluateAs<float>(*plan, DataType::kFp32);
  if (plan->AcceptsInput(DataType::kFp64)) EvaluateAs<double>(*plan, DataType::kFp64);
  // A flipped header may ask for gigabytes of scratch; what is refused of them is execution's
  // matter.
  if (plan->groups() <= 64) EvaluateOnLevels(*plan);
  return true;
}

TEST(PlanFuzzTest, EveryByteFlipped) {
  size_t opened = 0, refused = 0;
  for (const SamplePlan& sample : SamplePlans()) {
    Fenced image(sample.image.size());
    memcpy(image.data(), sample.image.data(), sample.image.size());
    for (size_t i = 0; i < sample.image.size(); ++i) {
      const std::byte kept = image.data()[i];
      for (const int mask : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
        image.data()[i] = kept ^ static_cast<std::byte>(mask);
        ++(TryImage(image.span()) ? opened : refused);
      }
      image.data()[i] = kept;
    }
    EXPECT_TRUE(TryImage(image.span())) << sample.name;
  }
  // Both outcomes occur: padding and leaf values may be anything, the header may not.
  EXPECT_GT(opened, 1000u);
  EXPECT_GT(refused, 1000u);
}

TEST(PlanFuzzTest, ManyBytesAtOnceBehindTheHeader) {
  std::mt19937 random(20240607);
  for (const SamplePlan& sample : SamplePlans()) {
    const size_t first = sizeof(PlanHeader);
    Fenced image(sample.image.size());
    for (int turn = 0; turn < 5000; ++turn) {
      memcpy(image.data(), sample.image.data(), sample.image.size());
      for (unsigned flips = 1 + random() % 4; flips > 0; --flips) {
        // Small values are the ones that are almost in range.
        const size_t at = first + random() % (sample.image.size() - first);
        image.data()[at] = static_cast<std::byte>(random() % 2 ? random() % 8 : random() % 256);
      }
      TryImage(image.span());
    }
  }
}

TEST(PlanFuzzTest, HeaderNumbersReplaced) {
  const uint64_t values[] = {0,        1,        2,          3,          64,         128,
                             1u << 16, 1u << 24, UINT32_MAX, 1ull << 32, 1ull << 60, UINT64_MAX};
  for (const SamplePlan& sample : SamplePlans()) {
    Fenced image(sample.image.size());
    for (size_t at = 0; at + 8 <= sizeof(PlanHeader); at += 4) {
      for (const uint64_t value : values) {
        for (const size_t width : {sizeof(uint32_t), sizeof(uint64_t)}) {
          memcpy(image.data(), sample.image.data(), sample.image.size());
          memcpy(image.data() + at, &value, width);
          TryImage(image.span());
        }
      }
    }
  }
}

}  // namespace
}  // namespace millrace
