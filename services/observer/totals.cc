#include "services/observer/totals.h"

#include <algorithm>

#include "absl/status/status.h"
#include "ipc/stats.h"
#include "services/observer/metric_names.h"

namespace millrace {
namespace {

template <typename From>
void AddUp(const From& from, Words* to) {
  to->resize(kStatsWords);
  for (size_t i = 0; i < std::min(kStatsWords, static_cast<size_t>(from.size())); ++i) {
    (*to)[i] += from[static_cast<int>(i)];
  }
}

void AddLane(const ObservedLane& lane, Totals* totals) {
  OfWorker& worker = totals->workers[{lane.stage, lane.index}];
  worker.lives = true;
  for (size_t i = 0; i < kCounters; ++i) {
    const uint64_t value = lane.page().Get(static_cast<Counter>(i));
    uint64_t& sum = worker.counters[i];
    sum = kCounterRows[i].most ? std::max(sum, value) : sum + value;
  }
  for (const ModelStats& model : ReadModelStats(lane.page().stats)) {
    AddUp(model.words, &totals->models[{lane.stage, model.model, model.version}]);
    if (lane.stage == Stage::kIngress && !model.model.empty()) {
      totals->names[model.route] = {model.model, model.version};
    }
  }
}

}  // namespace

Totals AddAll(const Picture& picture) {
  Totals totals;
  for (const ProcessSums& one : picture.sums->processes()) {
    OfWorker& worker = totals.workers[{StageOf(one.stage()), one.index()}];
    const size_t count = std::min(kCounters, static_cast<size_t>(one.counters_size()));
    for (size_t i = 0; i < count; ++i) worker.counters[i] += one.counters(static_cast<int>(i));
    worker.ends += one.ends();
  }
  for (const ModelSums& one : picture.sums->models()) {
    AddUp(one.words(), &totals.models[{StageOf(one.stage()), one.model(), one.version()}]);
  }
  const auto& added = picture.sums->incarnations();
  for (const ObservedLane& lane : picture.lanes) {
    if (std::find(added.begin(), added.end(), lane.incarnation) == added.end()) {
      AddLane(lane, &totals);
    }
  }
  return totals;
}

GoldenStates ReadGolden(const Picture& picture, const Totals& totals, int64_t now_ns) {
  const auto now = static_cast<uint64_t>(std::max<int64_t>(now_ns, 0));
  GoldenStates states;
  std::map<std::pair<std::string, std::string>, uint64_t> good_ns;
  bool ready = true, any = false;
  for (const ObservedLane& lane : picture.lanes) {
    if (lane.stage != Stage::kIngress) continue;
    const GoldenWords& words = lane.page().golden;
    const uint64_t ready_until_ns = words.ready_until_ns.Get();
    if (ready_until_ns == 0) continue;
    any = true;
    ready = ready && now <= ready_until_ns;
    const size_t count = std::min<size_t>(words.count.Get(), GoldenWords::kMaxModels);
    for (size_t i = 0; i < count; ++i) {
      const auto name = totals.names.find(words.models[i].route.Get());
      if (name == totals.names.end()) continue;
      GoldenState& one = states.models[name->second];
      one.ready = one.ready && now <= words.models[i].good_until_ns.Get();
      const uint64_t answered_ns = words.models[i].good_ns.Get();
      uint64_t& oldest_ns = good_ns.emplace(name->second, answered_ns).first->second;
      oldest_ns = std::min(oldest_ns, answered_ns);
    }
  }
  states.ready = ready && any;
  for (auto& [name, one] : states.models) {
    const uint64_t at_ns = std::min(good_ns[name], now);
    if (at_ns != 0) one.age_ns = static_cast<int64_t>(now - at_ns);
  }
  return states;
}

bool CountsForObjective(size_t code) {
  switch (static_cast<absl::StatusCode>(code)) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

uint64_t CountOf(const uint64_t* histogram, size_t buckets) {
  uint64_t count = 0;
  for (size_t i = 0; i < buckets; ++i) count += histogram[1 + i];
  return count;
}

Stage StageOf(uint32_t number) {
  return number < kStageCount ? static_cast<Stage>(number) : Stage::kNone;
}

std::string WorkerName(Stage stage, uint32_t index) {
  return std::string(StageName(stage)) + std::to_string(index);
}

}  // namespace millrace
