// What stands in trace rings: of workers each part and batch, of ingress each request that is kept.
//
// Purpose: the words that the observer makes spans of. Who writes: lanes; who reads: the observer.
// Invariants:
//   1. All times are CLOCK_MONOTONIC. In a worker's ring records stand in the order of `end_ns`.
//   2. No value of a tensor, no key and no text of a client stands here but its tracestate.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/trace_context.h"
#include "ipc/ledger.h"
#include "ipc/message.h"

namespace millrace {

enum class WorkKind : uint8_t {
  kPart = 1,   // one part of a request; begin: when it was taken; end: when its result was sent
  kBatch = 2,  // execution: the run of a batch
  kStep = 3,   // execution: a step of a batch on a device
};

// Where a batch ran, and the steps that a device reports.
enum class BatchPlace : uint8_t { kCpu = 0, kDevice = 1, kBoth = 2 };
enum class DeviceStep : uint8_t { kToDevice = 0, kLaunch = 1, kSynchronize = 2, kToHost = 3 };
inline constexpr size_t kDeviceSteps = 4;

struct WorkRecord {
  uint64_t id = 0;      // kPart: PartId::Pack; else: parts of the batch
  uint32_t origin = 0;  // kPart: incarnation of its ingress lane
  uint16_t route = 0;
  uint8_t code = 0;  // kPart: absl::StatusCode; kBatch: BatchPlace; kStep: DeviceStep
  WorkKind kind = WorkKind::kPart;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  uint32_t waited_ticks = 0;  // kPart: from being published to being taken, PublishedTicks
  uint32_t rows = 0;          // of the batch
  uint32_t batch = 0;         // its number in this lane; 0: none
  uint32_t reserved_word = 0;
  uint64_t reserved = 0;
};
static_assert(sizeof(WorkRecord) == 56);  // a cache line with its sequence word

// Why a request is kept.
enum TraceWhy : uint8_t { kWhySampled = 1, kWhySlow = 2, kWhyFailed = 4 };

struct RequestRecord {
  TraceId trace;
  uint64_t parent = 0;  // the client's span; 0: the trace begins here
  uint64_t span = 0;
  int64_t entered_ns = 0;    // it had come in
  int64_t accepted_ns = 0;   // it was decoded, and the lane was asked
  int64_t stored_ns = 0;     // its inputs were in the arena; 0: it was refused
  int64_t submitted_ns = 0;  // the last attempt was sent; 0: none was
  int64_t answered_ns = 0;   // its result, or what ended it, was there
  int64_t written_ns = 0;    // the protocol had its answer
  uint64_t id = 0;           // PartId::Pack of the last attempt
  uint64_t times = 0;        // StageTimes::Pack, of an OK answer
  uint32_t rows = 0;
  uint32_t features = 0, aggregation = 0;  // incarnations of the last attempt's workers; 0: none
  uint32_t execution[kMaxMembers] = {};
  uint8_t code = 0;  // absl::StatusCode
  uint8_t why = 0;   // TraceWhy
  TraceMethod method = TraceMethod::kUnknown;
  uint8_t members = 0;
  uint16_t state_bytes = 0;
  uint8_t model = 0;  // slot in the page's statistics
  uint8_t reserved = 0;
  uint32_t reserved_word = 0;
  char state[kMaxTraceState] = {};
};
static_assert(sizeof(RequestRecord) == 152 + kMaxTraceState);

inline constexpr size_t kWorkRecordWords = sizeof(WorkRecord) / sizeof(uint64_t);
inline constexpr size_t kRequestRecordWords = sizeof(RequestRecord) / sizeof(uint64_t);
// A worker's ring holds the last tenths of a second of a busy lane; ingress keeps few.
inline constexpr size_t kWorkRecords = 16384;
inline constexpr size_t kRequestRecords = 512;

}  // namespace millrace
