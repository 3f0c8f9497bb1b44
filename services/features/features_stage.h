// The features stage: named raw columns in, the model's tensor out.
//
// Purpose: the work of the features process; the arithmetic is in services/features/view.
// Who may call: RunWorker. Input: a pack whose tensors are named by their place among the view's
//   columns; output: a pack with one FP32 tensor, name 0, [rows, width], for every member alike.
// What fails: a request, with INVALID_ARGUMENT and the column's name; it goes on downstream.
#pragma once

#include <vector>

#include "services/features/view/compiled_view.h"
#include "services/runtime/route_table.h"
#include "services/runtime/worker_process.h"

namespace millrace {

class FeaturesStage : public WorkerStage {
 public:
  absl::StatusOr<std::function<void()>> Prepare(CatalogWithPlans catalog) override;
  size_t Work(Worker& worker) override;
  absl::Status Start(Setup) override { return absl::OkStatus(); }

 private:
  struct View {
    CompiledView view;
    std::vector<uint16_t> member_routes;  // of the plans that take the tensor
  };

  absl::Status Apply(Worker& worker, const WorkItem& item, const View& view, BlockRef* block);
  void Answer(Worker& worker, const WorkItem& item);

  RouteTable<const View> views_;
};

}  // namespace millrace
