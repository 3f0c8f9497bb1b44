// Rules of the two libraries on cases small enough to work out by hand, and the promises of
// kernel.h. That whole models agree with the libraries is golden_test's business.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "common/check.h"
#include "common/testing/allocations.h"
#include "kernels/kernel.h"
#include "kernels/plan/sample_plans.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/plan/writer.h"
#include "kernels/reference/evaluate.h"

namespace millrace {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One split with the leaves 1 (left) and 2 (right), on feature 0.
std::vector<std::byte> OneSplit(TreeFamily family, const DraftNode& split,
                                std::vector<uint32_t> words = {}) {
  PlanWriter writer;
  if (!words.empty()) writer.AddSet(words);
  const auto read = [&split](uint32_t i) -> absl::StatusOr<DraftNode> {
    if (i > 0) return DraftLeaf(i);
    DraftNode root = split;
    root.left = 1;
    root.right = 2;
    return root;
  };
  MR_CHECK(writer.AddTree(0, 3, {"t", "l", "r"}, read).ok(), "the test's tree is valid");
  PlanTraits traits;
  traits.family = family;
  traits.features = 1;
  traits.bases = {0};
  auto image = writer.Finish(traits);
  MR_CHECK(image.ok(), "the test's plan is valid");
  return *std::move(image);
}

// 'L' or 'R' for each value.
std::string Sides(const std::vector<std::byte>& image, const std::vector<float>& values) {
  const TreePlan plan = *TreePlan::Open(image);
  std::string sides;
  for (const float value : values) {
    double as_double = 0;
    float as_float = 0;
    const bool xgboost = plan.family() == TreeFamily::kXgboost;
    reference::Margins(plan, DataType::kFp32, &value, 1,
                       xgboost ? static_cast<void*>(&as_float) : &as_double);
    sides += (xgboost ? as_float : as_double) == 1 ? 'L' : 'R';
  }
  return sides;
}

TEST(XgboostRules, NumericIsStrictlyLessAndNanGoesToTheDefault) {
  const std::vector<float> x = {0.99999994f, 1, kNan, kInfinity, -kInfinity, -0.0f};
  EXPECT_EQ(Sides(OneSplit(TreeFamily::kXgboost, DraftNumeric(0, 1, Missing::kNan, true)), x),
            "LRLRLL");
  EXPECT_EQ(Sides(OneSplit(TreeFamily::kXgboost, DraftNumeric(0, 1, Missing::kNan, false)), x),
            "LRRRLL");
  EXPECT_EQ(Sides(OneSplit(TreeFamily::kXgboost, DraftNumeric(0, 0, Missing::kNan, true)),
                  {0.0f, -0.0f, -1e-45f}),
            "RRL");
}

TEST(XgboostRules, CategoriesInTheSetGoRight) {
  const auto image = OneSplit(TreeFamily::kXgboost, DraftCategorical(0, 0, Missing::kNan, false),
                              {1u << 0 | 1u << 31, 1u << 1});  // {0, 31, 33}
  EXPECT_EQ(Sides(image, {0, 1, 31, 32, 33, 34, 64, 1e6f}), "RLRLRLLL");
  // A fraction is cut off; what is negative, 2^24 or more is no category; NaN is missing.
  EXPECT_EQ(Sides(image, {33.9f, 0.5f, -0.5f, -1, 16777216.0f, kInfinity, -kInfinity, kNan}),
            "RRLLLLLR");
}

TEST(LightgbmRules, MissingNoneTakesNanForZero) {
  const auto at = [](double t) {
    return OneSplit(TreeFamily::kLightgbm, DraftNumeric(0, t, Missing::kNone, true));
  };
  EXPECT_EQ(Sides(at(1), {1, 1.0000001f, kNan, kInfinity}), "LRLR");
  EXPECT_EQ(Sides(at(-1), {-1, -0.9999999f, kNan, 0}), "LRRR");
}

TEST(LightgbmRules, MissingZeroSendsZeroAndNanToTheDefault) {
  const auto image = OneSplit(TreeFamily::kLightgbm, DraftNumeric(0, 1, Missing::kZero, false));
  EXPECT_EQ(Sides(image, {0, -0.0f, kNan, 1e-35f, -1e-36f, 1.1e-35f, 1, 2}), "RRRRRLLR");
}

TEST(LightgbmRules, MissingNanSendsOnlyNanToTheDefault) {
  const auto image = OneSplit(TreeFamily::kLightgbm, DraftNumeric(0, -1, Missing::kNan, true));
  EXPECT_EQ(Sides(image, {kNan, 0, -1, -2}), "LRLL");
  // What is near zero is zero before it is compared.
  const auto tiny = OneSplit(TreeFamily::kLightgbm, DraftNumeric(0, -1e-37, Missing::kNan, true));
  EXPECT_EQ(Sides(tiny, {-1e-36f, -2e-35f, 0}), "RLR");
}

TEST(LightgbmRules, ThresholdsAreComparedInDouble) {
  const auto image = OneSplit(TreeFamily::kLightgbm, DraftNumeric(0, 0.1, Missing::kNone, true));
  EXPECT_EQ(Sides(image, {0.1f}), "R");  // 0.1f is above 0.1
}

TEST(LightgbmRules, CategoriesInTheSetGoLeft) {
  const auto image =
      OneSplit(TreeFamily::kLightgbm, DraftCategorical(0, 0, Missing::kNan, true), {0x5u, 0x2u});
  EXPECT_EQ(Sides(image, {0, 1, 2, 32, 33, 34, 64, 3e9f}), "LRLRLRRR");
  EXPECT_EQ(Sides(image, {-0.5f, 2.5f, -1, kNan, kInfinity, -kInfinity}), "LLRRRR");
}

TEST(LightgbmRules, LinearLeavesAddTermsOrFallBack) {
  std::vector<std::byte> image;
  for (SamplePlan& sample : SamplePlans()) {
    if (sample.name == "linear") image = sample.image;
  }
  const TreePlan plan = *TreePlan::Open(image);
  // Left: 0.5 + 2 * x1 - x0, or 9 where a term is NaN; right: 3.
  const double rows[] = {1, 10, 1, kNan, 2, kNan, kNan, 10};
  double margins[4];
  reference::Margins(plan, DataType::kFp64, rows, 4, margins);
  EXPECT_EQ(margins[0], 19.5);
  EXPECT_EQ(margins[1], 9);
  EXPECT_EQ(margins[2], 3);
  EXPECT_EQ(margins[3], 9);  // NaN goes left by default, and is a term there
}

TEST(Sums, XgboostAddsInFloatAndInOrder) {
  PlanWriter writer;
  for (const double leaf : {1e8, 1.0, -1e8}) {
    const auto read = [leaf](uint32_t) -> absl::StatusOr<DraftNode> { return DraftLeaf(leaf); };
    ASSERT_TRUE(writer.AddTree(0, 1, {"t", "l", "r"}, read).ok());
  }
  PlanTraits traits;
  traits.bases = {0.25};
  for (const TreeFamily family : {TreeFamily::kXgboost, TreeFamily::kLightgbm}) {
    traits.family = family;
    const auto image = writer.Finish(traits);
    ASSERT_TRUE(image.ok()) << image.status();
    const TreePlan plan = *TreePlan::Open(*image);
    float as_float = -1;
    double as_double = -1;
    if (family == TreeFamily::kXgboost) {
      reference::Margins(plan, DataType::kFp32, nullptr, 1, &as_float);
      EXPECT_EQ(as_float, 0.0f);  // 1e8 + 0.25 + 1 is 1e8 in float
    } else {
      reference::Margins(plan, DataType::kFp32, nullptr, 1, &as_double);
      EXPECT_EQ(as_double, 1.25);
    }
  }
}

// A plan of no trees, to reach a transform.
std::vector<std::byte> TransformPlan(TreeFamily family, MarginTransform transform, size_t groups,
                                     double parameter = 1, uint32_t divisor = 0) {
  PlanTraits traits;
  traits.family = family;
  traits.transform = transform;
  traits.transform_parameter = parameter;
  traits.average_divisor = divisor;
  traits.bases.resize(groups);
  auto image = PlanWriter().Finish(traits);
  MR_CHECK(image.ok(), "the test's plan is valid");
  return *std::move(image);
}

template <typename T>
std::vector<T> Transformed(const std::vector<std::byte>& image, std::vector<T> margins) {
  const TreePlan plan = *TreePlan::Open(image);
  const size_t rows = margins.size() / plan.groups();
  std::vector<T> out(rows * plan.prediction_columns());
  reference::Predictions(plan, margins.data(), rows, out.data());
  reference::Predictions(plan, margins.data(), rows, margins.data());  // in place
  margins.resize(out.size());
  EXPECT_EQ(out, margins);
  return out;
}

TEST(Transforms, Float) {
  const auto x = TreeFamily::kXgboost;
  using Values = std::vector<float>;
  EXPECT_EQ(Transformed(TransformPlan(x, MarginTransform::kIdentity, 1), Values{3, -1}),
            (Values{3, -1}));
  EXPECT_EQ(Transformed(TransformPlan(x, MarginTransform::kSigmoid, 1), Values{0, 200}),
            (Values{.5f, 1}));
  EXPECT_GT(Transformed(TransformPlan(x, MarginTransform::kSigmoid, 1), Values{-200})[0], 0);
  EXPECT_EQ(Transformed(TransformPlan(x, MarginTransform::kExp, 1), Values{0, 1}),
            (Values{1, std::exp(1.0f)}));
  EXPECT_EQ(Transformed(TransformPlan(x, MarginTransform::kStep, 1), Values{0, 1e-9f, -1}),
            (Values{0, 1, 0}));
  EXPECT_EQ(Transformed(TransformPlan(x, MarginTransform::kSoftmax, 2), Values{7, 7, 0, 200}),
            (Values{.5f, .5f, 0, 1}));
  EXPECT_EQ(Transformed(TransformPlan(x, MarginTransform::kArgmax, 3), Values{1, 3, 3, 5, 4, 5}),
            (Values{1, 0}));
}

TEST(Transforms, Double) {
  const auto l = TreeFamily::kLightgbm;
  using Values = std::vector<double>;
  EXPECT_EQ(Transformed(TransformPlan(l, MarginTransform::kSigmoid, 1, 2.0), Values{1}),
            (Values{1 / (1 + std::exp(-2.0))}));
  EXPECT_EQ(Transformed(TransformPlan(l, MarginTransform::kSignedSquare, 1), Values{-3, 0, 2}),
            (Values{-9, 0, 4}));
  EXPECT_EQ(Transformed(TransformPlan(l, MarginTransform::kLog1pExp, 1), Values{1}),
            (Values{std::log1p(std::exp(1.0))}));
  EXPECT_EQ(Transformed(TransformPlan(l, MarginTransform::kIdentity, 2, 1, 4), Values{8, -2}),
            (Values{2, -0.5}));
  EXPECT_EQ(Transformed(TransformPlan(l, MarginTransform::kExp, 1, 1, 2), Values{4}),
            (Values{std::exp(2.0)}));
}

TEST(ReferenceKernelTest, ShapeAndOptionalOutputs) {
  const std::vector<std::byte> image = SampleXgboostPlan();
  const auto kernel = ReferenceBackend().OpenPlan(image);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  const KernelShape& shape = (*kernel)->shape();
  EXPECT_EQ(shape.features, 3u);
  EXPECT_EQ(shape.groups, 2u);
  EXPECT_EQ(shape.objective, "multi:softprob");
  EXPECT_EQ(shape.feature_names, (std::vector<std::string>{"age", "visits", "plan"}));
  EXPECT_FALSE(shape.Accepts(DataType::kFp64));

  const float rows[] = {39, 0, 0, 40, 0, 33, 40, 0, 2};
  float margins[6] = {}, predictions[6] = {}, again[6] = {};
  std::vector<std::byte> scratch((*kernel)->ScratchBytes(3));
  KernelPiece piece = {.input = rows, .rows = 3, .margins = margins, .predictions = nullptr};
  KernelBatch batch = {.input_type = DataType::kFp32, .pieces = {&piece, 1}, .scratch = {}};
  ASSERT_TRUE((*kernel)->Run(batch).ok());
  EXPECT_EQ(margins[0], 1.0f);   // 0.5 + 0.5
  EXPECT_EQ(margins[2], 1.5f);   // category 33 goes right
  EXPECT_EQ(margins[4], 0.25f);  // category 2 goes left
  EXPECT_EQ(margins[1], 1.25f);
  piece.predictions = predictions;
  ASSERT_TRUE((*kernel)->Run(batch).ok());
  EXPECT_EQ(margins[0], 1.0f);
  piece.margins = nullptr;
  piece.predictions = again;
  batch.scratch = absl::MakeSpan(scratch);
  const uint64_t before = Allocations();
  ASSERT_TRUE((*kernel)->Run(batch).ok());
  EXPECT_EQ(Allocations(), before) << "Run() allocates nothing";
  for (int i = 0; i < 6; ++i) EXPECT_EQ(predictions[i], again[i]);
}

TEST(ReferenceKernelTest, RefusesWhatIsNoPlan) {
  const std::vector<std::byte> image(512);
  EXPECT_FALSE(ReferenceBackend().OpenPlan(image).ok());
}

}  // namespace
}  // namespace millrace
