#include "kernels/plan/sample_plans.h"

#include "common/check.h"
#include "kernels/plan/writer.h"

namespace millrace {
namespace {

DraftNode WithChildren(DraftNode node, uint32_t left, uint32_t right) {
  node.left = left;
  node.right = right;
  return node;
}

void AddTree(uint32_t group, const std::vector<DraftNode>& nodes, PlanWriter* writer) {
  const auto read = [&nodes](uint32_t i) -> absl::StatusOr<DraftNode> { return nodes[i]; };
  const absl::Status status =
      writer->AddTree(group, static_cast<uint32_t>(nodes.size()), {"tree", "left", "right"}, read);
  MR_CHECK(status.ok(), "samples are valid");
}

std::vector<std::byte> Finish(const PlanWriter& writer, const PlanTraits& traits) {
  auto image = writer.Finish(traits);
  MR_CHECK(image.ok(), "samples are valid");
  return *std::move(image);
}

std::vector<std::byte> LightgbmPlan() {
  PlanWriter writer;
  const uint32_t set = writer.AddSet({0x5u});
  AddTree(0,
          {WithChildren(DraftNumeric(1, 0.25, Missing::kZero, true), 1, 2),
           WithChildren(DraftCategorical(0, set, Missing::kNan, false), 3, 4), DraftLeaf(-1.5),
           DraftLeaf(2.25), DraftLeaf(0.125)},
          &writer);
  AddTree(
      0,
      {WithChildren(DraftNumeric(0, -3, Missing::kNone, false), 2, 1), DraftLeaf(7), DraftLeaf(8)},
      &writer);
  PlanTraits traits;
  traits.family = TreeFamily::kLightgbm;
  traits.transform = MarginTransform::kSigmoid;
  traits.transform_parameter = 0.5;
  traits.average_divisor = 2;
  traits.features = 2;
  traits.objective = "binary sigmoid:0.5";
  traits.bases = {0};
  return Finish(writer, traits);
}

std::vector<std::byte> LinearPlan() {
  PlanWriter writer;
  const PlanTerm terms[] = {{.coefficient = 2, .feature = 1, .reserved = 0},
                            {.coefficient = -1, .feature = 0, .reserved = 0}};
  const uint32_t with_terms = writer.AddLinear(0.5, 9, terms);
  const uint32_t constant = writer.AddLinear(3, 4, {});
  AddTree(0,
          {WithChildren(DraftNumeric(0, 1, Missing::kNan, true), 1, 2),
           DraftIndexLeaf(NodeKind::kLinearLeaf, with_terms),
           DraftIndexLeaf(NodeKind::kLinearLeaf, constant)},
          &writer);
  PlanTraits traits;
  traits.family = TreeFamily::kLightgbm;
  traits.features = 2;
  traits.objective = "regression";
  traits.bases = {0};
  return Finish(writer, traits);
}

std::vector<std::byte> VectorPlan() {
  PlanWriter writer;
  const uint64_t a = writer.AddVector({1, 2, 3});
  const uint64_t b = writer.AddVector({-1, -2, -3});
  AddTree(0,
          {WithChildren(DraftNumeric(0, 0, Missing::kNan, false), 1, 2),
           DraftIndexLeaf(NodeKind::kLeaf, a), DraftIndexLeaf(NodeKind::kLeaf, b)},
          &writer);
  PlanTraits traits;
  traits.features = 1;
  traits.vector_leaves = true;
  traits.objective = "reg:squarederror";
  traits.bases = {10, 20, 30};
  return Finish(writer, traits);
}

std::vector<std::byte> EmptyPlan() {
  PlanTraits traits;
  traits.transform = MarginTransform::kArgmax;
  traits.features = 1;
  traits.bases = {1, 3, 2};
  return Finish(PlanWriter(), traits);
}

}  // namespace

std::vector<std::byte> SampleXgboostPlan() {
  PlanWriter writer;
  const uint32_t set = writer.AddSet({1u << 1, 1u << 1});
  AddTree(0,
          {WithChildren(DraftNumeric(0, 40, Missing::kNan, true), 1, 2), DraftLeaf(0.5),
           WithChildren(DraftCategorical(2, set, Missing::kNan, false), 3, 4), DraftLeaf(-0.25),
           DraftLeaf(1)},
          &writer);
  AddTree(1, {DraftLeaf(0.75)}, &writer);
  PlanTraits traits;
  traits.family = TreeFamily::kXgboost;
  traits.transform = MarginTransform::kSoftmax;
  traits.features = 3;
  traits.objective = "multi:softprob";
  traits.bases = {0.5, 0.5};
  traits.feature_names = {"age", "visits", "plan"};
  return Finish(writer, traits);
}

std::vector<SamplePlan> SamplePlans() {
  return {{"xgboost", SampleXgboostPlan()},
          {"lightgbm", LightgbmPlan()},
          {"linear", LinearPlan()},
          {"vector", VectorPlan()},
          {"empty", EmptyPlan()}};
}

}  // namespace millrace
