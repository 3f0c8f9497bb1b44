#include "services/execution/execution_stage.h"

#include <algorithm>

#include "common/clock.h"

namespace millrace {
namespace {

constexpr double kAverageWeight = 0.125;

// The tensor that the plan takes, checked against its shape.
absl::StatusOr<PackTensor> TakeTensor(const PackView& pack, const KernelShape& shape) {
  const size_t at = pack.Find(0);
  if (at == pack.count()) return absl::InternalError("a request without a tensor");
  const PackTensor tensor = pack.tensor(at);
  if (!shape.Accepts(tensor.datatype) || tensor.columns != shape.features) {
    return absl::InternalError("a tensor that is not the model's");
  }
  return tensor;
}

}  // namespace

absl::Status ExecutionStage::Start(Setup setup) {
  parts_.reserve(kMaxExecuting);
  pieces_.reserve(kMaxExecuting);
  return shelf_.Start(setup.config, setup.without_device, std::move(setup.tell));
}

absl::StatusOr<std::function<void()>> ExecutionStage::Prepare(CatalogWithPlans catalog) {
  absl::StatusOr<PlanShelf::Routes> routes = shelf_.Take(catalog);
  if (!routes.ok()) return routes.status();
  return [this, routes = std::move(*routes)] { plans_.Use(routes); };
}

size_t ExecutionStage::Work(Worker& worker) {
  TakeBatch(worker);
  if (parts_.empty()) return 0;
  if (!pieces_.empty()) Run(worker);
  // One of them stands for the batch in the statistics.
  const auto first =
      std::find_if(parts_.begin(), parts_.end(), [](const Part& part) { return part.status.ok(); });
  if (first != parts_.end()) first->item.times.batch_rows = rows_;
  for (const Part& part : parts_) {
    const WorkItem& item = part.item;
    const bool join = item.entry.aggregation != 0;
    const Hop hop = {join ? item.entry.aggregation : item.message.origin, item.id.member,
                     item.message.route};
    worker.Reply(item, {&hop, 1}, part.status, part.block);
  }
  worker.Done();
  worker.page().Add(Counter::kBatches);
  return parts_.size();
}

void ExecutionStage::TakeBatch(Worker& worker) {
  parts_.clear();
  pieces_.clear();
  rows_ = 0;
  while (parts_.size() < kMaxExecuting) {
    std::optional<WorkItem> item = worker.PopIf([this](const WorkItem& top) {
      return parts_.empty() || (top.message.route == parts_[0].item.message.route &&
                                (top.message.flags & kFlagAlone) == 0);
    });
    if (!item.has_value()) return;
    if (parts_.empty()) {
      plan_ = plans_.Find(item->message.route);
      alone_ = (item->message.flags & kFlagAlone) != 0;
    }
    worker.AlsoExecuting(*item);
    if (!Add(worker, *item)) {
      worker.NotExecuting();
      worker.PutBack(*item);
      return;
    }
    if (alone_) return;
  }
}

bool ExecutionStage::Add(Worker& worker, const WorkItem& item) {
  // First into its place: an inline input lies in the item itself.
  Part& part = parts_.emplace_back(Part{item, absl::OkStatus(), BlockRef{}});
  bool fits = true;
  if (item.message.kind == MessageKind::kError) {
    part.status = worker.ErrorOf(part.item);
  } else if (plan_ == nullptr) {
    part.status = absl::UnavailableError("the model is not loaded here");
  } else {
    part.status = AddPiece(worker, &part, &fits);
  }
  if (!fits) parts_.pop_back();
  return fits;
}

absl::Status ExecutionStage::AddPiece(Worker& worker, Part* part, bool* fits) {
  auto input = worker.Input(part->item);
  if (!input.has_value()) return absl::InternalError("the input cannot be read");
  PackView pack;
  if (absl::Status opened = PackView::OpenInto(*input, &pack); !opened.ok()) return opened;
  absl::StatusOr<PackTensor> tensor = TakeTensor(pack, plan_->kernel->shape());
  if (!tensor.ok()) return tensor.status();
  KernelPiece piece = {tensor->data.data(), pack.rows(), nullptr, nullptr};
  if (piece.rows > plan_->request_rows) {
    return absl::InvalidArgumentError("more rows than the model takes");
  }
  // One input type a batch.
  *fits = pieces_.empty() || (tensor->datatype == type_ && rows_ + piece.rows <= plan_->batch_rows);
  if (!*fits) return absl::OkStatus();
  if (absl::Status status = AddOutputs(worker, part, &piece); !status.ok()) return status;
  type_ = tensor->datatype;
  rows_ += piece.rows;
  pieces_.push_back(piece);
  return absl::OkStatus();
}

absl::Status ExecutionStage::AddOutputs(Worker& worker, Part* part, KernelPiece* piece) {
  const KernelShape& shape = plan_->kernel->shape();
  const LedgerEntry& entry = part->item.entry;
  const bool margin = (entry.outputs & 1u << MARGIN) != 0;
  const bool prediction = (entry.outputs & 1u << PREDICTION) != 0 || entry.aggregation;
  PackWriter out(static_cast<uint32_t>(piece->rows));
  if (prediction) {
    out.Add(PREDICTION, shape.prediction_type, shape.prediction_columns,
            piece->rows * shape.prediction_columns * DataTypeSize(shape.prediction_type));
  }
  if (margin) {
    out.Add(MARGIN, shape.margin_type, shape.groups,
            piece->rows * shape.groups * DataTypeSize(shape.margin_type));
  }
  std::optional<BlockRef> block = worker.Allocate(part->item, out.bytes());
  if (!block.has_value()) return absl::ResourceExhaustedError("the answer is over the size limit");
  part->block = *block;
  out.Place(worker.At(*block));
  piece->predictions = prediction ? out.Data(0) : nullptr;
  piece->margins = margin ? out.Data(prediction ? 1 : 0) : nullptr;
  return absl::OkStatus();
}

void ExecutionStage::CountBatch(Worker& worker, int64_t begin_ns, int64_t run_ns) {
  ModelStatsWords& stats = worker.StatsOf(parts_[0].item);
  for (const Part& part : parts_) {
    stats.Observe(StatsTime::kBatchWait,
                  static_cast<uint64_t>(std::max<int64_t>(begin_ns - part.item.taken_ns, 0)));
  }
  stats.Observe(StatsTime::kWork, static_cast<uint64_t>(run_ns));
  stats.ObserveBatch(rows_);
  stats.Add(StatsSum::kRows, rows_);
  stats.Add(StatsSum::kExecutions, 1);
}

void ExecutionStage::Run(Worker& worker) {
  worker.Predict(static_cast<int64_t>(plan_->ns_per_row * static_cast<double>(rows_)));
  const KernelBatch batch = {type_, pieces_, plan_->scratch};
  DispatchTally tally;
  const int64_t begin_ns = MonotonicNanos();
  for (const Part& part : parts_) worker.Befall(part.item);
  const absl::Status run =
      alone_ ? plan_->kernel->RunOnCpu(batch) : plan_->kernel->Run(batch, &tally);
  // A CPU always runs a batch.
  if (!run.ok()) EndLostDevice(run);
  const int64_t run_ns = MonotonicNanos() - begin_ns;
  const double per_row =
      static_cast<double>(run_ns) / static_cast<double>(std::max(rows_, size_t{1}));
  plan_->ns_per_row += kAverageWeight * (per_row - plan_->ns_per_row);
  CountBatch(worker, begin_ns, run_ns);
  Page& page = worker.page();
  page.Add(Counter::kRows, rows_);
  if (tally.device_batches == 0) return;
  page.Add(Counter::kDeviceBatches, tally.device_batches);
  page.Add(Counter::kDeviceHalved, tally.halved);
  page.Add(Counter::kDeviceFellBack, tally.fell_back);
}

}  // namespace millrace
