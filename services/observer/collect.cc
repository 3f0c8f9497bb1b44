#include "services/observer/collect.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "common/version.h"
#include "services/observer/families.h"
#include "services/observer/metric_names.h"
#include "services/observer/totals.h"
#include "services/observer/triton_names.h"

namespace millrace {
namespace {

constexpr double kNano = 1e-9;
constexpr std::string_view kNoSlot = "_other";

MetricLabels ModelLabels(const ModelKey& key) {
  const auto& [stage, model, version] = key;
  return {{"model", model.empty() ? std::string(kNoSlot) : model}, {"version", version}};
}

template <typename Edges>
void Fill(const uint64_t* words, const Edges& edges, double unit,
          prometheus::ClientMetric::Histogram* histogram) {
  uint64_t count = 0;
  histogram->bucket.reserve(edges.size() + 1);
  for (size_t i = 0; i <= edges.size(); ++i) {
    count += words[1 + i];
    const double edge = i < edges.size() ? static_cast<double>(edges[i]) * unit
                                         : std::numeric_limits<double>::infinity();
    histogram->bucket.push_back({count, edge});
  }
  histogram->sample_count = count;
  histogram->sample_sum = static_cast<double>(words[0]) * unit;
}

void AddTimes(const ModelKey& key, const Words& words, Families* out) {
  const Stage stage = std::get<0>(key);
  for (const TimeRow& row : kTimeRows) {
    const uint64_t* histogram = &words[StatsTimeAt(row.time)];
    if (row.stage != stage || CountOf(histogram, kTimeEdges + 1) == 0) continue;
    Fill(histogram, kTimeEdgesNs, kNano, &out->Histogram(row.name, row.help, ModelLabels(key)));
  }
  const uint64_t* sizes = &words[kStatsBatchRowsAt];
  if (stage != Stage::kExecution || CountOf(sizes, kSizeEdgeCount + 1) == 0) return;
  Fill(sizes, kSizeEdges, 1,
       &out->Histogram("millrace_execution_batch_rows", "Rows of a batch.", ModelLabels(key)));
}

std::string CodeName(size_t code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

void AddObjective(const ModelKey& key, const Words& words, int64_t slo_ns, Families* out) {
  uint64_t asked = 0;
  for (size_t code = 0; code < kStatsCodes; ++code) {
    if (CountsForObjective(code)) asked += words[StatsCodeAt(code)];
  }
  const uint64_t* total = &words[StatsTimeAt(StatsTime::kTotal)];
  const uint64_t good = CountOf(total, TimeBucket(static_cast<uint64_t>(slo_ns)) + 1);
  // The code is counted before the time: read between the two, a request was asked and not good
  // yet.
  out->Counter("millrace_ingress_slo_requests_total",
               "Requests that count for the objective: all but those whose fault was the client's.",
               ModelLabels(key), static_cast<double>(std::max(asked, good)));
  out->Counter("millrace_ingress_slo_good_total",
               "Of these: answered OK within the objective (observer.slo_ms).", ModelLabels(key),
               static_cast<double>(good));
}

void AddModels(const Totals& totals, const CollectSetup& setup, Families* out) {
  for (const auto& [key, words] : totals.models) {
    const Stage stage = std::get<0>(key);
    const bool ingress = stage == Stage::kIngress;
    for (size_t code = 0; code < kStatsCodes; ++code) {
      const uint64_t count = words[StatsCodeAt(code)];
      if (count == 0 && (code != 0 || !ingress)) continue;
      MetricLabels labels = ModelLabels(key);
      labels.emplace_back("code", CodeName(code));
      if (ingress) {
        out->Counter("millrace_ingress_requests_total", "Requests by the code of their answer.",
                     labels, static_cast<double>(count));
      } else {
        labels.insert(labels.begin(), {"stage", std::string(StageName(stage))});
        out->Counter("millrace_worker_results_total", "Results of workers by code.", labels,
                     static_cast<double>(count));
      }
    }
    AddTimes(key, words, out);
    if (!ingress) continue;
    AddObjective(key, words, setup.slo_ns, out);
    AddTriton(ModelLabels(key), words, out);
  }
}

void AddWorkers(const Totals& totals, Families* out) {
  for (const auto& [place, worker] : totals.workers) {
    const auto& [stage, index] = place;
    const MetricLabels labels = {{"stage", std::string(StageName(stage))},
                                 {"worker", WorkerName(stage, index)}};
    out->Counter("millrace_worker_ends_total",
                 "Ends of the worker's processes that nobody asked for.", labels,
                 static_cast<double>(worker.ends));
    for (size_t i = 0; i < kCounters; ++i) {
      const CounterRow& row = kCounterRows[i];
      if ((row.stages & StageBit(stage)) == 0) continue;
      const double value = static_cast<double>(worker.counters[i]) * (row.nanoseconds ? kNano : 1);
      if (!IsGauge(row.counter)) {
        MetricLabels with_reason = labels;
        if (!row.reason.empty()) with_reason.emplace_back("reason", std::string(row.reason));
        out->Counter(row.name, row.help, with_reason, value);
      } else if (worker.lives) {
        out->Gauge(row.name, row.help, labels, value);
      }
    }
  }
}

void AddGolden(const GoldenStates& golden, Families* out) {
  out->Gauge("millrace_ready",
             "Whether golden requests are answered right by every lane of ingress.", {},
             golden.ready ? 1 : 0);
  for (const auto& [name, one] : golden.models) {
    const MetricLabels labels = {{"model", name.first}, {"version", name.second}};
    out->Gauge("millrace_model_ready", "Whether the model's golden requests are answered right.",
               labels, one.ready ? 1 : 0);
    if (!one.age_ns.has_value()) continue;  // none was answered yet
    out->Gauge("millrace_model_golden_age_seconds", "Age of the last right golden answer.", labels,
               static_cast<double>(*one.age_ns) * kNano);
  }
}

void AddModelMemory(const FleetView& view, Families* out) {
  const auto gauge = [&](std::string_view name, std::string_view help, uint64_t value) {
    out->Gauge(name, help, {}, static_cast<double>(value));
  };
  gauge("millrace_models_memory_bytes",
        "Memory that models take in each execution worker: plans and what it makes of them.",
        view.models_bytes());
  gauge("millrace_models_memory_budget_bytes",
        "Memory that they may take there (execution.memory_budget_mb); 0: no limit.",
        view.models_budget_bytes());
  gauge("millrace_models_device_memory_bytes",
        "Memory that models take on the device, of the execution worker that has most there.",
        view.device_bytes());
  gauge("millrace_models_device_memory_budget_bytes",
        "Memory that each worker's may take there (execution.device_budget_mb); 0: no limit.",
        view.device_budget_bytes());
  gauge("millrace_models_evicted",
        "Versions that made room for others and are out until they are loaded again.",
        view.models_evicted());
}

void AddFleet(const Picture& picture, int64_t now_ns, Families* out) {
  const FleetView& view = picture.view;
  if (picture.view_at_ns == 0) return;
  out->Gauge("millrace_observer_view_age_seconds",
             "Age of what the supervisor said last; it says so some times a second.", {},
             static_cast<double>(std::max<int64_t>(now_ns - picture.view_at_ns, 0)) * kNano);
  std::map<Stage, uint32_t> ready;
  for (const FleetView::Process& process : view.processes()) {
    ready[StageOf(process.stage())] += process.ready() ? 1 : 0;
  }
  for (size_t i = 1; i < std::min<size_t>(kStageCount, view.wanted_size()); ++i) {
    const MetricLabels labels = {{"stage", std::string(kStageNames[i])}};
    out->Gauge("millrace_workers_ready", "Processes that are ready.", labels,
               ready[static_cast<Stage>(i)]);
    out->Gauge("millrace_workers_wanted", "Processes that there should be.", labels,
               view.wanted(static_cast<int>(i)));
  }
  for (int i = 1; i < std::min<int>(kStageCount, view.stage_breakers_size()); ++i) {
    if (!HasLanes(static_cast<Stage>(i)) || static_cast<Stage>(i) == Stage::kIngress) continue;
    out->Gauge("millrace_stage_breaker_open",
               "Whether requests that need the stage are refused: 1 open, 0.5 half open.",
               {{"stage", std::string(kStageNames[static_cast<size_t>(i)])}},
               view.stage_breakers(i) == 2 ? 0.5 : view.stage_breakers(i));
  }
  const auto gauge = [&](std::string_view name, std::string_view help, double value) {
    out->Gauge(name, help, {}, value);
  };
  out->Counter("millrace_worker_deaths_total", "Processes that ended and were not asked to.", {},
               static_cast<double>(view.deaths()));
  out->Counter("millrace_worker_hangs_total", "Processes that were ended since they hung.", {},
               static_cast<double>(view.hangs()));
  out->Counter("millrace_worker_accusations_total",
               "Processes that a peer accused of breaking the rules of shared memory.", {},
               static_cast<double>(view.faults()));
  gauge("millrace_model_breakers_open", "Models that ingress refuses, over all of its lanes.",
        view.model_breakers_open());
  gauge("millrace_catalog_generation", "Generation of the newest catalog.",
        static_cast<double>(view.catalog_generation()));
  gauge("millrace_catalog_live_generation", "Generation by which requests are routed.",
        static_cast<double>(view.live_generation()));
  gauge("millrace_models_served", "Models in the catalog.", view.models());
  gauge("millrace_models_refused", "Models of the repository that cannot be served.",
        view.models_failed());
  AddModelMemory(view, out);
  if (view.last_reroute_ns() >= 0) {
    gauge("millrace_last_reroute_seconds",
          "From seeing the last death to the roster without the dead.",
          static_cast<double>(view.last_reroute_ns()) * kNano);
  }
  if (view.foreign_cores() >= 0) {
    gauge("millrace_foreign_cores", "Cores that other programs kept busy.", view.foreign_cores());
  }
}

void AddProcesses(const Picture& picture, const CollectSetup& setup, Families* out) {
  for (const FleetView::Process& process : picture.view.processes()) {
    const Stage stage = StageOf(process.stage());
    const std::optional<ProcessUse> use =
        process.pid() > 0 ? setup.use_of(process.pid()) : std::nullopt;
    if (!use.has_value()) continue;
    // Another incarnation is another process: its time begins anew, under a label of its own.
    const MetricLabels labels = {{"stage", std::string(StageName(stage))},
                                 {"worker", WorkerName(stage, process.index())},
                                 {"incarnation", std::to_string(process.incarnation())}};
    out->Counter("millrace_process_cpu_seconds_total", "CPU time of the process.", labels,
                 use->cpu_seconds);
    if (use->run_delay_seconds.has_value()) {
      out->Counter("millrace_process_run_delay_seconds_total",
                   "Time that threads of the process could have run and waited for a core.", labels,
                   *use->run_delay_seconds);
    }
    out->Gauge("millrace_process_resident_memory_bytes", "Memory of the process.", labels,
               static_cast<double>(use->resident_bytes));
    out->Gauge("millrace_process_shared_memory_bytes", "Shared memory that the process owns.",
               labels, static_cast<double>(process.shared_bytes()));
    out->Gauge("millrace_process_threads", "Threads of the process.", labels,
               static_cast<double>(use->threads));
  }
}

}  // namespace

std::vector<prometheus::MetricFamily> Collect(const Picture& picture, const CollectSetup& setup) {
  const Totals totals = AddAll(picture);
  Families out;
  AddModels(totals, setup, &out);
  AddWorkers(totals, &out);
  AddGolden(ReadGolden(picture, totals, setup.now_ns), &out);
  AddFleet(picture, setup.now_ns, &out);
  AddProcesses(picture, setup, &out);
  AddGpus(setup.gpus, &out);
  out.Gauge("millrace_slo_seconds", "What an answer should take at the most (observer.slo_ms).", {},
            static_cast<double>(setup.slo_ns) * kNano);
  out.Counter("millrace_observer_pages_refused_total",
              "Pages that were not of this build or not sealed.", {},
              static_cast<double>(picture.refused));
  out.Gauge("millrace_build_info", "1; the version is a label.",
            {{"version", std::string(kVersion)}}, 1);
  return out.Take();
}

}  // namespace millrace
