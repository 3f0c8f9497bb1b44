// The counters behind ModelStatistics.
//
// Purpose: each lane counts what it answers, by model and version; a reader adds up all lanes of
// the
//   process. Who may call: ModelCounters: Count... the lane that owns it, ReadInto any thread.
//   StatisticsBook: any thread. Ownership: the book owns all counters and never lets one go, so
//   that they survive a reload of the model and its unloading; their number is that of the versions
//   ever served in this process's life.
// Invariants: 1. one writer for each counter; to count takes no lock and no memory. 2. A figure
// never
//   goes back; two figures of one reading may be one request apart. 3. The first kMaxBatchSizes
//   sizes of batches have a row of their own; later ones are in the sums only.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipc/stage_times.h"
#include "services/ingress/core/run_estimate.h"
#include "services/ingress/model_statistics.h"

namespace millrace {

class ModelCounters {
 public:
  static constexpr size_t kMaxBatchSizes = 32;

  struct Success {
    uint64_t rows = 0;
    uint64_t total_ns = 0;
    uint64_t wall_ms = 0;  // since the epoch
    StageTimes times;      // with what ingress added
  };
  void CountSuccess(const Success& success);
  void CountFailure(uint64_t total_ns);
  void ReadInto(ModelStatistic* out) const;
  // The lane's own; nobody else reads it.
  RunEstimate& run() { return run_; }

 private:
  // A word with one writer.
  class Word {
   public:
    void Add(uint64_t n) {
      // relaxed: one writer, a statistic; no other word is read by its value.
      word_.store(word_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    // relaxed: one writer, a statistic.
    void Set(uint64_t n) { word_.store(n, std::memory_order_relaxed); }
    // relaxed: a statistic, read alone.
    uint64_t Get() const { return word_.load(std::memory_order_relaxed); }

   private:
    std::atomic<uint64_t> word_{0};
  };
  struct Sum {
    Word count, ns;
    void Add(uint64_t n) {
      count.Add(1);
      ns.Add(n);
    }
    void AddTo(CountAndNs* out) const {
      out->count += count.Get();
      out->ns += ns.Get();
    }
  };
  struct Batch {
    Word rows;
    Sum input, infer, output;
  };

  void CountBatch(const StageTimes& times);

  RunEstimate run_;
  Word last_ms_, rows_, executions_;
  Sum success_, fail_, queue_, input_, infer_, output_;
  std::array<Batch, kMaxBatchSizes> batches_;
  std::atomic<size_t> batch_sizes_{0};
};

class StatisticsBook {
 public:
  // One lane's counters of a version, made at first need; the same for the same `lane` and version
  // ever after. Takes a lock: off the path of requests.
  ModelCounters* Open(const void* lane, const std::string& name, const std::string& version);

  // Adds up the lanes. Empty `name`: all; empty `version`: all versions of it. Sorted by name and
  // version.
  std::vector<ModelStatistic> Read(std::string_view name, std::string_view version) const;

 private:
  using Version = std::pair<std::string, std::string>;
  mutable std::mutex mutex_;
  std::map<Version, std::map<const void*, std::unique_ptr<ModelCounters>>> counters_;
};

}  // namespace millrace
