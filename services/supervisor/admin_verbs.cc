#include "services/supervisor/admin_verbs.h"

#include <time.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "services/supervisor/golden_report.h"
#include "services/supervisor/incident_report.h"
#include "services/supervisor/route_verbs.h"
#include "services/supervisor/stage_table.h"
#include "services/supervisor/upgrade_verbs.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kLongestWaitMs = 600'000;

json Refusal(std::string_view why) { return {{"ok", false}, {"error", why}}; }

Stage StageOf(const std::string& name) {
  for (size_t i = 1; i < kStageCount; ++i) {
    if (kStageNames[i] == name) return static_cast<Stage>(i);
  }
  return Stage::kNone;
}

// Of a process's lanes: the longest, not the sum.
constexpr std::string_view kWorstTurn = kCounterNames[static_cast<size_t>(Counter::kWorstTurnNs)];

json CountersOf(const Page& page) {
  json counters = json::object();
  for (size_t i = 0; i < kCounterNames.size(); ++i) {
    counters[std::string(kCounterNames[i])] = page.Get(static_cast<Counter>(i));
  }
  return counters;
}

json LaneReport(const AdminContext& context, const FleetLane& lane) {
  json report = {{"incarnation", lane.incarnation},
                 {"lane", lane.lane},
                 {"beat_age_ms", lane.silent_ns / kNanosPerMilli}};
  if (const Page* page = context.page_of(lane.incarnation)) report["counters"] = CountersOf(*page);
  return report;
}

// Where the batches of each model run: what was measured, and from how many rows on the device.
json KernelsReport(const Fleet& fleet, const FleetProcess& process) {
  json kernels = json::array();
  for (const Model& model : fleet.catalog().catalog().models()) {
    const auto found = process.kernels.find(model.route());
    if (found == process.kernels.end()) continue;
    const KernelChoice& choice = found->second;
    json buckets = json::array();
    for (const KernelChoice::Bucket& bucket : choice.buckets()) {
      buckets.push_back({{"rows", bucket.rows()},
                         {"cpu_ns", bucket.cpu_ns()},
                         {"device_ns", bucket.device_ns()},
                         {"cpu_estimated", bucket.cpu_estimated()},
                         {"device_estimated", bucket.device_estimated()}});
    }
    kernels.push_back({{"model", model.name()},
                       {"version", model.version()},
                       {"device_from_rows", choice.device_from_rows()},
                       {"why_not", choice.why_not()},
                       {"device_bytes", choice.device_bytes()},
                       {"buckets", std::move(buckets)}});
  }
  return kernels;
}

json DeviceOf(const FleetProcess& process) {
  if (!process.device.has_value()) return json();
  return {{"cpu", process.device->cpu()},
          {"device", process.device->device()},
          {"state", process.device->state()},
          {"why_not", process.device->why_not()}};
}

json ProcessReport(const AdminContext& context, const FleetProcess& process, int64_t now_ns) {
  const auto slot = context.fleet->slots().find({process.stage, process.index});
  json lanes = json::array();
  json counters = json::object();
  int64_t silent_ns = 0;
  for (const FleetLane& lane : process.lanes) {
    lanes.push_back(LaneReport(context, lane));
    silent_ns = std::max(silent_ns, lane.silent_ns);
    if (!lanes.back().contains("counters")) continue;
    for (const auto& [name, value] : lanes.back()["counters"].items()) {
      const auto before = counters.value(name, uint64_t{0}), one = value.get<uint64_t>();
      counters[name] = name == kWorstTurn ? std::max(before, one) : before + one;
    }
  }
  const bool spare = IsSpare(process.stage, process.index);
  const bool warm = process.state == ProcessState::kReady;
  json report = {{"name", ProcessName(process.stage, process.index)},
                 {"stage", StageName(process.stage)},
                 {"index", process.index},
                 {"pid", context.pid_of(process.key)},
                 {"incarnation", process.key},
                 {"state", spare && warm ? "spare" : RowOf(process.state).name},
                 {"restarts", slot == context.fleet->slots().end() ? 0 : slot->second.restarts},
                 {"uptime_ms", (now_ns - process.started_ns) / kNanosPerMilli},
                 {"beat_age_ms", silent_ns / kNanosPerMilli},
                 {"cpus", FormatCpuList(context.cpus_of(process.key))},
                 {"queue_depth", counters.value("queue_depth", uint64_t{0})},
                 {"catalog_generation", process.catalog_answered},
                 {"shared_bytes", process.bytes},
                 {"counters", std::move(counters)},
                 {"lanes", std::move(lanes)}};
  report["wait"] =
      HasLanes(process.stage) ? json(WaitModeName(context.fleet->WaitOf(process.stage))) : json();
  if (process.stage == Stage::kExecution) {
    report["device"] = DeviceOf(process);
    report["device_losses"] = slot == context.fleet->slots().end() ? 0 : slot->second.device_losses;
    report["kernels"] = KernelsReport(*context.fleet, process);
  }
  if (!process.condemned.empty()) report["condemned"] = process.condemned;
  return report;
}

