// Which requests are kept, and what the lane writes down of them.
#include "services/ingress/core/request_tracer.h"

#include "services/ingress/core/testing/ingress_rig.h"

namespace millrace {
namespace {

constexpr int64_t kNow = 1'000 * kNanosPerSecond;

Config Tracing(int64_t ppm, int64_t slow_ms) {
  Config config;
  config.trace_sample_ppm = ppm;
  config.trace_slow_ms = slow_ms;
  return config;
}

TraceEntry Of(bool sampled) {
  TraceEntry entry;
  entry.parent = {{1, 2}, 3, sampled};
  entry.entered_ns = kNow;
  return entry;
}

FlightTrace Begun(RequestTracer* tracer, const TraceEntry& entry, size_t slot) {
  FlightTrace flight;
  tracer->Begin(entry, kNow, slot, &flight);
  return flight;
}

class RequestTracerTest : public ::testing::Test {
 protected:
  TraceWriter ring_ = *TraceWriter::Create(1, kRequestRecords, kRequestRecordWords);
};

TEST_F(RequestTracerTest, SamplesAsManyAsAskedFor) {
  RequestTracer tracer(Tracing(10'000, 100), 1);
  int sampled = 0;
  for (int i = 0; i < 200'000; ++i) {
    const FlightTrace flight = Begun(&tracer, {}, 0);
    if (!flight.own.sampled) {
      EXPECT_FALSE(RequestTracer::Told(flight).valid());
      continue;
    }
    ++sampled;
    EXPECT_TRUE(flight.own.valid());
    EXPECT_EQ(flight.parent, 0u);
    EXPECT_EQ(tracer.Keeps(flight, false, kNow, &ring_), kWhySampled);
  }
  EXPECT_NEAR(sampled, 2'000, 250);  // more than five standard deviations
  RequestTracer all(Tracing(1'000'000, 100), 1), none(Tracing(0, 100), 1);
  EXPECT_TRUE(Begun(&all, {}, 0).own.sampled);
  EXPECT_FALSE(Begun(&none, {}, 0).own.sampled);
}

TEST_F(RequestTracerTest, AClientsTraceIsGoneOnWithAndItsFlagObeyed) {
  RequestTracer all(Tracing(1'000'000, 100), 1), none(Tracing(0, 100), 1);
  const FlightTrace not_wanted = Begun(&all, Of(false), 0);
  EXPECT_EQ(not_wanted.own.trace, (TraceId{1, 2}));
  EXPECT_NE(not_wanted.own.span, 3u);
  EXPECT_EQ(not_wanted.parent, 3u);
  EXPECT_EQ(all.Keeps(not_wanted, false, kNow, &ring_), 0);
  EXPECT_TRUE(RequestTracer::Told(not_wanted).valid());
  EXPECT_FALSE(RequestTracer::Told(not_wanted).sampled);
  const FlightTrace wanted = Begun(&none, Of(true), 0);
  EXPECT_EQ(none.Keeps(wanted, false, kNow, &ring_), kWhySampled);
  TraceEntry wrong = Of(true);
  wrong.parent.span = 0;
  EXPECT_FALSE(Begun(&none, wrong, 0).own.valid());
}

TEST_F(RequestTracerTest, SlowAndFailedOnesAreKeptWithinBounds) {
  RequestTracer tracer(Tracing(0, 100), 1);
  const FlightTrace flight = Begun(&tracer, Of(false), 0);
  const int64_t slow = kNow + 100 * kNanosPerMilli;
  EXPECT_EQ(tracer.Keeps(flight, false, slow - 1, &ring_), 0);
  EXPECT_EQ(tracer.Keeps(flight, false, slow, &ring_), kWhySlow);
  EXPECT_EQ(tracer.Keeps(flight, true, kNow, &ring_), kWhyFailed);
  EXPECT_EQ(tracer.Keeps(flight, true, slow, &ring_), kWhyFailed | kWhySlow);
  int kept = 0;
  for (int i = 0; i < 1'000; ++i) kept += tracer.Keeps(flight, false, slow, &ring_) != 0;
  EXPECT_EQ(kept, RequestTracer::kTailsASecond - 1);
  auto reader = TraceReader::Open(ring_.region().fd().get(), 1, kRequestRecordWords);
  EXPECT_EQ(reader->skipped(), 1'000u - static_cast<uint64_t>(kept));
  // A second later there are as many more.
  kept = 0;
  for (int i = 0; i < 1'000; ++i) {
    kept += tracer.Keeps(flight, false, slow + 3 * kNanosPerSecond, &ring_) != 0;
  }
  EXPECT_EQ(kept, RequestTracer::kTailsASecond);
  EXPECT_EQ(tracer.Keeps(flight, false, slow, nullptr), 0) << "there is no ring";
}

TEST_F(RequestTracerTest, TracestateIsPassedOnOrLeftOut) {
  RequestTracer tracer(Tracing(0, 100), 2);
  const std::string longest(kMaxTraceState, 's'), longer(kMaxTraceState + 1, 's');
  for (const std::string& state : {std::string("a=1,b=2"), longest, longer}) {
    TraceEntry entry = Of(true);
    entry.state = state;
    const FlightTrace flight = Begun(&tracer, entry, 1);
    const RequestRecord record = tracer.RecordOf(flight, kWhySampled, 1);
    EXPECT_EQ(std::string(record.state, record.state_bytes),
              state.size() <= kMaxTraceState ? state : "");
  }
}

TEST_F(RequestTracerTest, WithoutAnObserverNothingIsTraced) {
  Config config = Tracing(1'000'000, 1);
  config.metrics_listen = "";
  RequestTracer without(config, 1);
  EXPECT_FALSE(without.on());
  EXPECT_EQ(without.Keeps(Begun(&without, Of(true), 0), true, kNow, &ring_), 0);
  config = Tracing(1'000'000, 1);
  config.tracing = "false";
  EXPECT_FALSE(RequestTracer(config, 1).on());
}

class TracedLaneTest : public IngressRigTest {
 protected:
  TracedLaneTest()
      : ring_(*TraceWriter::Create(1, kRequestRecords, kRequestRecordWords)),
        work_(*TraceWriter::Create(2, kWorkRecords, kWorkRecordWords)),
        requests_(*TraceReader::Open(ring_.region().fd().get(), 1, kRequestRecordWords)),
        works_(*TraceReader::Open(work_.region().fd().get(), 2, kWorkRecordWords)) {
    ingress_.lane.set_traces(&ring_);
  }
  RequestId Send(float value, Answer* answer, const TraceEntry& trace, int64_t deadline_ns = 0) {
    const int64_t shape[] = {1, 1};
    const TensorView input = {
        "input", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
    InferRequest request;
    request.model = "plain";
    request.inputs = {&input, 1};
    request.deadline_ns = deadline_ns;
    request.trace = trace;
    return lane_.Infer(request, answer);
  }

  TraceWriter ring_, work_;
  TraceReader requests_, works_;
};

TEST_F(TracedLaneTest, WhatWasKeptNamesItsPartInTheWorkersRing) {
  auto execution = AddExecution();
  execution->lane.lane.set_traces(&work_);
  Answer first, second;
  TraceEntry entry;
  entry.parent = {{1, 2}, 3, true};
  entry.entered_ns = MonotonicNanos();
  entry.method = TraceMethod::kHttpInfer;
  Send(1, &first, {});
  Send(2, &second, entry);
  Settle({execution.get()});
  ASSERT_TRUE(first.status.ok() && second.status.ok());
  ASSERT_EQ(requests_.End(), 1u) << "the client of the other did not ask for it";
  ASSERT_EQ(works_.End(), 2u) << "a worker writes down each part";
  RequestRecord request;
  ASSERT_TRUE(requests_.Read(0, &request));
  EXPECT_EQ(request.trace, (TraceId{1, 2}));
  EXPECT_EQ(request.parent, 3u);
  EXPECT_EQ(request.method, TraceMethod::kHttpInfer);
  EXPECT_EQ(request.execution[0], execution->lane.lane.id().incarnation);
  EXPECT_EQ(request.code, 0);
  const int64_t order[] = {request.entered_ns,   request.accepted_ns, request.stored_ns,
                           request.submitted_ns, request.answered_ns, request.written_ns};
  EXPECT_TRUE(std::is_sorted(std::begin(order), std::end(order)));
  WorkRecord part;
  int found = 0;
  for (uint64_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(works_.Read(i, &part));
    if (part.id != request.id || part.origin != ingress_.lane.id().incarnation) continue;
    ++found;
    EXPECT_GE(part.end_ns, part.begin_ns);
    EXPECT_LE(request.submitted_ns, part.end_ns);
    EXPECT_LE(part.end_ns, request.answered_ns);
    EXPECT_EQ(part.route, 12);
  }
  EXPECT_EQ(found, 1);
}

TEST_F(TracedLaneTest, AFailureIsKeptWhereverItHappened) {
  Answer late, refused;
  Send(1, &late, {}, MonotonicNanos() - 1);
  InferRequest unknown;
  unknown.model = "nobody";
  lane_.Infer(unknown, &refused);
  for (int i = 0; i < 10 && late.times == 0; ++i) lane_.Poll();
  EXPECT_TRUE(absl::IsNotFound(refused.status));
  ASSERT_EQ(late.times, 1);
  ASSERT_EQ(requests_.End(), 2u);
  RequestRecord record;
  for (uint64_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(requests_.Read(i, &record));
    EXPECT_EQ(record.why & kWhyFailed, kWhyFailed);
    EXPECT_TRUE(record.trace.valid() && record.span != 0) << "it begins here";
    EXPECT_EQ(record.submitted_ns, 0);
  }
}

}  // namespace
}  // namespace millrace
