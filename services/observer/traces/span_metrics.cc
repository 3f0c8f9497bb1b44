#include "services/observer/traces/span_metrics.h"

#include <algorithm>
#include <limits>

#include "ipc/trace_records.h"
#include "services/observer/traces/attribute_names.h"

namespace millrace {
namespace {

constexpr double kNano = 1e-9;
constexpr size_t kMostModels = 256;

// Of a span's attributes that are texts; empty: it has none.
std::string TextOf(const KeptSpan& span, std::string_view name) {
  for (const SpanAttribute& attribute : span.attributes) {
    const auto* text = std::get_if<std::string>(&attribute.value);
    if (attribute.name == name && text != nullptr) return *text;
  }
  return "";
}

uint64_t Duration(const KeptSpan& span) {
  return static_cast<uint64_t>(span.end_ns - span.begin_ns);
}

bool OnGpu(const KeptSpan& span) {
  return span.name == span_names::kKernel || span.name == span_names::kSynchronize;
}

// "gpu" where any of its batches ran there, "cpu" where none did; empty: it was not executed.
std::string DeviceOf(const KeptTrace& trace) {
  std::string device;
  for (const KeptSpan& span : trace.spans) {
    if (span.name != span_names::kExecute) continue;
    const bool gpu = TextOf(span, attribute_names::kDevice).rfind("gpu", 0) == 0;
    if (gpu || device.empty()) device = gpu ? "gpu" : "cpu";
  }
  return device;
}

}  // namespace

size_t SpanMetrics::BucketOfP95(const Histogram& histogram) {
  uint64_t all = 0, seen = 0;
  for (const uint64_t count : histogram.counts) all += count;
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    seen += histogram.counts[i];
    if (seen * 100 >= all * 95) return i;
  }
  return histogram.counts.size();
}

void SpanMetrics::Add(const std::vector<SharedTrace>& traces) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const SharedTrace& trace : traces) {
    const std::string device = DeviceOf(*trace);
    if ((trace->why & kWhySampled) == 0 || trace->code != 0 || device.empty()) continue;
    const Key key = {trace->model, trace->version, device};
    if (sums_.size() >= kMostModels && sums_.count(key) == 0) continue;
    Sums& sums = sums_[key];
    const uint64_t duration = Duration(trace->root());
    uint64_t gpu = 0;
    std::map<std::string, uint64_t> steps;
    for (const KeptSpan& span : trace->spans) {
      if (span.parent == trace->root().id) steps[span.name] += Duration(span);
      if (OnGpu(span)) gpu += Duration(span);
    }
    sums.request.Add(duration);
    sums.gpu.Add(gpu);
    if (TimeBucket(duration) < BucketOfP95(sums.request)) continue;
    sums.slowest_all_ns += duration;
    steps["gpu"] = gpu;
    for (const auto& [step, ns] : steps) sums.slowest_ns[step] += ns;
  }
}

void SpanMetrics::Fill(const Histogram& from, std::string_view name, std::string_view help,
                       const MetricLabels& labels, Families* out) {
  prometheus::ClientMetric::Histogram& histogram = out->Histogram(name, help, labels);
  uint64_t count = 0;
  for (size_t i = 0; i <= kTimeEdges; ++i) {
    count += from.counts[i];
    histogram.bucket.push_back({count, i < kTimeEdges ? static_cast<double>(kTimeEdgesNs[i]) * kNano
                                                      : std::numeric_limits<double>::infinity()});
  }
  histogram.sample_count = count;
  histogram.sample_sum = static_cast<double>(from.sum_ns) * kNano;
}

void SpanMetrics::Show(const std::string& incarnation, Families* out) const {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [key, sums] : sums_) {
    const auto& [model, version, device] = key;
    const MetricLabels labels = {
        {"model", model}, {"version", version}, {"device", device}, {"incarnation", incarnation}};
    Fill(sums.request, "millrace_trace_request_seconds",
         "Whole time of sampled requests, by where their model ran.", labels, out);
    Fill(sums.gpu, "millrace_trace_gpu_seconds",
         "Time that sampled requests' batches had on a GPU, from launch to synchronize.", labels,
         out);
    out->Counter(
        "millrace_trace_slowest_seconds_total",
        "Whole time of the sampled requests in or above the bucket of the 95th percentile.", labels,
        static_cast<double>(sums.slowest_all_ns) * kNano);
    for (const auto& [step, ns] : sums.slowest_ns) {
      MetricLabels with_step = labels;
      with_step.emplace_back("step", step);
      out->Counter("millrace_trace_slowest_step_seconds_total",
                   "Of that time, what a step took; gpu is a part of execute.", with_step,
                   static_cast<double>(ns) * kNano);
    }
  }
}

}  // namespace millrace