// Null: the version has no manifest.
json ProvenanceReport(const Model& model) {
  if (!model.has_provenance()) return nullptr;
  const Provenance& of = model.provenance();
  return {{"owner", of.owner()},
          {"policy", of.policy()},
          {"trained_at", of.trained_at()},
          {"signed_by", of.signed_by()},
          {"signed_until", of.signed_until()},
          {"data", of.data()},
          {"code", of.code()},
          {"parent", of.parent()},
          {"fields", of.fields()},
          {"tagged_fields", of.tagged_fields()}};
}

json MemoryReport(const ModelMemory& memory) {
  return {{"bytes", memory.bytes},
          {"budget_bytes", memory.budget_bytes},
          {"device_bytes", memory.device_bytes},
          {"device_budget_bytes", memory.device_budget_bytes}};
}

json CatalogReport(const AdminContext& context, int64_t now_ns) {
  const Fleet& fleet = *context.fleet;
  const std::vector<const GoldenWords*> lanes = GoldenWordsOf(fleet, context.page_of);
  json models = json::array(), failed = json::array(), evicted = json::array();
  for (const Model& model : fleet.catalog().catalog().models()) {
    models.push_back({{"name", model.name()},
                      {"version", model.version()},
                      {"platform", model.platform()},
                      {"latest", model.latest()},
                      {"ensemble", model.members_size() > 0},
                      {"view", model.has_view() ? model.view().name() : ""},
                      {"plan_bytes", model.plan_bytes()},
                      {"worker_bytes", model.worker_bytes()},
                      {"manifest", ProvenanceReport(model)},
                      {"golden", GoldenReport(lanes, model, now_ns)}});
  }
  for (const FailedModel& model : fleet.catalog().catalog().failed()) {
    failed.push_back(
        {{"name", model.name()}, {"version", model.version()}, {"reason", model.reason()}});
  }
  for (const EvictedVersion& version : fleet.catalog().catalog().evicted()) {
    evicted.push_back({{"name", version.name()}, {"version", version.version()}});
  }
  return {{"generation", fleet.catalog().generation()},
          {"live_generation", fleet.live_generation()},
          {"models", std::move(models)},
          {"failed", std::move(failed)},
          {"evicted", std::move(evicted)},
          {"memory", MemoryReport(fleet.memory())}};
}

// Places without a living process: when the next one starts.
json WaitingReport(const Fleet& fleet, int64_t now_ns) {
  json waiting = json::array();
  for (const auto& [name, slot] : fleet.slots()) {
    if (slot.key != 0) continue;
    const int64_t wait_ns = std::max<int64_t>(0, slot.start_at_ns - now_ns);
    waiting.push_back({{"name", ProcessName(name.first, name.second)},
                       {"failures", slot.failures},
                       {"restarts", slot.restarts},
                       {"starts_in_ms", wait_ns / kNanosPerMilli}});
  }
  return waiting;
}

// Stages with a scaling policy, and whether it rests.
json ScalingReport(const Fleet& fleet) {
  json scaling = json::object();
  for (const StageRow& row : kStageRows) {
    if (!fleet.HasPolicy(row.stage)) continue;
    scaling[std::string(StageName(row.stage))] = fleet.IsPinned(row.stage) ? "pinned" : "auto";
  }
  return scaling;
}

std::string_view PhaseName(FleetPhase phase) {
  constexpr std::string_view kNames[] = {"running", "draining", "stopping", "stopped"};
  return kNames[static_cast<size_t>(phase)];
}

