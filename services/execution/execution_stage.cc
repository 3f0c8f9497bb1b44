#include "services/execution/execution_stage.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "ipc/memfd.h"

namespace millrace {
namespace {

constexpr size_t kMaxPlanBytes = size_t{4} << 30;
constexpr size_t kScratchAlign = 64;
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

void ExecutionStage::Start(Worker&, const Config& config) {
  max_batch_rows_ = config.max_batch_rows;
  batch_.reserve(kMaxExecuting);
}

absl::StatusOr<std::shared_ptr<ExecutionStage::Plan>> ExecutionStage::Open(const Model& model,
                                                                           const Fd& image) const {
  auto map = MapImmutable(image.get(), kMaxPlanBytes);
  if (!map.ok()) return map.status();
  auto plan = std::make_shared<Plan>();
  plan->image = std::move(*map);
  absl::StatusOr<std::unique_ptr<Kernel>> kernel = backend_->OpenPlan(
      {static_cast<const std::byte*>(plan->image.get_address()), plan->image.get_size()});
  if (!kernel.ok()) return kernel.status();
  plan->kernel = std::move(*kernel);
  plan->scratch.resize(plan->kernel->ScratchBytes(model.max_rows()) + kScratchAlign);
  return plan;
}

absl::StatusOr<std::function<void()>> ExecutionStage::Prepare(CatalogWithPlans catalog) {
  RouteTable<Plan>::Routes routes;
  for (const Model& model : catalog.catalog->models()) {
    if (model.members_size() > 0) continue;
    auto image = catalog.plans.find(model.route());
    if (image == catalog.plans.end()) {
      return absl::InvalidArgumentError(absl::StrCat("model '", model.name(), "' has no plan"));
    }
    absl::StatusOr<std::shared_ptr<Plan>> plan = Open(model, image->second);
    if (!plan.ok()) {
      return absl::Status(plan.status().code(),
                          absl::StrCat("model '", model.name(), "': ", plan.status().message()));
    }
    routes.emplace(model.route(), std::move(*plan));
  }
  return [this, routes = std::move(routes)] { plans_.Use(routes); };
}

void ExecutionStage::TakeBatch(Worker& worker) {
  batch_.clear();
  std::optional<WorkItem> first = worker.Pop();
  if (!first.has_value()) return;
  batch_.push_back(*first);
  const uint16_t route = first->message.route;
  // Rows are not known before the pack is opened: the bytes of a request bound them.
  size_t items = std::min(kMaxExecuting, std::max<size_t>(max_batch_rows_, 1));
  if (first->message.flags & kFlagAlone) items = 1;
  while (batch_.size() < items) {
    std::optional<WorkItem> next = worker.PopIf([&](const WorkItem& item) {
      return item.message.route == route && (item.message.flags & kFlagAlone) == 0;
    });
    if (!next.has_value()) break;
    batch_.push_back(*next);
  }
}

size_t ExecutionStage::Work(Worker& worker) {
  TakeBatch(worker);
  if (batch_.empty()) return 0;
  const Plan* plan = plans_.Find(batch_[0].message.route);
  const double per_row = plan == nullptr ? 0 : plan->ns_per_row;
  worker.Executing(batch_, static_cast<int64_t>(per_row * static_cast<double>(max_batch_rows_)));
  for (const WorkItem& item : batch_) Answer(worker, item);
  worker.Done();
  worker.page().Add(Counter::kBatches);
  return batch_.size();
}

void ExecutionStage::Answer(Worker& worker, const WorkItem& item) {
  BlockRef block;
  absl::Status status;
  if (item.message.kind == MessageKind::kError) {
    status = worker.ErrorOf(item);
  } else if (Plan* plan = plans_.Find(item.message.route); plan != nullptr) {
    status = Execute(worker, item, plan, &block);
  } else {
    status = absl::UnavailableError("the model is not loaded here");
  }
  const bool join = item.entry.aggregation != 0;
  const Hop hop = {join ? item.entry.aggregation : item.message.origin, item.id.member,
                   item.message.route};
  worker.Reply(item, {&hop, 1}, status, block);
}

absl::Status ExecutionStage::Execute(Worker& worker, const WorkItem& item, Plan* plan,
                                     BlockRef* block) {
  const KernelShape& shape = plan->kernel->shape();
  auto input = worker.Input(item);
  if (!input.has_value()) return absl::InternalError("the input cannot be read");
  absl::StatusOr<PackView> pack = PackView::Open(*input);
  if (!pack.ok()) return pack.status();
  absl::StatusOr<PackTensor> tensor = TakeTensor(*pack, shape);
  if (!tensor.ok()) return tensor.status();
  const size_t rows = pack->rows();
  if (plan->kernel->ScratchBytes(rows) + kScratchAlign > plan->scratch.size()) {
    return absl::InvalidArgumentError("more rows than the model takes");
  }
  const bool margin = (item.entry.outputs & 1u << MARGIN) != 0;
  const bool prediction = (item.entry.outputs & 1u << PREDICTION) != 0 || item.entry.aggregation;
  PackWriter out(pack->rows());
  if (prediction) {
    out.Add(PREDICTION, shape.prediction_type, shape.prediction_columns,
            rows * shape.prediction_columns * DataTypeSize(shape.prediction_type));
  }
  if (margin) {
    out.Add(MARGIN, shape.margin_type, shape.groups,
            rows * shape.groups * DataTypeSize(shape.margin_type));
  }
  std::optional<BlockRef> taken = worker.Allocate(item, out.bytes());
  if (!taken.has_value()) return absl::ResourceExhaustedError("the answer is over the size limit");
  *block = *taken;
  out.Place(worker.At(*taken));
  const auto base = reinterpret_cast<uintptr_t>(plan->scratch.data());
  const size_t skip = (kScratchAlign - base % kScratchAlign) % kScratchAlign;
  const int64_t begin_ns = MonotonicNanos();
  const KernelPiece piece = {.input = tensor->data.data(),
                             .rows = rows,
                             .margins = margin ? out.Data(prediction ? 1 : 0) : nullptr,
                             .predictions = prediction ? out.Data(0) : nullptr};
  const absl::Status run = plan->kernel->Run(
      {tensor->datatype,
       {&piece, 1},
       absl::MakeSpan(plan->scratch.data() + skip, plan->scratch.size() - kScratchAlign)});
  const double per_row =
      static_cast<double>(MonotonicNanos() - begin_ns) / std::max<size_t>(rows, 1);
  plan->ns_per_row += kAverageWeight * (per_row - plan->ns_per_row);
  worker.page().Add(Counter::kRows, rows);
  return run;
}

}  // namespace millrace
