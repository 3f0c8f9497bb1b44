#include "services/observer/triton_names.h"

#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "ipc/stats_words.h"

namespace millrace {
namespace {

constexpr double kMicrosANano = 1e-3;

}  // namespace

void AddTriton(const MetricLabels& labels, const Words& words, Families* out) {
  const auto failed = [&](std::string_view reason, std::initializer_list<absl::StatusCode> codes) {
    uint64_t count = 0;
    for (const absl::StatusCode code : codes)
      count += words[StatsCodeAt(static_cast<size_t>(code))];
    MetricLabels with_reason = labels;
    with_reason.emplace_back("reason", reason);
    out->Counter("nv_inference_request_failure", "Requests that failed, as Triton names them.",
                 with_reason, static_cast<double>(count));
    return count;
  };
  uint64_t all = 0;
  for (size_t code = 1; code < kStatsCodes; ++code) all += words[StatsCodeAt(code)];
  using absl::StatusCode;
  uint64_t known = failed("CANCELED", {StatusCode::kCancelled});
  known += failed("REJECTED", {StatusCode::kUnavailable, StatusCode::kResourceExhausted,
                               StatusCode::kDeadlineExceeded});
  known += failed("BACKEND", {StatusCode::kInternal});
  MetricLabels other = labels;
  other.emplace_back("reason", "OTHER");
  out->Counter("nv_inference_request_failure", "Requests that failed, as Triton names them.", other,
               static_cast<double>(all - known));
  const auto add = [&](std::string_view name, std::string_view help, double value) {
    out->Counter(name, help, labels, value);
  };
  const auto sum = [&](StatsSum which) { return static_cast<double>(words[StatsSumAt(which)]); };
  add("nv_inference_request_success", "Requests answered OK, as Triton names them.",
      static_cast<double>(words[StatsCodeAt(0)]));
  add("nv_inference_count", "Rows of OK answers, as Triton names them.", sum(StatsSum::kRows));
  add("nv_inference_exec_count", "Batches of OK answers, as Triton names them.",
      sum(StatsSum::kExecutions));
  add("nv_inference_request_duration_us", "Time of OK answers, as Triton names it.",
      sum(StatsSum::kTotalNs) * kMicrosANano);
  add("nv_inference_queue_duration_us", "Of it: waiting for workers.",
      sum(StatsSum::kQueueNs) * kMicrosANano);
  add("nv_inference_compute_input_duration_us", "Of it: making inputs ready.",
      sum(StatsSum::kInputNs) * kMicrosANano);
  add("nv_inference_compute_infer_duration_us", "Of it: the model.",
      sum(StatsSum::kInferNs) * kMicrosANano);
  add("nv_inference_compute_output_duration_us", "Of it: making outputs.",
      sum(StatsSum::kOutputNs) * kMicrosANano);
}

void AddGpus(const std::vector<GpuSample>& gpus, Families* out) {
  for (const GpuSample& gpu : gpus) {
    const MetricLabels labels = {{"gpu_uuid", gpu.uuid}};
    const auto gauge = [&](std::string_view name, std::string_view help, auto value) {
      if (value.has_value()) out->Gauge(name, help, labels, static_cast<double>(*value));
    };
    gauge("nv_gpu_utilization", "Share of time that the GPU was busy, 0 to 1.", gpu.utilization);
    gauge("nv_gpu_memory_total_bytes", "Memory of the GPU.", gpu.memory_total_bytes);
    gauge("nv_gpu_memory_used_bytes", "Memory of the GPU that is used.", gpu.memory_used_bytes);
    gauge("nv_gpu_power_usage", "Power that the GPU draws, in watts.", gpu.power_watts);
    gauge("nv_gpu_power_limit", "Power that the GPU may draw, in watts.", gpu.power_limit_watts);
    if (gpu.energy_joules.has_value()) {
      out->Counter("nv_energy_consumption",
                   "Energy of the GPU since its driver started, in joules.", labels,
                   *gpu.energy_joules);
    }
  }
}

}  // namespace millrace