json Scale(Fleet* fleet, const json& request) {
  const auto stage = request.find("stage");
  const auto count = request.find("count");
  if (stage == request.end() || !stage->is_string()) return Refusal("stage: must be a string");
  const bool by_policy = count != request.end() && *count == "auto";
  if (count == request.end() || !(count->is_number_integer() || by_policy)) {
    return Refusal("count: must be an integer, or \"auto\"");
  }
  if (StageOf(*stage) == Stage::kNone) return Refusal("stage: there is no such stage");
  const absl::Status status =
      by_policy ? fleet->ScaleByPolicy(StageOf(*stage)) : fleet->Scale(StageOf(*stage), *count);
  if (!status.ok()) {
    return Refusal(std::string_view(status.message().data(), status.message().size()));
  }
  return {{"ok", true}};
}

std::optional<json> WaitReady(const AdminContext& context, const json& request, int64_t waited_ns,
                              int64_t now_ns) {
  const auto limit = request.find("timeout_ms");
  if (limit != request.end() && !limit->is_number_integer()) {
    return Refusal("timeout_ms: must be an integer");
  }
  const int64_t limit_ms = limit == request.end() ? kLongestWaitMs : limit->get<int64_t>();
  if (limit_ms < 0 || limit_ms > kLongestWaitMs) {
    return Refusal("timeout_ms: must be from 0 to 600000");
  }
  if (IsReady(context, now_ns)) return json{{"ok", true}, {"ready", true}};
  if (context.fleet->phase() != FleetPhase::kRunning) return Refusal("the server is stopping");
  if (waited_ns < limit_ms * kNanosPerMilli) return std::nullopt;
  return json{{"ok", true}, {"ready", false}};
}

std::optional<json> ChangeModels(Fleet* fleet, bool load, const json& request, int64_t asked_ns) {
  const auto model = request.find("model");
  if (model == request.end() || !model->is_string()) return Refusal("model: must be a string");
  const auto dependents = request.find("unload_dependents");
  if (dependents != request.end() && (load || !dependents->is_boolean())) {
    return Refusal("unload_dependents: must be a boolean, and of unload only");
  }
  ChangeModel change;
  // A line that waits is asked again with the same time, which no other line has.
  change.set_request(static_cast<uint64_t>(asked_ns));
  change.set_load(load);
  change.set_model(*model);
  change.set_unload_dependents(dependents != request.end() && *dependents);
  const std::optional<absl::Status> outcome = fleet->ChangeForAdmin(change);
  if (!outcome.has_value()) return std::nullopt;
  if (outcome->ok()) return json{{"ok", true}};
  return Refusal(std::string_view(outcome->message().data(), outcome->message().size()));
}

std::optional<json> TakeProfileOf(Fleet* fleet, const json& request, int64_t asked_ns) {
  constexpr int64_t kMostMs = 300'000;
  const auto stage = request.find("stage"), index = request.find("index");
  const auto duration = request.find("duration_ms"), kind = request.find("kind");
  if (stage == request.end() || !stage->is_string()) return Refusal("stage: must be a string");
  if (index == request.end() || !index->is_number_unsigned()) {
    return Refusal("index: must be a whole number");
  }
  if (kind != request.end() && *kind != "cpu" && *kind != "heap") {
    return Refusal("kind: must be cpu or heap");
  }
  const bool heap = kind != request.end() && *kind == "heap";
  int64_t duration_ms = 0;
  if (duration != request.end() && duration->is_number_unsigned() && *duration <= kMostMs) {
    duration_ms = *duration;
  }
  if (!heap && duration_ms < 1) return Refusal("duration_ms: must be from 1 to 300000");
  if (StageOf(*stage) == Stage::kNone) return Refusal("stage: there is no such stage");
  // As in ChangeModels: the time that a line came at is its number.
  const auto outcome =
      fleet->ProfileForAdmin(static_cast<uint64_t>(asked_ns), StageOf(*stage), *index,
                             heap ? TakeProfile::HEAP : TakeProfile::CPU, heap ? 0 : duration_ms);
  if (!outcome.has_value()) return std::nullopt;
  if (!outcome->ok()) return Refusal(std::string(outcome->status().message()));
  return json{{"ok", true}, {"profile", absl::Base64Escape(**outcome)}};
}

