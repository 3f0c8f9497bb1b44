// The topology of /api/pipeline: stages, links, processes.
#include <linux/futex.h>

#include <algorithm>

#include "ipc/stats.h"
#include "services/observer/metric_names.h"
#include "services/observer/pipeline_input.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr Stage kLaneStages[] = {Stage::kIngress, Stage::kFeatures, Stage::kExecution,
                                 Stage::kAggregation};
constexpr std::string_view kBreakers[] = {"closed", "open", "half_open"};

std::string TimeName(const TimeRow& row) {
  switch (row.time) {
    case StatsTime::kTotal:
      return "total";
    case StatsTime::kQueue:
      return "queue";
    case StatsTime::kBatchWait:
      return "batch_wait";
    case StatsTime::kWrite:
      return "write";
    default:
      return "work";
  }
}

// Messages into a stage, and results out of it.
uint64_t In(const PipelineInput& in, bool grown, Stage stage) {
  return grown ? in.GrownOf(stage, std::nullopt, Counter::kTaken)
               : in.SumOf(stage, Counter::kTaken);
}
uint64_t Out(const PipelineInput& in, bool grown, Stage stage) {
  return grown ? in.GrownOf(stage, std::nullopt, Counter::kAnswered) +
                     in.GrownOf(stage, std::nullopt, Counter::kFailed)
               : in.SumOf(stage, Counter::kAnswered) + in.SumOf(stage, Counter::kFailed);
}

// Lanes count what they take and what they publish, not by peer: where two links end or begin at a
// stage, one of them is what the other leaves.
uint64_t Messages(const PipelineInput& in, bool grown, const Edge& edge) {
  const Stage to = edge.consumer;
  if (to == Stage::kFeatures || to == Stage::kAggregation) return In(in, grown, to);
  if (edge.producer != Stage::kExecution && to == Stage::kIngress) {
    return Out(in, grown, edge.producer);
  }
  if (to == Stage::kIngress) {
    return Grown(Out(in, grown, Stage::kExecution), In(in, grown, Stage::kAggregation));
  }
  if (edge.producer == Stage::kFeatures) return Out(in, grown, Stage::kFeatures);
  return Grown(In(in, grown, Stage::kExecution), Out(in, grown, Stage::kFeatures));
}

// Before the supervisor has seen it: the kernel marks the word of a process that ended.
bool SaysDead(const Page& page) {
  // relaxed: a statistic; nothing else is read by its value.
  const uint32_t liveness = page.liveness.load(std::memory_order_relaxed);
  // relaxed: as above, a statistic that is read alone.
  const uint32_t state = page.state.load(std::memory_order_relaxed);
  return (liveness & FUTEX_OWNER_DIED) != 0 || state == static_cast<uint32_t>(LaneState::kDying);
}

json Lanes(const PipelineInput& in, Stage stage, uint32_t index, json worker) {
  static const OfWorker kNothing;
  const auto found = in.now.totals.workers.find({stage, index});
  const OfWorker& sums = found == in.now.totals.workers.end() ? kNothing : found->second;
  const auto value = [&](Counter counter) { return sums.counters[static_cast<size_t>(counter)]; };
  TimeWords queue{}, work{};
  uint32_t lanes = 0;
  for (const auto& [incarnation, lane] : in.now.lanes) {
    if (lane.stage != stage || lane.index != index) continue;
    ++lanes;
    const LaneReading* old = nullptr;
    if (in.before != nullptr) {
      const auto was = in.before->lanes.find(incarnation);
      if (was != in.before->lanes.end()) old = &was->second;
    }
    AddGrown(lane.queue.data(), old == nullptr ? nullptr : old->queue.data(), &queue);
    AddGrown(lane.work.data(), old == nullptr ? nullptr : old->work.data(), &work);
  }
  const bool ingress = stage == Stage::kIngress, has_lanes = HasLanes(stage);
  const double busy_ns = static_cast<double>(in.GrownOf(stage, index, Counter::kBusyNs));
  const auto grown = [&](Counter counter) { return in.Rate(in.GrownOf(stage, index, counter)); };
  worker.update({{"restarts", sums.ends},
                 {"lanes", lanes},
                 {"queue_depth", value(Counter::kQueueDepth)},
                 {"queue_delay_ns", value(Counter::kQueueDelayNs)},
                 {"in_flight", ingress ? json(value(Counter::kInFlight)) : json(nullptr)},
                 {"blocks", value(Counter::kBlocksTaken)},
                 {"worst_turn_ns", has_lanes ? json(value(Counter::kWorstTurnNs)) : json(nullptr)},
                 {"messages", value(Counter::kTaken)},
                 {"failed", value(Counter::kFailed)},
                 {"per_second", has_lanes ? grown(Counter::kTaken) : json(nullptr)},
                 {"parks_per_second", has_lanes ? grown(Counter::kParks) : json(nullptr)},
                 {"busy_share", in.seconds > 0 && lanes > 0 && !ingress
                                    ? json(busy_ns / (in.seconds * kNanosInASecond * lanes))
                                    : json(nullptr)},
                 {"queue", has_lanes ? in.Times(queue) : json(nullptr)},
                 {"work", has_lanes ? in.Times(work) : json(nullptr)}});
  return worker;
}

