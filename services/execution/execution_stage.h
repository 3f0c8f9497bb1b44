// The execution stage: tensors through a model's plan.
//
// Purpose: the work of the execution process; the arithmetic is in kernels/.
// Who may call: RunWorker. Input: a pack with the model's tensor, name 0, [rows, features]; output:
//   a pack with PREDICTION and, where asked for, MARGIN, named by OutputKind.
// Invariants:
//   1. Items of one plan are taken together, earliest deadline first, up to max_batch_rows; a row's
//      result does not depend on what else was taken.
//   2. An item flagged alone is executed alone.
// What fails: Prepare for a plan that does not check; a request, with a sentence.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <memory>
#include <vector>

#include "ipc/tensor_pack.h"
#include "kernels/kernel.h"
#include "services/runtime/route_table.h"
#include "services/runtime/worker_process.h"

namespace millrace {

class ExecutionStage : public WorkerStage {
 public:
  explicit ExecutionStage(const KernelBackend* backend) : backend_(backend) {}

  absl::StatusOr<std::function<void()>> Prepare(CatalogWithPlans catalog) override;
  size_t Work(Worker& worker) override;
  void Start(Worker& worker, const Config& config) override;

 private:
  struct Plan {
    boost::interprocess::mapped_region image;
    std::unique_ptr<Kernel> kernel;
    double ns_per_row = 0;  // moving average
    std::vector<std::byte> scratch;
  };

  absl::StatusOr<std::shared_ptr<Plan>> Open(const Model& model, const Fd& image) const;
  void TakeBatch(Worker& worker);
  void Answer(Worker& worker, const WorkItem& item);
  absl::Status Execute(Worker& worker, const WorkItem& item, Plan* plan, BlockRef* block);

  const KernelBackend* backend_;
  size_t max_batch_rows_ = 0;
  RouteTable<Plan> plans_;
  std::vector<WorkItem> batch_;  // scratch
};

}  // namespace millrace
