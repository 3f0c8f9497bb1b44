// W3C trace context: which trace a request belongs to, as its client says.
//
// Purpose: the texts of the headers `traceparent` and `tracestate`, and numbers for traces and
// spans
//   that begin here. Who may call: any thread; a TraceIds one.
// Invariants:
//   1. What is not exactly a valid `traceparent` is none: lowercase hex alone, no id of zeros, no
//      version ff; of later versions what is known of version 00 is read.
//   2. `tracestate` is passed on as it came, or not at all where it is longer than kMaxTraceState.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>

namespace millrace {

struct TraceId {
  uint64_t high = 0, low = 0;
  bool valid() const { return (high | low) != 0; }
  bool operator==(const TraceId&) const = default;
};

// A span, and whether its trace is recorded by whoever has it.
struct TraceContext {
  TraceId trace;
  uint64_t span = 0;
  bool sampled = false;
  bool valid() const { return trace.valid() && span != 0; }
};

// By which way a request came in.
enum class TraceMethod : uint8_t {
  kUnknown = 0,
  kGrpcInfer = 1,
  kGrpcStream = 2,
  kHttpInfer = 3,
  kLocalInfer = 4,
};

inline constexpr std::string_view kTraceParent = "traceparent";
inline constexpr std::string_view kTraceState = "tracestate";
inline constexpr size_t kTraceParentBytes = 55;
inline constexpr size_t kMaxTraceState = 512;

std::optional<TraceContext> ParseTraceParent(std::string_view text);
// kTraceParentBytes of them, without an end.
void WriteTraceParent(const TraceContext& context, char* to);
std::string FormatTraceParent(const TraceContext& context);

// 32 and 16 digits.
std::string HexOf(const TraceId& id);
std::string HexOf(uint64_t id);

// Ids that nobody can tell apart from random ones, a few nanoseconds each (xoshiro256++).
class TraceIds {
 public:
  explicit TraceIds(uint64_t seed);
  // From the kernel's random numbers.
  static TraceIds Random();

  uint64_t Next();
  uint64_t Span();
  TraceId Trace() { return {Next(), Span()}; }

 private:
  uint64_t state_[4];
};

}  // namespace millrace