// A process that the supervisor names.
json Living(const PipelineInput& in, const FleetView::Process& process) {
  const bool dead =
      std::any_of(in.picture.lanes.begin(), in.picture.lanes.end(), [&](const ObservedLane& lane) {
        return lane.incarnation == process.incarnation() && SaysDead(lane.page());
      });
  const char* const state = dead               ? "died"
                            : !process.ready() ? "starting"
                            : process.spare()  ? "spare"
                                               : "ready";
  const auto use = in.now.processes.find(process.incarnation());
  const bool used = use != in.now.processes.end();
  json cores = nullptr, run_delay = nullptr;
  if (used && in.before != nullptr && in.seconds > 0) {
    const auto was = in.before->processes.find(process.incarnation());
    if (was != in.before->processes.end()) {
      cores = std::max(0.0, use->second.cpu_seconds - was->second.cpu_seconds) / in.seconds;
      if (use->second.run_delay_seconds.has_value() && was->second.run_delay_seconds.has_value()) {
        run_delay = std::max(0.0, *use->second.run_delay_seconds - *was->second.run_delay_seconds) /
                    in.seconds;
      }
    }
  }
  return {{"incarnation", process.incarnation()},
          {"pid", process.pid()},
          {"state", state},
          {"uptime_ns", std::max<int64_t>(0, in.now.at_ns - process.started_ns())},
          {"cpu_cores", std::move(cores)},
          {"run_delay_cores", std::move(run_delay)},
          {"resident_bytes", used ? json(use->second.resident_bytes) : json(nullptr)},
          {"threads", used ? json(use->second.threads) : json(nullptr)},
          {"shared_bytes", process.shared_bytes()}};
}

json Down() {
  return {{"incarnation", 0},           {"pid", nullptr},          {"state", "down"},
          {"uptime_ns", nullptr},       {"cpu_cores", nullptr},    {"resident_bytes", nullptr},
          {"run_delay_cores", nullptr}, {"shared_bytes", nullptr}, {"threads", nullptr}};
}

}  // namespace

json PipelineInput::Rate(uint64_t grown) const {
  return seconds > 0 ? json(static_cast<double>(grown) / seconds) : json(nullptr);
}

json PipelineInput::Times(const TimeWords& window) const {
  if (seconds <= 0) return nullptr;
  const TimeWindow summary = Summarize(window);
  return {{"count", summary.count},
          {"per_second", Rate(summary.count)},
          {"p50_ns", OrNull(summary.p50_ns)},
          {"p99_ns", OrNull(summary.p99_ns)}};
}

const uint64_t* PipelineInput::Before(const ModelKey& key) const {
  if (before == nullptr) return nullptr;
  const auto found = before->totals.models.find(key);
  return found == before->totals.models.end() ? nullptr : found->second.data();
}

uint64_t PipelineInput::GrownOf(Stage stage, std::optional<uint32_t> index, Counter counter) const {
  uint64_t sum = 0;
  const auto at = static_cast<size_t>(counter);
  for (const auto& [place, worker] : now.totals.workers) {
    if (place.first != stage || (index.has_value() && place.second != *index)) continue;
    uint64_t old = 0;
    if (before != nullptr) {
      const auto found = before->totals.workers.find(place);
      if (found != before->totals.workers.end()) old = found->second.counters[at];
    }
    sum += Grown(worker.counters[at], old);
  }
  return sum;
}

