#include "services/observer/pipeline.h"

#include <algorithm>
#include <utility>

#include "ipc/stats.h"

namespace millrace {
namespace {

constexpr int64_t kSameNs = 100'000'000;
constexpr double kNanosInASecond = 1e9;

uint64_t Sum(const Totals& totals, Stage stage, Counter counter) {
  uint64_t sum = 0;
  for (const auto& [place, worker] : totals.workers) {
    if (place.first == stage) sum += worker.counters[static_cast<size_t>(counter)];
  }
  return sum;
}

PipelinePoint PointOf(const PipelineReading& now, const PipelineReading& before, uint64_t deaths) {
  PipelinePoint point;
  uint64_t good = 0, bad = 0;
  TimeWords window{};
  for (const auto& [key, words] : now.totals.models) {
    if (std::get<0>(key) != Stage::kIngress) continue;
    const auto old = before.totals.models.find(key);
    const uint64_t* old_words = old == before.totals.models.end() ? nullptr : old->second.data();
    for (size_t code = 0; code < kStatsCodes; ++code) {
      const size_t at = StatsCodeAt(code);
      (code == 0 ? good : bad) += Grown(words[at], old_words == nullptr ? 0 : old_words[at]);
    }
    const size_t total = StatsTimeAt(StatsTime::kTotal);
    AddGrown(&words[total], old_words == nullptr ? nullptr : old_words + total, &window);
  }
  const double seconds = static_cast<double>(now.at_ns - before.at_ns) / kNanosInASecond;
  point.per_second = (static_cast<double>(good) + static_cast<double>(bad)) / seconds;
  point.errors_per_second = static_cast<double>(bad) / seconds;
  const TimeWindow summary = Summarize(window);
  point.p50_ns = summary.p50_ns;
  point.p99_ns = summary.p99_ns;
  point.in_flight = Sum(now.totals, Stage::kIngress, Counter::kInFlight);
  point.deaths = deaths;
  return point;
}

}  // namespace

PipelineReading ReadPipeline(const Picture& picture, const UseReader& use_of, int64_t now_ns) {
  PipelineReading reading;
  reading.at_ns = now_ns;
  reading.totals = AddAll(picture);
  for (const ObservedLane& lane : picture.lanes) {
    LaneReading& one = reading.lanes[lane.incarnation];
    one.stage = lane.stage;
    one.index = lane.index;
    const StatsTime work = lane.stage == Stage::kIngress ? StatsTime::kTotal : StatsTime::kWork;
    for (const ModelStats& model : ReadModelStats(lane.page().stats)) {
      AddGrown(&model.words[StatsTimeAt(StatsTime::kQueue)], nullptr, &one.queue);
      AddGrown(&model.words[StatsTimeAt(work)], nullptr, &one.work);
    }
  }
  for (const FleetView::Process& process : picture.view.processes()) {
    const std::optional<ProcessUse> use = process.pid() > 0 ? use_of(process.pid()) : std::nullopt;
    if (use.has_value()) reading.processes[process.incarnation()] = *use;
  }
  return reading;
}

void PipelineHistory::Tick(const Picture& picture, int64_t now_ns) {
  std::lock_guard<std::mutex> lock(mutex_);
  // A view comes four times a second: the fourth is often a hair too early.
  constexpr int64_t kHairNs = kStepNs / 20;
  if (!readings_.empty() && now_ns - readings_.back().at_ns < kStepNs - kHairNs) return;
  Keep(ReadPipeline(picture, use_of_, now_ns), picture.view.deaths());
}

void PipelineHistory::Keep(PipelineReading reading, uint64_t deaths) {
  // After a silence the points would stand for another time than they say.
  if (!readings_.empty() && reading.at_ns - readings_.back().at_ns < 2 * kStepNs) {
    points_.push_back(PointOf(reading, readings_.back(), deaths));
    if (points_.size() > kPoints) points_.pop_front();
  } else {
    points_.clear();
  }
  readings_.push_back(std::move(reading));
  while (readings_.size() > kReadings) readings_.pop_front();
}

std::string PipelineHistory::Report(const Picture& picture, int64_t now_ns,
                                    const PipelineSetup& setup) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!report_.empty() && now_ns - reported_ns_ < kSameNs) return report_;
  PipelineReading now = ReadPipeline(picture, use_of_, now_ns);
  const auto before =
      std::find_if(readings_.begin(), readings_.end(), [&](const PipelineReading& one) {
        return now_ns - one.at_ns <= kReachNs && now_ns - one.at_ns >= kSameNs;
      });
  report_ = DescribePipeline(picture, now, before == readings_.end() ? nullptr : &*before, points_,
                             setup);
  reported_ns_ = now_ns;
  // While the supervisor is silent there are no views, and no ticks.
  if (readings_.empty() || now_ns - readings_.back().at_ns >= 2 * kStepNs) {
    Keep(std::move(now), picture.view.deaths());
  }
  return report_;
}

}  // namespace millrace
