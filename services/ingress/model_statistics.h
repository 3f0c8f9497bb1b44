// What was counted of each model: the figures of ModelStatistics and of /stats.
//
// Purpose: one shape for both protocols. Times are sums in nanoseconds.
// Who may call: any thread; plain values. Nothing fails.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

namespace millrace {

struct CountAndNs {
  uint64_t count = 0;
  uint64_t ns = 0;
};

// Executions of one size.
struct BatchStatistic {
  uint64_t batch_size = 0;  // rows
  CountAndNs compute_input, compute_infer, compute_output;
};

struct ModelStatistic {
  std::string name;
  std::string version;
  uint64_t last_inference_ms = 0;  // since the epoch; 0: none yet
  uint64_t inference_count = 0;    // rows answered
  uint64_t execution_count = 0;    // batches run
  CountAndNs success, fail;        // requests, from their acceptance to their answer
  CountAndNs queue;                // waiting: for a worker's window, then in the stages' queues
  CountAndNs compute_input;        // storing the inputs, and the feature view
  CountAndNs compute_infer;        // execution; of a batch, the whole for each of its requests
  CountAndNs compute_output;       // aggregation: members joined, class, label, top-k
  std::vector<BatchStatistic> batches;
  // Since the last right golden answer; nothing: none yet, or it is not served now.
  std::optional<uint64_t> golden_age_ms;
};

}  // namespace millrace
