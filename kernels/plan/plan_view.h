// The parts of a plan that was checked.
//
// Purpose: what a kernel reads a plan through, on the host or on the way to a device.
// Who may call: any thread; a PlanView is immutable and cheap to copy. It is plain C++, so that the
//   device plug-in and its tests build without the server's libraries.
// Ownership: refers to the image, which its owner keeps mapped and unchanged while it is used.
// Invariants of the image behind it (TreePlan::Open checks them, ImageBuilder makes them so):
//   1. Every index (child, leaf, column, edge, feature, group, word, linear, term, name) lies
//      inside what it points into.
//   2. A tree is one: every inner node but the first, and every leaf, is one node's child, and
//   inner
//      nodes lie behind their parents. So leaf_count is node_count + 1, and a walk ends.
//   3. Columns and edges of one feature stand side by side; edges rise and are not NaN.
#pragma once

#include <stdint.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "common/datatype.h"
#include "kernels/plan/format.h"

namespace millrace {

class PlanView {
 public:
  explicit PlanView(const void* image) : header_(static_cast<const PlanHeader*>(image)) {}

  const PlanHeader& header() const { return *header_; }
  TreeFamily family() const { return header_->family; }
  MarginTransform transform() const { return header_->transform; }
  double transform_parameter() const { return header_->transform_parameter; }
  uint32_t average_divisor() const { return header_->average_divisor; }
  uint32_t features() const { return header_->features; }
  uint32_t groups() const { return header_->groups; }
  uint32_t prediction_columns() const { return header_->prediction_columns; }
  bool vector_leaves() const { return header_->vector_leaves != 0; }
  uint32_t leaf_width() const { return vector_leaves() ? groups() : 1; }
  bool wide() const { return header_->sections[kWideNodes].count != 0; }

  size_t node_count() const { return nodes().size() + wide_nodes().size(); }  // one is empty
  size_t leaf_count() const { return (leaves32().size() + leaves64().size()) / leaf_width(); }

  // Margins, leaves and predictions are of one type: float for XGBoost, double for LightGBM.
  DataType margin_type() const {
    return family() == TreeFamily::kXgboost ? DataType::kFp32 : DataType::kFp64;
  }
  DataType prediction_type() const { return margin_type(); }
  // XGBoost compares in float, so it takes FP32 alone; LightGBM widens what it is given.
  bool AcceptsInput(DataType type) const {
    return type == DataType::kFp32 ||
           (type == DataType::kFp64 && family() == TreeFamily::kLightgbm);
  }

  std::string_view objective() const { return header_->objective; }
  bool has_feature_names() const { return header_->sections[kNameEnds].count != 0; }
  std::string_view feature_name(uint32_t feature) const;  // needs has_feature_names()

  std::span<const double> bases() const { return Get<double>(kBases); }
  std::span<const PlanTree> trees() const { return Get<PlanTree>(kTrees); }
  std::span<const PlanNode> nodes() const { return Get<PlanNode>(kNodes); }
  std::span<const PlanWideNode> wide_nodes() const { return Get<PlanWideNode>(kWideNodes); }
  std::span<const float> leaves32() const { return Get<float>(kLeaves32); }
  std::span<const double> leaves64() const { return Get<double>(kLeaves64); }
  std::span<const PlanFeature> used_features() const { return Get<PlanFeature>(kFeatures); }
  std::span<const PlanColumn> columns() const { return Get<PlanColumn>(kColumns); }
  std::span<const float> edges32() const { return Get<float>(kEdges32); }
  std::span<const double> edges64() const { return Get<double>(kEdges64); }
  std::span<const PlanWordRow> word_rows() const { return Get<PlanWordRow>(kWordRows); }
  std::span<const uint32_t> words() const { return Get<uint32_t>(kWords); }
  std::span<const PlanLinear> linears() const { return Get<PlanLinear>(kLinears); }
  std::span<const PlanTerm> terms() const { return Get<PlanTerm>(kTerms); }

  template <typename T>
  std::span<const T> Get(Section section) const {
    const PlanSection& s = header_->sections[section];
    const auto* start = reinterpret_cast<const std::byte*>(header_) + s.offset;
    return {reinterpret_cast<const T*>(start), static_cast<size_t>(s.count)};
  }

 private:
  const PlanHeader* header_;
};

// Nodes, leaves and edges by the type that a kernel is instantiated for.
template <typename Node>
std::span<const Node> NodesOf(const PlanView& plan) {
  if constexpr (sizeof(Node) == sizeof(PlanNode))
    return plan.nodes();
  else
    return plan.wide_nodes();
}
template <typename Real>
std::span<const Real> LeavesOf(const PlanView& plan) {
  if constexpr (sizeof(Real) == sizeof(float))
    return plan.leaves32();
  else
    return plan.leaves64();
}
template <typename Real>
std::span<const Real> EdgesOf(const PlanView& plan) {
  if constexpr (sizeof(Real) == sizeof(float))
    return plan.edges32();
  else
    return plan.edges64();
}

}  // namespace millrace
