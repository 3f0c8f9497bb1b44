// /api/pipeline: two readings of the pipeline as JSON. README.md says what each key holds.
#include <algorithm>

#include "absl/status/status.h"
#include "common/version.h"
#include "services/observer/metric_names.h"
#include "services/observer/pipeline_input.h"

namespace millrace {
namespace {

using nlohmann::json;

// Codes and times of some models over the interval.
struct Answers {
  uint64_t all = 0, errors = 0, asked = 0, good = 0;  // asked, good: of the objective
  TimeWords times{};
};

void AddAnswers(const PipelineInput& in, const ModelKey& key, const Words& words, Answers* sum) {
  const uint64_t* old = in.Before(key);
  for (size_t code = 0; code < kStatsCodes; ++code) {
    const size_t at = StatsCodeAt(code);
    const uint64_t grown = Grown(words[at], old == nullptr ? 0 : old[at]);
    sum->all += grown;
    if (code != 0) sum->errors += grown;
    if (CountsForObjective(code)) sum->asked += grown;
  }
  const size_t total = StatsTimeAt(StatsTime::kTotal);
  TimeWords times{};
  AddGrown(&words[total], old == nullptr ? nullptr : old + total, &times);
  const size_t edge = TimeBucket(static_cast<uint64_t>(in.setup.slo_ns));
  for (size_t i = 0; i < kTimeWords; ++i) {
    sum->times[i] += times[i];
    if (i > 0 && i - 1 <= edge) sum->good += times[i];
  }
}

json Share(const PipelineInput& in, uint64_t part, uint64_t all) {
  if (in.seconds <= 0 || all == 0) return nullptr;
  return std::min(1.0, static_cast<double>(part) / static_cast<double>(all));
}

json Traffic(const PipelineInput& in) {
  Answers answers;
  uint64_t requests = 0;
  for (const auto& [key, words] : in.now.totals.models) {
    if (std::get<0>(key) != Stage::kIngress) continue;
    AddAnswers(in, key, words, &answers);
    for (size_t code = 0; code < kStatsCodes; ++code) requests += words[StatsCodeAt(code)];
  }
  const TimeWindow times = in.seconds > 0 ? Summarize(answers.times) : TimeWindow{};
  return {{"requests", requests},
          {"per_second", in.Rate(answers.all)},
          {"errors_per_second", in.Rate(answers.errors)},
          {"error_share", Share(in, answers.errors, answers.all)},
          {"slo_share", Share(in, answers.good, std::max(answers.asked, answers.good))},
          {"p50_ns", OrNull(times.p50_ns)},
          {"p99_ns", OrNull(times.p99_ns)},
          {"in_flight", in.SumOf(Stage::kIngress, Counter::kInFlight)}};
}

// Where the mean time of an OK answer went.
json Parts(const PipelineInput& in, const Words& words, const uint64_t* old, uint64_t answers) {
  if (in.seconds <= 0 || answers == 0) return nullptr;
  const auto mean = [&](StatsSum sum) {
    const size_t at = StatsSumAt(sum);
    return static_cast<double>(Grown(words[at], old == nullptr ? 0 : old[at])) /
           static_cast<double>(answers);
  };
  const double queue = mean(StatsSum::kQueueNs), input = mean(StatsSum::kInputNs),
               infer = mean(StatsSum::kInferNs), output = mean(StatsSum::kOutputNs);
  return {{"queue_ns", queue},
          {"input_ns", input},
          {"infer_ns", infer},
          {"output_ns", output},
          {"other_ns", std::max(0.0, mean(StatsSum::kTotalNs) - queue - input - infer - output)}};
}

// What execution says of the model: the time of a batch, and its rows.
void AddRuns(const PipelineInput& in, const std::string& name, const std::string& version,
             json* model) {
  const ModelKey key{Stage::kExecution, name, version};
  const auto found = in.now.totals.models.find(key);
  (*model)["run"] = nullptr;
  (*model)["batch_rows"] = nullptr;
  if (found == in.now.totals.models.end() || in.seconds <= 0) return;
  const uint64_t* old = in.Before(key);
  const uint64_t* words = found->second.data();
  const auto grown = [&](size_t at) { return Grown(words[at], old == nullptr ? 0 : old[at]); };
  TimeWords times{};
  const size_t run = StatsTimeAt(StatsTime::kWork);
  AddGrown(words + run, old == nullptr ? nullptr : old + run, &times);
  (*model)["run"] = in.Times(times);
  uint64_t batches = 0;
  for (size_t i = 1; i < kSizeWords; ++i) batches += grown(kStatsBatchRowsAt + i);
  if (batches == 0) return;
  (*model)["batch_rows"] =
      static_cast<double>(grown(kStatsBatchRowsAt)) / static_cast<double>(batches);
}

json Models(const PipelineInput& in, const GoldenStates& golden) {
  json models = json::array();
  for (const auto& [key, words] : in.now.totals.models) {
    const auto& [stage, name, version] = key;
    if (stage != Stage::kIngress) continue;
    json by_code = json::object();
    uint64_t requests = 0;
    for (size_t code = 0; code < kStatsCodes; ++code) {
      const uint64_t count = words[StatsCodeAt(code)];
      requests += count;
      if (count == 0) continue;
      by_code[absl::StatusCodeToString(static_cast<absl::StatusCode>(code))] = count;
    }
    if (name.empty() && requests == 0) continue;  // of no model: only where there are some
    Answers answers;
    AddAnswers(in, key, words, &answers);
    const TimeWindow times = in.seconds > 0 ? Summarize(answers.times) : TimeWindow{};
    const auto state = golden.models.find({name, version});
    const bool known = state != golden.models.end();
    json model = {{"model", name},
                  {"version", version},
                  {"requests", requests},
                  {"by_code", std::move(by_code)},
                  {"per_second", in.Rate(answers.all)},
                  {"errors_per_second", in.Rate(answers.errors)},
                  {"error_share", Share(in, answers.errors, answers.all)},
                  {"p50_ns", OrNull(times.p50_ns)},
                  {"p99_ns", OrNull(times.p99_ns)},
                  {"parts", Parts(in, words, in.Before(key), times.count)},
                  {"ready", known ? json(state->second.ready) : json(nullptr)},
                  {"golden_age_ns", known ? OrNull(state->second.age_ns) : json(nullptr)}};
    AddRuns(in, name, version, &model);
    models.push_back(std::move(model));
  }
  return models;
}

json Shed(const PipelineInput& in) {
  json shed = json::array();
  for (const CounterRow& row : kCounterRows) {
    if (row.reason.empty()) continue;
    shed.push_back(
        {{"reason", row.reason},
         {"total", in.SumOf(Stage::kIngress, row.counter)},
         {"per_second", in.Rate(in.GrownOf(Stage::kIngress, std::nullopt, row.counter))}});
  }
  return shed;
}

json Events(const PipelineInput& in) {
  const FleetView& view = in.picture.view;
  const bool died = view.last_reroute_ns() >= 0 && in.picture.view_at_ns != 0;
  const bool foreign = view.foreign_cores() >= 0 && in.picture.view_at_ns != 0;
  return {{"deaths", view.deaths()},
          {"hangs", view.hangs()},
          {"accusations", view.faults()},
          {"quarantined", view.poisoned()},
          {"poisoned", in.SumOf(Stage::kIngress, Counter::kPoisoned)},
          {"replayed", in.SumOf(Stage::kIngress, Counter::kReplayed)},
          {"model_breakers_open", view.model_breakers_open()},
          {"models", view.models()},
          {"models_failed", view.models_failed()},
          {"catalog_generation", view.catalog_generation()},
          {"live_generation", view.live_generation()},
          {"last_reroute_ns", died ? json(view.last_reroute_ns()) : json(nullptr)},
          {"foreign_cores", foreign ? json(view.foreign_cores()) : json(nullptr)}};
}

json Debts(const FleetView& view) {
  json debts = json::array();
  for (const FleetView::Debt& debt : view.debts()) {
    debts.push_back({{"kind", debt.kind()},
                     {"model", debt.model()},
                     {"version", debt.version()},
                     {"owner", debt.owner()},
                     {"sentence", debt.sentence()},
                     {"since_s", debt.since_s() == 0 ? json(nullptr) : json(debt.since_s())}});
  }
  return {{"left_off", view.debts_left_off()}, {"debts", std::move(debts)}};
}

json Gpus(const std::vector<GpuSample>& gpus) {
  json list = json::array();
  for (const GpuSample& gpu : gpus) {
    list.push_back({{"uuid", gpu.uuid},
                    {"utilization", OrNull(gpu.utilization)},
                    {"memory_used_bytes", OrNull(gpu.memory_used_bytes)},
                    {"memory_total_bytes", OrNull(gpu.memory_total_bytes)},
                    {"power_watts", OrNull(gpu.power_watts)}});
  }
  return list;
}

json History(const std::deque<PipelinePoint>& points) {
  json history = {{"step_ns", PipelineHistory::kStepNs}};
  for (const char* name :
       {"per_second", "errors_per_second", "p50_ns", "p99_ns", "in_flight", "deaths"}) {
    history[name] = json::array();
  }
  for (const PipelinePoint& point : points) {
    history["per_second"].push_back(point.per_second);
    history["errors_per_second"].push_back(point.errors_per_second);
    history["p50_ns"].push_back(OrNull(point.p50_ns));
    history["p99_ns"].push_back(OrNull(point.p99_ns));
    history["in_flight"].push_back(point.in_flight);
    history["deaths"].push_back(point.deaths);
  }
  return history;
}

}  // namespace

std::string DescribePipeline(const Picture& picture, const PipelineReading& now,
                             const PipelineReading* before, const std::deque<PipelinePoint>& points,
                             const PipelineSetup& setup) {
  const int64_t interval_ns =
      before == nullptr ? 0 : std::max<int64_t>(0, now.at_ns - before->at_ns);
  const PipelineInput in{picture, now, before, setup,
                         static_cast<double>(interval_ns) / kNanosInASecond};
  const GoldenStates golden = ReadGolden(picture, now.totals, now.at_ns);
  const bool seen = picture.view_at_ns != 0;
  const json report = {
      {"version", kVersion},
      {"unix_ms", setup.unix_ms},
      {"now_ns", now.at_ns},
      {"interval_ns", interval_ns},
      {"view_age_ns",
       seen ? json(std::max<int64_t>(0, now.at_ns - picture.view_at_ns)) : json(nullptr)},
      {"ready", golden.ready},
      {"slo_ns", setup.slo_ns},
      {"traffic", Traffic(in)},
      {"stages", PipelineStages(in)},
      {"links", PipelineLinks(in)},
      {"workers", PipelineWorkers(in)},
      {"models", Models(in, golden)},
      {"shed", Shed(in)},
      {"events", Events(in)},
      {"debt", Debts(picture.view)},
      {"pages_refused", picture.refused},
      {"gpus", Gpus(setup.gpus)},
      {"history", History(points)}};
  return report.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace millrace