std::optional<json> Answer(const AdminContext& context, const std::string& line, int64_t asked_ns,
                           int64_t now_ns) {
  const json request = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!request.is_object()) return Refusal("the request must be one JSON object on one line");
  const auto verb = request.find("verb");
  if (verb == request.end() || !verb->is_string()) return Refusal("verb: must be a string");
  if (*verb == "status") return StatusReport(context, now_ns);
  if (*verb == "quarantine") return QuarantineReport(context.fleet->incidents());
  if (*verb == "profile") return TakeProfileOf(context.fleet, request, asked_ns);
  if (*verb == "debt") return AnswerDebt(*context.fleet, context.debt, request, time(nullptr));
  if (*verb == "scale") return Scale(context.fleet, request);
  if (*verb == "wait_ready") return WaitReady(context, request, now_ns - asked_ns, now_ns);
  if (*verb == "reload") {
    context.fleet->Reload();
    return json{{"ok", true}};
  }
  if (*verb == "stop") {
    context.fleet->Stop();
    return json{{"ok", true}};
  }
  if (*verb == "load" || *verb == "unload") {
    return ChangeModels(context.fleet, *verb == "load", request, asked_ns);
  }
  if (*verb == "route" || *verb == "rollout") {
    return AnswerRoutes(context.fleet, line, context.asker ? context.asker() : 0, asked_ns);
  }
  if (*verb == "upgrade" && context.upgrade != nullptr) {
    return AnswerUpgrade(context.upgrade, request, asked_ns);
  }
  return Refusal(
      "verb: must be status, quarantine, profile, debt, scale, wait_ready, load, unload, reload, "
      "route, rollout, upgrade or stop");
}

}  // namespace

bool IsReady(const AdminContext& context, int64_t now_ns) {
  return context.fleet->Ready() &&
         GoldenReady(GoldenWordsOf(*context.fleet, context.page_of), now_ns);
}

json StatusReport(const AdminContext& context, int64_t now_ns) {
  const Fleet& fleet = *context.fleet;
  json processes = json::array();
  for (const auto& [key, process] : fleet.processes()) {
    processes.push_back(ProcessReport(context, process, now_ns));
  }
  json listeners = json::array();
  for (const auto& [name, address] : context.listeners) {
    listeners.push_back({{"name", name}, {"address", address}});
  }
  for (const auto& [key, process] : fleet.processes()) {
    if (process.observing.empty()) continue;
    listeners.push_back({{"name", "metrics"}, {"address", process.observing}});
  }
  json report = {{"ok", true},
                 {"phase", PhaseName(fleet.phase())},
                 {"ready", IsReady(context, now_ns)},
                 {"uptime_ms", (now_ns - context.started_ns) / kNanosPerMilli},
                 {"supervisor_restarts", context.supervisor_restarts},
                 {"deaths", fleet.deaths()},
                 {"hangs", fleet.hangs()},
                 {"faults", fleet.faults()},
                 {"promotions", fleet.promotions()},
                 {"scaling", ScalingReport(fleet)},
                 {"listeners", std::move(listeners)},
                 {"breakers", BreakersReport(fleet.incidents())},
                 {"stage_breakers", StageBreakersReport(fleet.storms())},
                 {"poisoned", fleet.incidents().poisoned()},
                 {"watched_versions", fleet.watched_versions()},
                 {"catalog", CatalogReport(context, now_ns)},
                 {"routes", RoutesReport(fleet)},
                 {"processes", std::move(processes)},
                 {"waiting", WaitingReport(fleet, now_ns)}};
  if (context.upgrade != nullptr) {
    report["build"] = BuildReport(*context.upgrade);
    report["upgrade"] = UpgradeReport(*context.upgrade);
  }
  // Null before the first sample.
  report["foreign_cores"] =
      fleet.load_sample().has_value() ? json(fleet.load_sample()->foreign_cores) : json();
  // When a death was seen (CLOCK_MONOTONIC), and from there to the roster without the dead; null
  // before the first.
  const bool none = fleet.last_reroute_ns() < 0;
  report["last_death_ns"] = none ? json() : json(fleet.last_death_at_ns());
  report["last_reroute_us"] = none ? json() : json(fleet.last_reroute_ns() / kNanosPerMicro);
  return report;
}

std::optional<std::string> AnswerAdmin(const AdminContext& context, const std::string& line,
                                       int64_t asked_ns, int64_t now_ns) {
  const std::optional<json> reply = Answer(context, line, asked_ns, now_ns);
  if (!reply.has_value()) return std::nullopt;
  // Text that is no UTF-8 (a model's name from a file) is replaced, not thrown over.
  return reply->dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace millrace
