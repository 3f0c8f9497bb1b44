#include "services/aggregation/aggregation_stage.h"

#include <string.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "ipc/link.h"

namespace millrace {
namespace {

constexpr size_t kItemsATurn = 64;
constexpr int64_t kSweepNs = 10 * kNanosPerMilli;

Matrix ToMatrix(const PackView& pack, size_t tensor) {
  const PackTensor t = pack.tensor(tensor);
  return {t.datatype, t.data.data(), t.data.size(), pack.rows(), t.columns};
}

}  // namespace

AggregationStage::AggregationStage() : parts_(kSlots, kMaxMembers) { packs_.reserve(kMaxMembers); }

absl::StatusOr<AggregationStage::Recipe> AggregationStage::MakeRecipe(const Model& model) {
  Recipe recipe;
  for (const OutputSpec& output : model.outputs()) {
    if (output.kind() == PREDICTION)
      recipe.result = static_cast<DataType>(output.tensor().datatype());
    if (output.kind() == PREDICTION || output.kind() == MARGIN) continue;
    absl::StatusOr<CompiledOutput> compiled =
        CompiledOutput::Make(output, model.prediction_columns());
    if (!compiled.ok()) return compiled.status();
    recipe.outputs.emplace(output.kind(), std::move(*compiled));
  }
  if (model.members_size() > 0) {
    std::vector<double> weights;
    for (const Member& member : model.members()) weights.push_back(member.weight());
    absl::StatusOr<CompiledEnsemble> ensemble =
        CompiledEnsemble::Make(model.combine(), weights, recipe.result);
    if (!ensemble.ok()) return ensemble.status();
    recipe.ensemble.emplace(std::move(*ensemble));
  }
  return recipe;
}

absl::StatusOr<std::function<void()>> AggregationStage::Prepare(CatalogWithPlans catalog) {
  RouteTable<const Recipe>::Routes routes;
  for (const Model& model : catalog.catalog->models()) {
    absl::StatusOr<Recipe> recipe = MakeRecipe(model);
    if (!recipe.ok()) {
      return absl::Status(recipe.status().code(),
                          absl::StrCat("model '", model.name(), "': ", recipe.status().message()));
    }
    routes.emplace(model.route(), std::make_shared<const Recipe>(std::move(*recipe)));
  }
  return [this, routes = std::move(routes)] { recipes_.Use(routes); };
}

size_t AggregationStage::Work(Worker& worker) {
  size_t count = 0;
  while (count < kItemsATurn) {
    std::optional<WorkItem> item = worker.Pop();
    if (!item.has_value()) break;
    ++count;
    Join(worker, *item);
  }
  Sweep(worker);
  return count;
}

void AggregationStage::Join(Worker& worker, const WorkItem& item) {
  const auto added = parts_.Add(item.message.origin, item.id, item.entry.members, item);
  switch (added.outcome) {
    case AddOutcome::kHeld:
      return;
    case AddOutcome::kJoined:
      return Answer(worker, added.joined->parts);
    case AddOutcome::kDuplicate:
    case AddOutcome::kInvalid:
    case AddOutcome::kFull:
      // Past admission the table holds every part there can be: this is a peer's fault.
      worker.page().Add(Counter::kFaults);
      return worker.Drop(item);
  }
}

void AggregationStage::Answer(Worker& worker, absl::Span<const WorkItem> parts) {
  worker.Executing(parts, 0);
  BlockRef block;
  const absl::Status status = Combine(worker, parts, &block);
  for (const WorkItem& other : parts.subspan(1)) worker.Finish(other);
  WorkItem first = parts[0];
  // The time of the whole is that of the part that came last.
  const WorkItem& last = *std::max_element(
      parts.begin(), parts.end(),
      [](const WorkItem& a, const WorkItem& b) { return a.taken_ns < b.taken_ns; });
  first.times = last.times;
  first.waited_ns = last.waited_ns;
  first.taken_ns = last.taken_ns;
  const Hop hop = {first.message.origin, 0, first.entry.route};
  worker.Reply(first, {&hop, 1}, status, block);
  worker.Done();
  worker.page().Add(Counter::kBatches);
}

absl::Status AggregationStage::Combine(Worker& worker, absl::Span<const WorkItem> parts,
                                       BlockRef* block) {
  const Recipe* recipe = recipes_.Find(parts[0].entry.route);
  if (recipe == nullptr) return absl::UnavailableError("the model is not loaded here");
  packs_.clear();
  for (const WorkItem& part : parts) {
    if (part.message.kind == MessageKind::kError) return worker.ErrorOf(part);
    auto input = worker.Input(part);
    if (!input.has_value()) return absl::InternalError("a member's result cannot be read");
    absl::StatusOr<PackView> pack = PackView::Open(*input);
    if (!pack.ok()) return pack.status();
    packs_.push_back(*pack);
  }
  Matrix prediction;
  if (recipe->ensemble.has_value()) {
    if (absl::Status s = CombineMembers(*recipe, packs_, &prediction); !s.ok()) return s;
  } else {
    const size_t at = packs_[0].Find(PREDICTION);
    if (at == packs_[0].count()) return absl::InternalError("a result without a prediction");
    prediction = ToMatrix(packs_[0], at);
  }
  return Write(worker, parts[0], *recipe, prediction, packs_[0], block);
}

absl::Status AggregationStage::CombineMembers(const Recipe& recipe,
                                              absl::Span<const PackView> packs,
                                              Matrix* prediction) {
  const CompiledEnsemble& ensemble = *recipe.ensemble;
  Matrix members[kMaxMembers];
  for (size_t m = 0; m < packs.size(); ++m) {
    const size_t at = packs[m].Find(PREDICTION);
    if (at == packs[m].count()) return absl::InternalError("a member without a prediction");
    members[m] = ToMatrix(packs[m], at);
  }
  const size_t bytes = ensemble.ResultBytes(members[0].rows, members[0].columns);
  if (bytes > scratch_.max_size()) return absl::ResourceExhaustedError("the result is too large");
  if (scratch_.size() < bytes) scratch_.resize(bytes);
  if (absl::Status s = ensemble.Apply({members, packs.size()}, {scratch_.data(), bytes}); !s.ok()) {
    return s;
  }
  *prediction = Matrix{recipe.result, scratch_.data(), bytes, members[0].rows, members[0].columns};
  return absl::OkStatus();
}

absl::Status AggregationStage::Write(Worker& worker, const WorkItem& item, const Recipe& recipe,
                                     const Matrix& prediction, const PackView& first,
                                     BlockRef* block) {
  const uint32_t wanted = item.entry.outputs;
  PackWriter out(static_cast<uint32_t>(prediction.rows));
  if (wanted & 1u << PREDICTION) {
    out.Add(PREDICTION, prediction.datatype, prediction.columns, prediction.bytes);
  }
  const size_t margin = first.Find(MARGIN);
  const bool with_margin = (wanted & 1u << MARGIN) != 0 && margin < first.count();
  if (with_margin) {
    const PackTensor t = first.tensor(margin);
    out.Add(MARGIN, t.datatype, t.columns, t.data.size());
  }
  for (const auto& [kind, output] : recipe.outputs) {
    if ((wanted & 1u << kind) == 0) continue;
    absl::StatusOr<size_t> bytes = output.Bytes(prediction);
    if (!bytes.ok()) return bytes.status();
    out.Add(kind, output.datatype(), output.columns(), *bytes);
  }
  MaybeBlock taken = worker.Allocate(item, out.bytes());
  if (!taken.has_value()) return absl::ResourceExhaustedError("the answer is over the size limit");
  *block = *taken;
  out.Place(worker.At(*taken));
  size_t at = 0;
  if (wanted & 1u << PREDICTION) memcpy(out.Data(at++), prediction.data, prediction.bytes);
  if (with_margin) {
    const PackTensor t = first.tensor(margin);
    memcpy(out.Data(at++), t.data.data(), t.data.size());
  }
  for (const auto& [kind, output] : recipe.outputs) {
    if ((wanted & 1u << kind) == 0) continue;
    if (absl::Status s = output.Write(prediction, {out.Data(at), out.data_bytes(at)}); !s.ok()) {
      return s;
    }
    ++at;
  }
  return absl::OkStatus();
}

void AggregationStage::Sweep(Worker& worker) {
  if (parts_.size() == 0) return;
  const int64_t now = MonotonicNanos();
  if (now < next_sweep_ns_) return;
  next_sweep_ns_ = now + kSweepNs;
  parts_.Sweep([&](uint32_t origin, PartId id) { return !worker.Wanted(origin, id); },
               [&](uint32_t, PartId, const WorkItem& item) { worker.Drop(item); });
}

}  // namespace millrace
