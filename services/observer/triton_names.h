// The same, under the names that dashboards made for Triton ask for.
//
// Purpose: `nv_inference_*` of a model, `nv_gpu_*` of the machine. Who may call: any thread; pure.
// Invariant: these names are Triton's and do not follow Prometheus's conventions; nothing of ours
// is
//   made from them. Nothing fails.
#pragma once

#include <stdint.h>

#include <vector>

#include "services/observer/families.h"
#include "services/observer/nvml.h"

namespace millrace {

// The words of a model's slot (ipc/stats_words.h), of ingress.
using Words = std::vector<uint64_t>;

void AddTriton(const MetricLabels& labels, const Words& words, Families* out);
void AddGpus(const std::vector<GpuSample>& gpus, Families* out);

}  // namespace millrace
