// A tree plan that was checked and can be run.
//
// Purpose: the only door to a plan's bytes. Open() takes an untrusted image and checks all of it;
//   what it returns may be evaluated with no further checks.
// Who may call: any thread; a TreePlan is immutable and cheap to copy.
// Ownership: a TreePlan refers to the image, which its owner keeps mapped, readable and unchanged
//   for as long as the TreePlan or a copy of it is used.
// Invariants of a TreePlan that Open() returned:
//   1. Every index in the image (child, feature, group, set, word, vector, linear, term, name)
//      lies inside what it points into.
//   2. A child lies behind its parent in its tree, so that a walk takes at most node_count steps.
//   3. A numeric threshold is not NaN. Leaf values may be anything: they cannot lead out of bounds.
// Fails: Open() with InvalidArgument and a sentence that names the part of the image.
#pragma once

#include <stdint.h>

#include <cstddef>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/plan/format.h"

namespace millrace {

class TreePlan {
 public:
  // `image` must be aligned to 8 bytes. Allocates only to describe a fault. Takes time in
  // proportion to the image.
  static absl::StatusOr<TreePlan> Open(absl::Span<const std::byte> image);

  TreeFamily family() const { return header_->family; }
  Transform transform() const { return header_->transform; }
  double transform_parameter() const { return header_->transform_parameter; }
  uint32_t average_divisor() const { return header_->average_divisor; }
  uint32_t features() const { return header_->features; }
  uint32_t groups() const { return header_->groups; }
  uint32_t prediction_columns() const { return header_->prediction_columns; }
  bool vector_leaves() const { return header_->vector_leaves != 0; }

  // Margins and predictions are of one type: float for XGBoost, double for LightGBM.
  DataType margin_type() const {
    return family() == TreeFamily::kXgboost ? DataType::kFp32 : DataType::kFp64;
  }
  DataType prediction_type() const { return margin_type(); }
  // XGBoost compares in float, so it takes FP32 alone; LightGBM widens what it is given.
  bool AcceptsInput(DataType type) const {
    return type == DataType::kFp32 ||
           (type == DataType::kFp64 && family() == TreeFamily::kLightgbm);
  }

  std::string_view objective() const;
  bool has_feature_names() const { return header_->sections[kNameEnds].count != 0; }
  std::string_view feature_name(uint32_t feature) const;  // needs has_feature_names()

  absl::Span<const double> bases() const { return Get<double>(kBases); }
  absl::Span<const PlanTree> trees() const { return Get<PlanTree>(kTrees); }
  absl::Span<const PlanNode> nodes() const { return Get<PlanNode>(kNodes); }
  absl::Span<const double> vectors() const { return Get<double>(kVectors); }
  absl::Span<const PlanSet> sets() const { return Get<PlanSet>(kSets); }
  absl::Span<const uint32_t> words() const { return Get<uint32_t>(kWords); }
  absl::Span<const PlanLinear> linears() const { return Get<PlanLinear>(kLinears); }
  absl::Span<const PlanTerm> terms() const { return Get<PlanTerm>(kTerms); }

 private:
  explicit TreePlan(const PlanHeader* header) : header_(header) {}

  template <typename T>
  absl::Span<const T> Get(Section section) const {
    const PlanSection& s = header_->sections[section];
    const auto* start = reinterpret_cast<const std::byte*>(header_) + s.offset;
    return {reinterpret_cast<const T*>(start), static_cast<size_t>(s.count)};
  }

  absl::Status CheckTrees() const;
  absl::Status CheckNode(uint32_t tree, uint32_t node) const;
  absl::Status CheckTables() const;
  absl::Status CheckNames() const;

  const PlanHeader* header_;
};

}  // namespace millrace
