// Derives the tables of the CPU kernels from a plan.
//
// Purpose: the small part of a plan that the CPU wants in another form: edges in sixteens, shallow
//   trees as complete ones. Plain C++.
// Who may call: any thread, when a plan is opened; tables() may then be read by all.
// Ownership: refers to the plan's image, which stays mapped and unchanged; owns what it derives:
//   about as much as the edges, and at most 1.7 KiB a tree, only for trees of up to 64 leaves.
// Fails: nothing; the plan was checked.
#pragma once

#include <stddef.h>

#include <vector>

#include "kernels/cpu/tables.h"
#include "kernels/plan/plan_view.h"

namespace millrace::cpu {

class PreparedForest {
 public:
  explicit PreparedForest(const PlanView& plan);
  PreparedForest(const PreparedForest&) = delete;
  PreparedForest& operator=(const PreparedForest&) = delete;

  const ForestTables& tables() const { return tables_; }
  // Held by it, beside the plan's image.
  size_t bytes() const;

 private:
  struct alignas(64) Sixteen {
    float edges[kEdgeBlock];
  };
  struct alignas(64) Sixteen64 {
    double edges[kEdgeBlock];
  };
  struct alignas(64) Line {
    uint8_t bytes[64];
  };

  void PrepareFeatures(const PlanView& plan);
  void PrepareColumnGroups(const PlanView& plan);
  void PrepareMasks(const PlanView& plan);
  void PrepareCompleteTrees(const PlanView& plan);
  void PrepareKills(const PlanView& plan);
  template <typename Real>
  void PrepareLeaves(const PlanView& plan);
  void ChooseEngines(const PlanView& plan);

  std::vector<FeatureTable> used_;
  std::vector<Sixteen> edges32_;
  std::vector<Sixteen64> edges64_;
  std::vector<ColumnGroup> groups_;
  std::vector<MaskTree> masks_;
  std::vector<Line> kills_;  // eight trees' kills of one node in each
  std::vector<uint8_t> kill_nodes_;
  std::vector<Line> slot_leaves_, leaf_planes_;
  ForestTables tables_ = {};
};

}  // namespace millrace::cpu
