#include "services/observer/traces/trace_service.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "common/log.h"
#include "ipc/stats.h"

namespace millrace {
namespace {

constexpr int64_t kLongestNs = 24 * 3600 * kNanosPerSecond;
// Read in one look; more are for the next one.
constexpr size_t kMostALook = 4096;

int64_t UnixOffsetNs() {
  timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  return wall.tv_sec * kNanosPerSecond + wall.tv_nsec - MonotonicNanos();
}

// Times that a lane can have written.
bool Plausible(const RequestRecord& record, int64_t now_ns) {
  return record.entered_ns > 0 && record.written_ns >= record.entered_ns &&
         record.written_ns <= now_ns && record.written_ns - record.entered_ns <= kLongestNs &&
         record.trace.valid() && record.span != 0;
}

}  // namespace

TraceService::TraceService(const PageSet* pages)
    : pages_(pages),
      assembly_(
          {[this](uint32_t incarnation, uint8_t slot) { return OfSlot(incarnation, slot); },
           [this](uint32_t incarnation, uint16_t route) { return OfRoute(incarnation, route); }}) {}

void TraceService::Start(const Config& config) {
  if (!IsTraced(config)) return;
  if (!config.otlp_endpoint.empty()) {
    const absl::StatusOr<OtlpEndpoint> endpoint = OtlpEndpoint::Parse(config.otlp_endpoint);
    if (endpoint.ok()) {
      exporter_ = std::make_unique<OtlpExporter>(endpoint->grpc ? MakeGrpcSender(*endpoint)
                                                                : MakeHttpSender(*endpoint));
      exporter_->Start();
    } else {
      Log(LogLevel::kError, "traces_not_sent", {{"why", endpoint.status().ToString()}});
    }
  }
  std::thread([this] {
    while (true) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kLookMs));
      Look(MonotonicNanos());
    }
  }).detach();
}

void TraceService::Observe(const ObserveTraces& message, const std::vector<Fd>& fds) {
  sources_.Observe(message, fds, MonotonicNanos());
}

void TraceService::LearnNames() {
  for (const ObservedLane& lane : pages_->Take().lanes) regions_[lane.incarnation] = lane.region;
}

void TraceService::Read(const TraceSource& source) {
  const auto [place, added] = places_.try_emplace(source.incarnation);
  Place& at = place->second;
  const TraceReader& ring = *source.ring;
  const uint64_t first = ring.First(), end = ring.End(), skipped = ring.skipped();
  uint64_t lost = skipped - at.skipped;
  at.skipped = skipped;
  if (added) {
    at.next = first;
    lost = 0;
  }
  if (at.next > end) at.next = end;  // a lane cannot take back what it wrote
  if (first > at.next) lost += first - at.next, at.next = first;
  for (; at.next < end && waiting_.size() < kMostALook; ++at.next) {
    KeptRequest request = {source, {}};
    if (!ring.Read(at.next, &request.record) || !Plausible(request.record, MonotonicNanos())) {
      ++lost;
    } else if (request.record.written_ns >= started_ns_) {
      waiting_.push_back(std::move(request));
    }
  }
  std::lock_guard<std::mutex> lock(mutex_);
  tally_.lost += lost;
}

void TraceService::Look(int64_t now_ns) {
  const std::vector<TraceSource> sources = sources_.Take(now_ns);
  LearnNames();
  const auto gone = [&](const auto& entry) {
    return std::none_of(sources.begin(), sources.end(), [&](const TraceSource& source) {
      return source.incarnation == entry.first;
    });
  };
  std::erase_if(places_, gone);
  std::erase_if(regions_, gone);
  for (const TraceSource& source : sources) {
    if (source.stage == Stage::kIngress) Read(source);
  }
  const auto due = std::stable_partition(
      waiting_.begin(), waiting_.end(),
      [&](const KeptRequest& request) { return now_ns - request.record.written_ns < kHoldNs; });
  if (due == waiting_.end()) return;
  const std::vector<KeptRequest> requests(due, waiting_.end());
  waiting_.erase(due, waiting_.end());
  const std::vector<SharedTrace> traces = assembly_.Assemble(requests, sources, UnixOffsetNs());
  store_.Add(traces);
  metrics_.Add(traces);
  if (exporter_ != nullptr) exporter_->Add(traces);
  std::lock_guard<std::mutex> lock(mutex_);
  tally_.kept += traces.size();
  for (const SharedTrace& trace : traces) tally_.incomplete += !trace->whole;
}

ModelName TraceService::OfSlot(uint32_t incarnation, uint8_t slot) const {
  const auto region = regions_.find(incarnation);
  if (region == regions_.end() || slot == 0) return {};
  return ReadModelName(region->second->as<const Page>()->stats, slot);
}

ModelName TraceService::OfRoute(uint32_t incarnation, uint16_t route) const {
  const auto region = regions_.find(incarnation);
  if (region == regions_.end()) return {};
  const StatsWords& words = region->second->as<const Page>()->stats;
  for (size_t slot = 1; slot < kMaxStatsModels; ++slot) {
    if (words.models[slot].route.Get() == route) return ReadModelName(words, slot);
  }
  return {};
}

TraceTally TraceService::Tally() const {
  TraceTally tally;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tally = tally_;
  }
  if (exporter_ == nullptr) return tally;
  tally.exported = exporter_->exported();
  tally.export_failed = exporter_->failed();
  tally.export_lost = exporter_->lost();
  return tally;
}

std::optional<std::string> TraceService::Json(std::string_view query) const {
  TraceQuery asked;
  if (!ParseTraceQuery(query, &asked)) return std::nullopt;
  return TracesJson(store_.Newest(asked.why, asked.limit), Tally());
}

void TraceService::Show(Families* out) const {
  const TraceTally tally = Tally();
  const std::string incarnation = OwnIncarnation(pages_->Take());
  const auto count = [&](std::string_view name, std::string_view help, uint64_t value) {
    out->Counter(name, help, {{"incarnation", incarnation}}, static_cast<double>(value));
  };
  count("millrace_trace_kept_total", "Requests that were kept as traces.", tally.kept);
  count(
      "millrace_trace_lost_total",
      "Requests that were to be kept and were not: overwritten before they were read, or slow and "
      "failed ones beyond the bound.",
      tally.lost);
  count("millrace_trace_incomplete_total",
        "Kept requests of which a worker's part was overwritten before it was looked for.",
        tally.incomplete);
  count("millrace_trace_exported_total", "Traces that a collector took.", tally.exported);
  count("millrace_trace_export_failed_total", "Traces that no collector took.",
        tally.export_failed);
  count("millrace_trace_export_lost_total", "Traces that the exporter had no room for.",
        tally.export_lost);
  metrics_.Show(incarnation, out);
}

}  // namespace millrace
