// The observer's traces: from the lanes' rings to what is shown, counted and sent.
//
// Purpose: one thread that looks at the rings of ingress some times a second, puts together what
// was
//   kept there, and hands it on. Who may call: Observe the control thread; Start once; the rest any
//   thread. Ownership: lives as long as the process.
// Invariants:
//   1. Serving waits for nothing here: rings are read, never written.
//   2. A request is put together kHoldNs after its end, so that others of its batch are there, too.
//   3. What is lost on the way is counted.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "common/config.h"
#include "ipc/control.pb.h"
#include "services/observer/families.h"
#include "services/observer/page_set.h"
#include "services/observer/traces/otlp_export.h"
#include "services/observer/traces/span_metrics.h"
#include "services/observer/traces/trace_assembly.h"
#include "services/observer/traces/trace_sources.h"
#include "services/observer/traces/trace_store.h"

namespace millrace {

class TraceService {
 public:
  static constexpr int kLookMs = 50;
  static constexpr int64_t kHoldNs = 50 * kNanosPerMilli;

  // `pages` outlives it.
  explicit TraceService(const PageSet* pages);

  // With the exporter that the configuration asks for.
  void Start(const Config& config);
  void Observe(const ObserveTraces& message, const std::vector<Fd>& fds);
  // One look, at a time; Start's thread, or a test.
  void Look(int64_t now_ns);

  TraceTally Tally() const;
  // The answer to GET /api/traces; nothing where the query is not understood.
  std::optional<std::string> Json(std::string_view query) const;
  // Counters of the observer itself: with its incarnation, since they begin anew with it.
  void Show(Families* out) const;

 private:
  // Where reading of an ingress lane's ring has come to.
  struct Place {
    uint64_t next = 0;
    uint64_t skipped = 0;
  };

  void Read(const TraceSource& source);
  void LearnNames();
  ModelName OfSlot(uint32_t incarnation, uint8_t slot) const;
  ModelName OfRoute(uint32_t incarnation, uint16_t route) const;

  const PageSet* const pages_;
  const int64_t started_ns_ = MonotonicNanos();  // what ended before was another's to read
  TraceSources sources_;
  std::map<uint32_t, Place> places_;  // by incarnation
  // Of lanes that there are, and of those that ended a moment ago.
  std::map<uint32_t, std::shared_ptr<const Region>> regions_;
  std::vector<KeptRequest> waiting_;
  TraceAssembly assembly_;
  TraceStore store_;
  SpanMetrics metrics_;
  std::unique_ptr<OtlpExporter> exporter_;  // null: none; set before the thread is there
  mutable std::mutex mutex_;
  TraceTally tally_;  // without the exporter's
};

}  // namespace millrace
