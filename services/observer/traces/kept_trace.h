// A request that was kept, as spans.
//
// Purpose: what assembly makes, and what is shown, sent and counted. Ownership: values, immutable
//   once they are made and then shared. Invariants:
//   1. The first span is the root; the others follow by their begin, and lie within the root.
//   2. Every text can be shown (UTF-8 without control characters).
#pragma once

#include <stdint.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/trace_context.h"
#include "ipc/topology.h"

namespace millrace {

// What spans are called; attributes' names stand in attribute_names.h.
namespace span_names {
inline constexpr std::string_view kDecode = "decode";
inline constexpr std::string_view kAdmit = "admit";
inline constexpr std::string_view kWait = "wait";  // for room on the route
inline constexpr std::string_view kQueue = "queue";
inline constexpr std::string_view kFeatures = "features";
inline constexpr std::string_view kBatch = "batch";
inline constexpr std::string_view kExecute = "execute";
inline constexpr std::string_view kToDevice = "host to device";
inline constexpr std::string_view kKernel = "kernel";
inline constexpr std::string_view kSynchronize = "synchronize";
inline constexpr std::string_view kToHost = "device to host";
inline constexpr std::string_view kAggregate = "aggregate";
inline constexpr std::string_view kRespond = "respond";
}  // namespace span_names

struct SpanAttribute {
  std::string_view name;  // a constant
  std::variant<std::string, int64_t> value;
};

struct SpanLink {
  TraceId trace;
  uint64_t span = 0;
  bool operator==(const SpanLink&) const = default;
};

struct KeptSpan {
  uint64_t id = 0, parent = 0;
  std::string name;
  int64_t begin_ns = 0, end_ns = 0;  // CLOCK_MONOTONIC
  Stage stage = Stage::kNone;
  uint32_t worker = 0, incarnation = 0;
  std::vector<SpanAttribute> attributes;
  std::vector<SpanLink> links;
};

struct KeptTrace {
  TraceId id;
  uint64_t parent = 0;  // the client's span; 0: none
  std::string state;    // tracestate
  std::string model, version;
  uint8_t code = 0;            // absl::StatusCode
  uint8_t why = 0;             // TraceWhy
  bool whole = true;           // every worker's part was found
  int64_t unix_offset_ns = 0;  // from CLOCK_MONOTONIC to the wall clock
  std::vector<KeptSpan> spans;

  const KeptSpan& root() const { return spans.front(); }
};

using SharedTrace = std::shared_ptr<const KeptTrace>;

// gRPC's name of a code.
std::string CodeName(uint8_t code);
// Codes that are the server's fault, as OpenTelemetry's conventions have it for a gRPC server.
bool IsServerFault(uint8_t code);

}  // namespace millrace
