#include "services/ingress/core/model_counters.h"

#include <algorithm>

namespace millrace {

void ModelCounters::CountSuccess(const Success& success) {
  rows_.Add(success.rows);
  success_.Add(success.total_ns);
  queue_.Add(success.times.queue_ns);
  input_.Add(success.times.input_ns);
  infer_.Add(success.times.infer_ns);
  output_.Add(success.times.output_ns);
  if (success.times.batch_rows > 0) CountBatch(success.times);
  last_ms_.Set(success.wall_ms);
}

void ModelCounters::CountFailure(uint64_t total_ns) { fail_.Add(total_ns); }

void ModelCounters::CountBatch(const StageTimes& times) {
  executions_.Add(1);
  // relaxed: this is the only writer.
  const size_t known = batch_sizes_.load(std::memory_order_relaxed);
  size_t i = 0;
  while (i < known && batches_[i].rows.Get() != times.batch_rows) ++i;
  if (i == kMaxBatchSizes) return;
  batches_[i].rows.Set(times.batch_rows);
  batches_[i].input.Add(times.input_ns);
  batches_[i].infer.Add(times.infer_ns);
  batches_[i].output.Add(times.output_ns);
  // release: meets the acquire in ModelCounters::ReadInto.
  if (i == known) batch_sizes_.store(known + 1, std::memory_order_release);
}

void ModelCounters::ReadInto(ModelStatistic* out) const {
  out->last_inference_ms = std::max(out->last_inference_ms, last_ms_.Get());
  out->inference_count += rows_.Get();
  out->execution_count += executions_.Get();
  success_.AddTo(&out->success);
  fail_.AddTo(&out->fail);
  queue_.AddTo(&out->queue);
  input_.AddTo(&out->compute_input);
  infer_.AddTo(&out->compute_infer);
  output_.AddTo(&out->compute_output);
  // acquire: meets the release in ModelCounters::CountBatch.
  const size_t known = batch_sizes_.load(std::memory_order_acquire);
  for (size_t i = 0; i < known; ++i) {
    const Batch& batch = batches_[i];
    const auto place = std::lower_bound(
        out->batches.begin(), out->batches.end(), batch.rows.Get(),
        [](const BatchStatistic& b, uint64_t rows) { return b.batch_size < rows; });
    auto mine = place;
    if (place == out->batches.end() || place->batch_size != batch.rows.Get()) {
      mine = out->batches.insert(place, BatchStatistic{batch.rows.Get(), {}, {}, {}});
    }
    batch.input.AddTo(&mine->compute_input);
    batch.infer.AddTo(&mine->compute_infer);
    batch.output.AddTo(&mine->compute_output);
  }
}

ModelCounters* StatisticsBook::Open(const void* lane, const std::string& name,
                                    const std::string& version) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::unique_ptr<ModelCounters>& counters = counters_[{name, version}][lane];
  if (counters == nullptr) counters = std::make_unique<ModelCounters>();
  return counters.get();
}

std::vector<ModelStatistic> StatisticsBook::Read(std::string_view name,
                                                 std::string_view version) const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<ModelStatistic> all;
  for (const auto& [key, lanes] : counters_) {
    if (!name.empty() && (key.first != name || (!version.empty() && key.second != version))) {
      continue;
    }
    ModelStatistic& one = all.emplace_back();
    one.name = key.first;
    one.version = key.second;
    for (const auto& [lane, counters] : lanes) counters->ReadInto(&one);
  }
  return all;
}

}  // namespace millrace
