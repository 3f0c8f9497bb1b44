// A worker's records in its lane's trace ring.
//
// Purpose: one place that says what of an item stands there. Who may call: the lane's thread.
// Invariants: 1. some nanoseconds, no allocation; nothing where the lane has no ring.
// Nothing fails.
#pragma once

#include "ipc/trace_records.h"
#include "ipc/trace_ring.h"
#include "services/runtime/worker.h"

namespace millrace {

// `code`: absl::StatusCode of its result, or why it was dropped.
inline void TraceWork(TraceWriter* ring, const WorkItem& item, uint8_t code, int64_t end_ns) {
  if (ring == nullptr) return;
  WorkRecord record;
  record.id = item.message.id;
  record.origin = item.message.origin;
  record.route = item.message.route;
  record.code = code;
  record.begin_ns = item.taken_ns;
  record.end_ns = end_ns;
  record.waited_ticks = static_cast<uint32_t>(item.waited_ns >> kPublishedShift);
  record.rows = item.batch_rows;
  record.batch = item.batch;
  ring->Write(record);
}

}  // namespace millrace
