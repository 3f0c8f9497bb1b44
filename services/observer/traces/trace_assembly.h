// From records to spans: one request, and what each worker did for it.
//
// Purpose: finds the parts of a kept request in the workers' rings, and the batches that they ran
// in. Who may call: one thread. Ownership: borrows the rings for a call. Invariants:
//   1. Records are a peer's: a time that does not lie within its request is cut to it, a number
//   that
//      names nothing is left out, and no loop is longer than a ring.
//   2. A part that is not there any more makes the trace incomplete, not wrong.
//   3. The spans of one batch name each other's requests (links), as far as they were kept.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ipc/stats.h"
#include "ipc/trace_records.h"
#include "services/observer/traces/kept_trace.h"
#include "services/observer/traces/trace_sources.h"

namespace millrace {

// What of a page assembly must know.
struct ModelNames {
  // Of the slot in the statistics of that lane's page.
  std::function<ModelName(uint32_t incarnation, uint8_t slot)> of_slot;
  std::function<ModelName(uint32_t incarnation, uint16_t route)> of_route;
};

struct KeptRequest {
  TraceSource source;  // the ingress lane
  RequestRecord record;
};

class TraceAssembly {
 public:
  explicit TraceAssembly(ModelNames names) : names_(std::move(names)), ids_(TraceIds::Random()) {}

  // `requests`: those that ended about the same time. In their order.
  std::vector<SharedTrace> Assemble(const std::vector<KeptRequest>& requests,
                                    const std::vector<TraceSource>& sources,
                                    int64_t unix_offset_ns);

 private:
  // A worker's part of a request, and the batch it ran in.
  struct Part {
    const TraceSource* source = nullptr;
    WorkRecord work;
    std::optional<WorkRecord> batch;
    std::vector<WorkRecord> steps;
  };
  struct Found {
    std::vector<Part> features, execution, aggregation;
    bool whole = true;
  };
  using BatchKey = std::pair<uint32_t, uint32_t>;  // incarnation, number

  Found Find(const KeptRequest& request, const std::vector<TraceSource>& sources) const;
  void FindPart(const KeptRequest& request, const std::vector<TraceSource>& sources,
                uint32_t incarnation, Stage stage, uint8_t member, std::vector<Part>* to,
                bool* whole) const;
  void Remember(const Found& found, const RequestRecord& record);
  SharedTrace Make(const KeptRequest& request, const Found& found, int64_t unix_offset_ns);
  KeptSpan Root(const KeptRequest& request, const KeptTrace& trace) const;
  void AddIngress(const KeptRequest& request, KeptTrace* trace);
  void AddPart(const Part& part, std::string_view work_name, int64_t from_ns, KeptTrace* trace);
  void AddExecution(const Part& part, int64_t from_ns, KeptTrace* trace);
  KeptSpan* Add(KeptTrace* trace, uint64_t parent, std::string_view name, int64_t begin_ns,
                int64_t end_ns, const TraceSource& source);

  const ModelNames names_;
  TraceIds ids_;
  // Of the newest batches: whose requests were kept.
  std::map<BatchKey, std::vector<SpanLink>> batches_;
  std::deque<BatchKey> batch_order_;
};

}  // namespace millrace
