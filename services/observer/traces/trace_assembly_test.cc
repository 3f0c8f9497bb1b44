// From records in rings to spans.
#include "services/observer/traces/trace_assembly.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/observer/traces/trace_rig_for_test.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

TEST(TraceAssembly, ARequestHasASpanForEachStep) {
  Rings rings;
  KeptRequest request = Request(1, 1);
  request.record.features = kFeatures;
  rings.Part(kFeatures, {1, 1, 0, 0}, 10'000, 20'000, 7'000);
  // Others of the same ring, and of another attempt, are not taken for it.
  rings.Part(kExecution, {1, 1, 1, 0}, 29'000, 29'500, 0);
  rings.Step(kExecution, 4, DeviceStep::kToDevice, 40'000, 41'000);
  rings.Step(kExecution, 4, DeviceStep::kLaunch, 41'000, 43'000);
  rings.Step(kExecution, 4, DeviceStep::kSynchronize, 43'000, 60'000);
  rings.Step(kExecution, 4, DeviceStep::kToHost, 60'000, 61'000);
  rings.Batch(kExecution, 4, 40'000, 62'000, BatchPlace::kDevice);
  rings.Part(kExecution, {2, 1, 0, 0}, 29'000, 63'000, 2'000, 4);
  rings.Part(kExecution, {1, 1, 0, 0}, 30'000, 64'000, 5'000, 4);
  TraceAssembly assembly(Names());
  const auto traces = assembly.Assemble({request}, rings.sources, kUnix);
  ASSERT_EQ(traces.size(), 1u);
  const KeptTrace& trace = *traces[0];
  EXPECT_TRUE(trace.whole);
  ExpectNested(trace);
  std::vector<std::string> names;
  for (const KeptSpan& span : trace.spans) names.push_back(span.name);
  EXPECT_THAT(names, ElementsAre("grpc ModelInfer", "decode", "admit", "wait", "queue", "features",
                                 "queue", "batch", "execute", "host to device", "kernel",
                                 "synchronize", "device to host", "respond"));
  EXPECT_EQ(trace.root().parent, 7u);
  EXPECT_EQ(trace.model, "slot3");
  const KeptSpan& execute = *Find(trace, "execute");
  EXPECT_EQ(execute.begin_ns, kBase + 40'000);
  EXPECT_EQ(execute.end_ns, kBase + 62'000);
  EXPECT_EQ(Text(execute, "device"), "gpu");
  EXPECT_EQ(Text(execute, "batch.size"), "8");
  EXPECT_EQ(Text(execute, "model"), "route5");
  EXPECT_EQ(Text(execute, "incarnation"), "31");
  EXPECT_EQ(Text(execute, "worker"), "execution0");
  EXPECT_EQ(Find(trace, "kernel")->parent, execute.id);
  EXPECT_EQ(Find(trace, "batch")->begin_ns, kBase + 30'000);
  EXPECT_EQ(Find(trace, "batch")->end_ns, kBase + 40'000);
}

TEST(TraceAssembly, MembersRunBesideEachOtherAndAreJoined) {
  Rings rings;
  KeptRequest request = Request(1, 2);
  request.record.aggregation = kAggregation;
  rings.Batch(kExecution, 1, 11'000, 20'000, BatchPlace::kCpu);
  rings.Part(kExecution, {1, 1, 0, 0}, 10'000, 21'000, 1'000, 1);
  rings.Batch(kOther, 1, 12'000, 30'000, BatchPlace::kCpu);
  rings.Part(kOther, {1, 1, 0, 1}, 10'000, 31'000, 1'000, 1);
  rings.Part(kAggregation, {1, 1, 0, 1}, 40'000, 50'000, 9'000);
  TraceAssembly assembly(Names());
  const SharedTrace trace = assembly.Assemble({request}, rings.sources, kUnix)[0];
  EXPECT_TRUE(trace->whole);
  ExpectNested(*trace);
  int executes = 0;
  for (const KeptSpan& span : trace->spans) executes += span.name == "execute";
  EXPECT_EQ(executes, 2);
  EXPECT_EQ(Find(*trace, "aggregate")->begin_ns, kBase + 40'000);
}

TEST(TraceAssembly, ABatchLinksToItsRequests) {
  Rings rings;
  rings.Batch(kExecution, 9, 11'000, 20'000, BatchPlace::kCpu);
  rings.Part(kExecution, {1, 1, 0, 0}, 10'000, 21'000, 1'000, 9);
  rings.Part(kExecution, {2, 1, 0, 0}, 10'000, 22'000, 1'000, 9);
  TraceAssembly assembly(Names());
  const auto traces = assembly.Assemble({Request(1, 1), Request(2, 1)}, rings.sources, kUnix);
  const SpanLink first = {{0xaaaa, 1}, 0x101}, second = {{0xaaaa, 2}, 0x102};
  for (const SharedTrace& trace : traces) {
    EXPECT_THAT(Find(*trace, "execute")->links, ElementsAre(first, second));
  }
}

TEST(TraceAssembly, WhatIsOverwrittenMakesItIncomplete) {
  Rings rings(8);
  rings.Batch(kExecution, 9, 11'000, 20'000, BatchPlace::kCpu);
  rings.Part(kExecution, {1, 1, 0, 0}, 10'000, 21'000, 1'000, 9);
  TraceAssembly assembly(Names());
  EXPECT_TRUE(assembly.Assemble({Request(1, 1)}, rings.sources, kUnix)[0]->whole);
  for (uint16_t i = 0; i < 8; ++i) rings.Part(kExecution, {9, 1, 0, 0}, 30'000, 31'000, 0);
  const SharedTrace trace = assembly.Assemble({Request(1, 1)}, rings.sources, kUnix)[0];
  EXPECT_FALSE(trace->whole);
  EXPECT_EQ(Find(*trace, "execute"), nullptr);
  EXPECT_EQ(Text(trace->root(), "trace.whole"), "false");
  ExpectNested(*trace);
}

TEST(TraceAssembly, WhatEndedAfterTheAnswerMadeNoPartOfIt) {
  Rings rings;
  rings.Part(kExecution, {1, 1, 0, 0}, 10'000, 90'001, 1'000);
  TraceAssembly assembly(Names());
  EXPECT_FALSE(assembly.Assemble({Request(1, 1)}, rings.sources, kUnix)[0]->whole);
  KeptRequest failed = Request(1, 1);
  failed.record.code = 4;
  EXPECT_TRUE(assembly.Assemble({failed}, rings.sources, kUnix)[0]->whole);
}

TEST(TraceAssembly, WhatEndedWithTheAnswerIsAPartOfIt) {
  Rings rings;
  rings.Part(kExecution, {1, 1, 0, 0}, 10'000, 90'000, 1'000);
  TraceAssembly assembly(Names());
  EXPECT_TRUE(assembly.Assemble({Request(1, 1)}, rings.sources, kUnix)[0]->whole);
}

TEST(TraceAssembly, AHostileWorkersTimesStayWithinTheRequest) {
  Rings rings;
  WorkRecord work;
  work.id = PartId{1, 1, 0, 0}.Pack();
  work.origin = kIngress;
  work.begin_ns = INT64_MIN;
  work.end_ns = INT64_MAX;
  work.waited_ticks = UINT32_MAX;
  work.batch = 3;
  work.code = 200;
  WorkRecord batch = work;
  batch.kind = WorkKind::kBatch;
  batch.id = UINT64_MAX;
  WorkRecord step = work;
  step.kind = WorkKind::kStep;
  for (int i = 0; i < 40; ++i) rings.writers.at(kExecution).Write(step);
  rings.writers.at(kExecution).Write(batch);
  rings.writers.at(kExecution).Write(work);
  TraceAssembly assembly(Names());
  KeptRequest late = Request(1, 1);
  late.record.code = 4;  // its workers may have gone on after its end
  const SharedTrace trace = assembly.Assemble({late}, rings.sources, kUnix)[0];
  ExpectNested(*trace);
  EXPECT_NE(Find(*trace, "execute"), nullptr);
}

TEST(TraceAssembly, ARefusedRequestHasItsEntryAlone) {
  Rings rings;
  KeptRequest request = Request(1, 0);
  request.record.stored_ns = request.record.submitted_ns = 0;
  request.record.code = 14;
  request.record.why = kWhyFailed;
  TraceAssembly assembly(Names());
  const SharedTrace trace = assembly.Assemble({request}, rings.sources, kUnix)[0];
  std::vector<std::string> names;
  for (const KeptSpan& span : trace->spans) names.push_back(span.name);
  EXPECT_THAT(names, ElementsAre("grpc ModelInfer", "decode", "admit", "respond"));
  EXPECT_EQ(Text(trace->root(), "code"), "UNAVAILABLE");
}

}  // namespace
}  // namespace millrace
