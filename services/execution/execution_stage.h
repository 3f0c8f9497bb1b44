// The execution stage: tensors through a model's plan.
//
// Purpose: the path of requests in the execution process; the arithmetic is in kernels/, everything
//   off this path in plan_shelf.h.
// Who may call: RunWorker. Input: a pack with the model's tensor, name 0, [rows, features]; output:
//   a pack with PREDICTION and, where asked for, MARGIN, named by OutputKind.
// Invariants:
//   1. Items of one plan are run together as one batch, earliest deadline first, up to
//      max_batch_rows; one with more rows runs by itself. Where there is no device a batch ends at
//      5 ms of predicted time: a CPU gains nothing by longer ones, and its answers come together.
//      None is made so long that one in it would miss its deadline for the others' sake; what
//      cannot be in time by itself is refused. A row's result does not depend on what
//      else was taken, and an item that is wrong gets its own answer and harms no other.
//   2. An item flagged alone was being executed when a worker died: it is run by itself, and on the
//      CPU, so that what a device died of does not take it along twice.
//   3. Work allocates nothing, but to tell of errors.
//   4. A lost device ends the process before anything of its batch is answered.
// What fails: Prepare for a plan that does not check; a request, with a sentence.
#pragma once

#include <vector>

#include "ipc/tensor_pack.h"
#include "kernels/kernel.h"
#include "services/execution/plan_shelf.h"
#include "services/runtime/route_table.h"
#include "services/runtime/worker_process.h"

namespace millrace {

class ExecutionStage : public WorkerStage {
 public:
  explicit ExecutionStage(const KernelBackend* cpu) : shelf_(cpu) {}

  absl::Status Start(Setup setup) override;
  void OnPeerMapped(PeerLane* peer) override { shelf_.Register(peer); }
  absl::StatusOr<std::function<void()>> Prepare(CatalogWithPlans catalog) override;
  void Settled(uint64_t generation) override;
  size_t Work(Worker& worker) override;

 private:
  struct Part {
    WorkItem item;
    absl::Status status;
    BlockRef block;
  };

  void TakeBatch(Worker& worker);
  // False: it does not fit into this batch, and is not taken.
  bool Add(Worker& worker, Part* part);
  // The part's piece of the batch, or why there is none; `fits` is false where it does not fit.
  absl::Status AddPiece(Worker& worker, Part* part, bool* fits);
  absl::Status AddOutputs(Worker& worker, Part* part, KernelPiece* piece);
  // Whether a piece of so many rows may come to the batch.
  bool Fits(const WorkItem& item, DataType type, size_t rows) const;
  int64_t PredictedNs(size_t rows) const {
    return static_cast<int64_t>(plan_->ns_per_row * static_cast<double>(rows));
  }
  void Run(Worker& worker);
  void Learn(double ns_per_row);
  void CountBatch(Worker& worker, int64_t begin_ns, int64_t run_ns);
  void Trace(Worker& worker, const DispatchTally& tally, int64_t begin_ns, int64_t run_ns);

  PlanShelf shelf_;
  RouteTable<Plan> plans_;
  Lane* lane_ = nullptr;
  // The batch in hand; its memory is reserved at the start.
  Plan* plan_ = nullptr;
  DataType type_ = DataType::kInvalid;
  size_t rows_ = 0;
  uint32_t batch_ = 0;  // its number
  bool alone_ = false;
  int64_t begin_ns_ = 0;     // when it was begun to be put together
  int64_t earliest_ns_ = 0;  // deadline of its pieces
  std::vector<Part> parts_;
  std::vector<KernelPiece> pieces_;
};

}  // namespace millrace
