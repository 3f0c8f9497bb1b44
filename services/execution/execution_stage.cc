#include "services/execution/execution_stage.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>

#include "common/clock.h"
#include "services/execution/batch_trace.h"

namespace millrace {
namespace {

constexpr double kAverageWeight = 0.125;
// One stall is no reason to take a model for slow.
constexpr double kMostSurprise = 2;
// On a CPU, where each row costs the same: how long others may have to wait for the batch's end.
constexpr int64_t kCpuBatchNs = 5 * kNanosPerMilli;

// What the lane does at a time; after it what is let go is freed by the lane.
constexpr std::chrono::seconds kLongestTurn(1);

// The place of the tensor that the plan takes, checked against its shape.
absl::Status FindTensor(const PackView& pack, const KernelShape& shape, size_t* at) {
  *at = pack.Find(0);
  if (*at == pack.count()) return absl::InternalError("a request without a tensor");
  const PackTensor tensor = pack.tensor(*at);
  if (!shape.Accepts(tensor.datatype) || tensor.columns != shape.features) {
    return absl::InternalError("a tensor that is not the model's");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ExecutionStage::Start(Setup setup) {
  parts_.reserve(kMaxExecuting);
  pieces_.reserve(kMaxExecuting);
  lane_ = &setup.worker.lane();
  return shelf_.Start(setup.config, setup.without_device, std::move(setup.tell));
}

absl::StatusOr<std::function<void()>> ExecutionStage::Prepare(CatalogWithPlans catalog) {
  absl::StatusOr<PlanShelf::Routes> routes = shelf_.Take(catalog);
  if (!routes.ok()) return routes.status();
  return [this, routes = std::move(*routes)] { plans_.Use(routes); };
}

// The lane only lets go; what nobody holds any more is freed here.
void ExecutionStage::Settled(uint64_t generation) {
  auto before = std::make_shared<std::promise<PlanShelf::Routes>>();
  std::future<PlanShelf::Routes> gone = before->get_future();
  lane_->Post([this, before] { before->set_value(plans_.TakeBefore()); });
  PlanShelf::Routes routes;
  if (gone.wait_for(kLongestTurn) == std::future_status::ready) routes = gone.get();
  shelf_.KeepOnly(generation);
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
  begin_ns_ = MonotonicNanos();
  earliest_ns_ = INT64_MAX;
  while (parts_.size() < kMaxExecuting) {
    const bool first = parts_.empty();
    // Into its place at once: an inline input lies in the item itself.
    Part& part = parts_.emplace_back();
    const bool taken = worker.PopInto(
        [&](const WorkItem& top) {
          return first || (top.message.route == parts_[0].item.message.route &&
                           (top.message.flags & kFlagAlone) == 0);
        },
        begin_ns_, &part.item);
    if (!taken) return parts_.pop_back();
    if (first) {
      plan_ = plans_.Find(part.item.message.route);
      alone_ = (part.item.message.flags & kFlagAlone) != 0;
    }
    worker.AlsoExecuting(part.item);
    if (!Add(worker, &part)) {
      worker.NotExecuting();
      worker.PutBack(part.item);
      return parts_.pop_back();
    }
    if (alone_) return;
  }
}

bool ExecutionStage::Add(Worker& worker, Part* part) {
  bool fits = true;
  if (part->item.message.kind == MessageKind::kError) {
    part->status = worker.ErrorOf(part->item);
  } else if (plan_ == nullptr) {
    part->status = absl::UnavailableError("the model is not loaded here");
  } else {
    part->status = AddPiece(worker, part, &fits);
  }
  return fits;
}

absl::Status ExecutionStage::AddPiece(Worker& worker, Part* part, bool* fits) {
  auto input = worker.Input(part->item);
  if (!input.has_value()) return absl::InternalError("the input cannot be read");
  PackView pack;
  if (absl::Status opened = PackView::OpenInto(*input, &pack); !opened.ok()) return opened;
  size_t at;
  if (absl::Status s = FindTensor(pack, plan_->kernel->shape(), &at); !s.ok()) return s;
  const PackTensor tensor = pack.tensor(at);
  const size_t rows = pack.rows();
  if (rows > plan_->request_rows) {
    return absl::InvalidArgumentError("more rows than the model takes");
  }
  const int64_t deadline_ns = part->item.message.deadline_ns;
  *fits = Fits(part->item, tensor.datatype, rows);
  if (!*fits) return absl::OkStatus();
  if (pieces_.empty() && begin_ns_ + PredictedNs(rows) > deadline_ns) {
    // Each refusal makes the prediction smaller: soon one is run, and measured.
    plan_->ns_per_row -= kAverageWeight * plan_->ns_per_row;
    worker.page().Add(Counter::kExpired);
    return absl::DeadlineExceededError("the deadline is nearer than the model is fast");
  }
  // In its place, not by a copy (ipc/copy_pieces.h).
  KernelPiece& piece = pieces_.emplace_back();
  piece.input = tensor.data.data();
  piece.rows = rows;
  if (absl::Status status = AddOutputs(worker, part, &piece); !status.ok()) {
    pieces_.pop_back();
    return status;
  }
  type_ = tensor.datatype;
  rows_ += rows;
  earliest_ns_ = std::min(earliest_ns_, deadline_ns);
  return absl::OkStatus();
}

bool ExecutionStage::Fits(const WorkItem& item, DataType type, size_t rows) const {
  if (pieces_.empty()) return true;
  // One input type a batch.
  if (type != type_ || rows_ + rows > plan_->batch_rows) return false;
  const int64_t takes_ns = PredictedNs(rows_ + rows);
  if (takes_ns > kCpuBatchNs && !plan_->kernel->has_device()) return false;
  return begin_ns_ + takes_ns <= std::min(earliest_ns_, item.message.deadline_ns);
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
  MaybeBlock block = worker.Allocate(part->item, out.bytes());
  if (!block.has_value()) return absl::ResourceExhaustedError("the answer is over the size limit");
  part->block = *block;
  out.Place(worker.At(*block));
  piece->predictions = prediction ? out.Data(0) : nullptr;
  piece->margins = margin ? out.Data(prediction ? 1 : 0) : nullptr;
  return absl::OkStatus();
}

void ExecutionStage::Learn(double ns_per_row) {
  double& known = plan_->ns_per_row;
  if (known == 0) {
    known = ns_per_row;
  } else {
    known += kAverageWeight * (std::min(ns_per_row, kMostSurprise * known) - known);
  }
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

void ExecutionStage::Trace(Worker& worker, const DispatchTally& tally, int64_t begin_ns,
                           int64_t run_ns) {
  CountCopies(tally, &worker.StatsOf(parts_[0].item));
  if (++batch_ == 0) batch_ = 1;
  for (Part& part : parts_) {
    if (!part.status.ok()) continue;
    part.item.batch = batch_;
    part.item.batch_rows = static_cast<uint32_t>(rows_);
  }
  TraceBatch(
      worker.lane().traces(),
      {batch_, parts_[0].item.message.route, rows_, pieces_.size(), begin_ns, begin_ns + run_ns},
      tally);
}

void ExecutionStage::Run(Worker& worker) {
  worker.Predict(PredictedNs(rows_));
  const KernelBatch batch = {type_, pieces_, plan_->scratch};
  DispatchTally tally;
  const int64_t begin_ns = MonotonicNanos();
  for (const Part& part : parts_) worker.Befall(part.item);
  const absl::Status run =
      alone_ ? plan_->kernel->RunOnCpu(batch) : plan_->kernel->Run(batch, &tally);
  // A CPU always runs a batch.
  if (!run.ok()) EndLostDevice(run);
  const int64_t run_ns = MonotonicNanos() - begin_ns;
  Learn(static_cast<double>(run_ns) / static_cast<double>(std::max(rows_, size_t{1})));
  CountBatch(worker, begin_ns, run_ns);
  Trace(worker, tally, begin_ns, run_ns);
  Page& page = worker.page();
  page.Add(Counter::kRows, rows_);
  if (tally.device_batches == 0) return;
  page.Add(Counter::kDeviceBatches, tally.device_batches);
  page.Add(Counter::kDeviceHalved, tally.halved);
  page.Add(Counter::kDeviceFellBack, tally.fell_back);
}

}  // namespace millrace