uint64_t PipelineInput::SumOf(Stage stage, Counter counter) const {
  uint64_t sum = 0;
  for (const auto& [place, worker] : now.totals.workers) {
    if (place.first == stage) sum += worker.counters[static_cast<size_t>(counter)];
  }
  return sum;
}

TimeWords PipelineInput::StageTimes(Stage stage, StatsTime time) const {
  TimeWords window{};
  const size_t at = StatsTimeAt(time);
  for (const auto& [key, words] : now.totals.models) {
    if (std::get<0>(key) != stage) continue;
    const uint64_t* old = Before(key);
    AddGrown(&words[at], old == nullptr ? nullptr : old + at, &window);
  }
  return window;
}

json PipelineStages(const PipelineInput& in) {
  json stages = json::array();
  const FleetView& view = in.picture.view;
  for (const Stage stage : kLaneStages) {
    const auto at = static_cast<int>(stage);
    uint32_t ready = 0;
    for (const FleetView::Process& process : view.processes()) {
      ready += process.stage() == static_cast<uint32_t>(stage) && process.ready() ? 1 : 0;
    }
    const uint32_t breaker = at < view.stage_breakers_size() ? view.stage_breakers(at) : 0;
    json times = json::object();
    for (const TimeRow& row : kTimeRows) {
      if (row.stage == stage) times[TimeName(row)] = in.Times(in.StageTimes(stage, row.time));
    }
    stages.push_back({{"stage", StageName(stage)},
                      {"wanted", at < view.wanted_size() ? view.wanted(at) : 0},
                      {"ready", ready},
                      {"breaker", kBreakers[std::min<size_t>(breaker, 2)]},
                      {"queue_depth", in.SumOf(stage, Counter::kQueueDepth)},
                      {"times", std::move(times)}});
  }
  return stages;
}

json PipelineLinks(const PipelineInput& in) {
  json links = json::array();
  for (const Edge& edge : kEdges) {
    const bool answer = edge.consumer == Stage::kIngress;
    const bool shared = edge.producer == Stage::kExecution ? answer
                                                           : edge.producer == Stage::kIngress &&
                                                                 edge.consumer == Stage::kExecution;
    links.push_back(
        {{"from", StageName(edge.producer)},
         {"to", StageName(edge.consumer)},
         {"messages", Messages(in, false, edge)},
         {"per_second", in.Rate(Messages(in, true, edge))},
         {"estimated", shared},
         // Nobody times the way of an answer: ingress takes it when it comes by.
         {"wait",
          answer ? json(nullptr) : in.Times(in.StageTimes(edge.consumer, StatsTime::kQueue))},
         {"depth", answer ? json(nullptr) : json(in.SumOf(edge.consumer, Counter::kQueueDepth))}});
  }
  return links;
}

json PipelineWorkers(const PipelineInput& in) {
  struct Place {
    std::string name;
    json what;
  };
  std::map<std::pair<Stage, uint32_t>, Place> places;
  const FleetView& view = in.picture.view;
  for (const FleetView::Process& process : view.processes()) {
    const Stage stage = StageOf(process.stage());
    std::string name =
        process.name().empty() ? WorkerName(stage, process.index()) : ShownText(process.name());
    places[{stage, process.index()}] = {std::move(name), Living(in, process)};
  }
  // What should be there and is not.
  for (int i = 1; i < std::min<int>(kStageCount, view.wanted_size()); ++i) {
    const Stage stage = StageOf(static_cast<uint32_t>(i));
    const auto living = std::count_if(places.begin(), places.end(),
                                      [&](const auto& one) { return one.first.first == stage; });
    uint32_t missing = view.wanted(i) > living ? view.wanted(i) - static_cast<uint32_t>(living) : 0;
    for (uint32_t index = 0; missing > 0 && index < view.wanted(i); ++index) {
      const auto [at, added] = places.try_emplace({stage, index});
      if (!added) continue;
      at->second = {WorkerName(stage, index), Down()};
      --missing;
    }
  }
  json workers = json::array();
  for (auto& [key, place] : places) {
    json worker = std::move(place.what);
    worker["name"] = place.name;
    worker["stage"] = StageName(key.first);
    worker["index"] = key.second;
    workers.push_back(Lanes(in, key.first, key.second, std::move(worker)));
  }
  return workers;
}

}  // namespace millrace
