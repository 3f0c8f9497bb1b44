// Workers' rings filled by hand, and a request that they worked on.
//
// Purpose: tests of what is made of records. Who may call: one thread of a test. Ownership: owns
// the
//   rings. Invariants: 1. times are nanoseconds after kBase. What fails: set-up ends the test.
#pragma once

#include <gtest/gtest.h>
#include <string.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/observer/traces/trace_assembly.h"

namespace millrace {

inline constexpr uint32_t kIngress = 11, kFeatures = 21, kExecution = 31, kOther = 32,
                          kAggregation = 41;
inline constexpr int64_t kBase = 1'000'000'000, kUnix = 5'000'000'000'000;

class Rings {
 public:
  explicit Rings(size_t slots = 64) {
    for (const auto& [stage, incarnation] : {std::pair(Stage::kFeatures, kFeatures),
                                             {Stage::kExecution, kExecution},
                                             {Stage::kExecution, kOther},
                                             {Stage::kAggregation, kAggregation}}) {
      auto writer = TraceWriter::Create(incarnation, slots, kWorkRecordWords);
      auto reader = TraceReader::Open(writer->region().fd().get(), incarnation, kWorkRecordWords);
      TraceSource source;
      source.stage = stage;
      source.incarnation = incarnation;
      source.ring = std::make_shared<const TraceReader>(std::move(*reader));
      sources.push_back(source);
      writers.emplace(incarnation, std::move(*writer));
    }
  }
  void Part(uint32_t incarnation, const PartId& id, int64_t taken, int64_t end, int64_t waited,
            uint32_t batch = 0, uint8_t code = 0) {
    WorkRecord work;
    work.id = id.Pack();
    work.origin = kIngress;
    work.route = 5;
    work.begin_ns = kBase + taken;
    work.end_ns = kBase + end;
    work.waited_ticks = static_cast<uint32_t>(waited >> kPublishedShift);
    work.batch = batch;
    work.rows = batch != 0 ? 8 : 0;
    work.code = code;
    writers.at(incarnation).Write(work);
  }
  void Batch(uint32_t incarnation, uint32_t batch, int64_t begin, int64_t end, BatchPlace place) {
    WorkRecord work;
    work.kind = WorkKind::kBatch;
    work.code = static_cast<uint8_t>(place);
    work.id = 2;
    work.rows = 8;
    work.batch = batch;
    work.begin_ns = kBase + begin;
    work.end_ns = kBase + end;
    writers.at(incarnation).Write(work);
  }
  void Step(uint32_t incarnation, uint32_t batch, DeviceStep step, int64_t begin, int64_t end) {
    WorkRecord work;
    work.kind = WorkKind::kStep;
    work.code = static_cast<uint8_t>(step);
    work.batch = batch;
    work.begin_ns = kBase + begin;
    work.end_ns = kBase + end;
    writers.at(incarnation).Write(work);
  }

  std::vector<TraceSource> sources;
  std::map<uint32_t, TraceWriter> writers;
};

// Entered at 0, decoded at 1000, stored at 2000, sent at 3000, answered at 90000, written at
// 100000.
inline KeptRequest Request(uint16_t slot, uint8_t members) {
  KeptRequest request;
  request.source.stage = Stage::kIngress;
  request.source.incarnation = kIngress;
  RequestRecord& r = request.record;
  r.trace = {0xaaaa, slot};
  r.span = 0x100u + slot;
  r.parent = 7;
  r.entered_ns = kBase;
  r.accepted_ns = kBase + 1'000;
  r.stored_ns = kBase + 2'000;
  r.submitted_ns = kBase + 3'000;
  r.answered_ns = kBase + 90'000;
  r.written_ns = kBase + 100'000;
  r.id = PartId{slot, 1, 0, 0}.Pack();
  r.members = members;
  r.execution[0] = kExecution;
  if (members > 1) r.execution[1] = kOther;
  r.why = kWhySampled;
  r.method = TraceMethod::kGrpcInfer;
  r.model = 3;
  return request;
}

inline ModelNames Names() {
  return {[](uint32_t, uint8_t slot) {
            return ModelName{"slot" + std::to_string(slot), "1"};
          },
          [](uint32_t, uint16_t route) {
            return ModelName{"route" + std::to_string(route), "2"};
          }};
}

inline const KeptSpan* Find(const KeptTrace& trace, std::string_view name) {
  for (const KeptSpan& span : trace.spans) {
    if (span.name == name) return &span;
  }
  return nullptr;
}

inline std::string Text(const KeptSpan& span, std::string_view name) {
  for (const SpanAttribute& one : span.attributes) {
    if (one.name != name) continue;
    const auto* text = std::get_if<std::string>(&one.value);
    return text != nullptr ? *text : std::to_string(std::get<int64_t>(one.value));
  }
  return "none";
}

// Each span lies within its parent, and has one.
inline void ExpectNested(const KeptTrace& trace) {
  for (const KeptSpan& span : trace.spans) {
    EXPECT_LE(span.begin_ns, span.end_ns) << span.name;
    if (&span == &trace.root()) continue;
    const KeptSpan* parent = nullptr;
    for (const KeptSpan& other : trace.spans) {
      if (other.id == span.parent) parent = &other;
    }
    ASSERT_NE(parent, nullptr) << span.name;
    EXPECT_GE(span.begin_ns, parent->begin_ns) << span.name;
    EXPECT_LE(span.end_ns, parent->end_ns) << span.name;
  }
}

}  // namespace millrace
