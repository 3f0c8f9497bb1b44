// The aggregation stage: parts joined, labels and top-k made, ensembles combined.
//
// Purpose: the work of the aggregation process; the arithmetic is in services/aggregation/combine.
// Who may call: RunWorker. Input: one pack for each member, tensors named by OutputKind; output: a
//   pack with the outputs that the ledger entry asks for, named by OutputKind.
// Invariants: 1. parts are joined by (origin, id without member, attempt); an error of any member
// is
//   the answer of all. 2. Parts of attempts that the ledger has moved past are swept.
// What fails: a request, with a sentence; it goes on to ingress.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "ipc/tensor_pack.h"
#include "services/aggregation/combine/classify.h"
#include "services/aggregation/combine/ensemble.h"
#include "services/aggregation/combine/join_table.h"
#include "services/runtime/route_table.h"
#include "services/runtime/worker_process.h"

namespace millrace {

class AggregationStage : public WorkerStage {
 public:
  AggregationStage();

  absl::StatusOr<std::function<void()>> Prepare(CatalogWithPlans catalog) override;
  size_t Work(Worker& worker) override;
  absl::Status Start(Setup) override { return absl::OkStatus(); }
  bool Idle() const override { return parts_.size() == 0; }

 private:
  struct Recipe {
    std::optional<CompiledEnsemble> ensemble;  // none: a plain model's one part
    DataType result = DataType::kFp64;         // of the ensemble's prediction
    std::map<OutputKind, CompiledOutput> outputs;
  };

  static absl::StatusOr<Recipe> MakeRecipe(const Model& model);
  void Join(Worker& worker, const WorkItem& item);
  void Answer(Worker& worker, absl::Span<const WorkItem> parts);
  absl::Status Combine(Worker& worker, absl::Span<const WorkItem> parts, BlockRef* block);
  // The ensemble's prediction, in scratch_.
  absl::Status CombineMembers(const Recipe& recipe, absl::Span<const PackView> packs,
                              Matrix* prediction);
  absl::Status Write(Worker& worker, const WorkItem& item, const Recipe& recipe,
                     const Matrix& prediction, const PackView& first, BlockRef* block);
  void Sweep(Worker& worker);

  RouteTable<const Recipe> recipes_;
  JoinTable<WorkItem> parts_;
  std::vector<PackView> packs_;  // scratch
  std::vector<std::byte> scratch_;
  int64_t next_sweep_ns_ = 0;
};

}  // namespace millrace
