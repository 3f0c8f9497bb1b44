// What is shown, sent and counted of a trace.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "services/observer/traces/otlp.h"
#include "services/observer/traces/span_metrics.h"
#include "services/observer/traces/trace_rig_for_test.h"
#include "services/observer/traces/trace_store.h"

namespace millrace {
namespace {

SharedTrace Whole(Rings& rings, uint8_t why, uint8_t code, const std::string& state = "") {
  rings.Batch(kExecution, 9, 11'000, 20'000, BatchPlace::kCpu);
  rings.Part(kExecution, {1, 1, 0, 0}, 10'000, 21'000, 1'000, 9);
  KeptRequest request = Request(1, 1);
  request.record.why = why;
  request.record.code = code;
  request.record.state_bytes = static_cast<uint16_t>(state.size());
  memcpy(request.record.state, state.data(), state.size());
  TraceAssembly assembly(Names());
  return assembly.Assemble({request}, rings.sources, kUnix)[0];
}

TEST(TraceStore, ShowsTheNewestByWhy) {
  TraceStore store;
  Rings rings;
  const SharedTrace slow = Whole(rings, kWhySlow, 0), failed = Whole(rings, kWhyFailed, 13);
  store.Add({slow});
  for (size_t i = 0; i < TraceStore::kTraces - 1; ++i) store.Add({failed});
  EXPECT_EQ(store.Newest(0, 1'000).size(), TraceStore::kTraces);
  EXPECT_EQ(store.Newest(kWhySlow, 1'000).size(), 1u);
  store.Add({failed});
  EXPECT_EQ(store.Newest(kWhySlow, 1'000).size(), 0u);
  EXPECT_EQ(store.Newest(0, 3).size(), 3u);
  TraceQuery query;
  EXPECT_TRUE(ParseTraceQuery("why=slow&limit=7&other=1", &query));
  EXPECT_EQ(query.why, kWhySlow);
  EXPECT_EQ(query.limit, 7u);
  EXPECT_FALSE(ParseTraceQuery("why=fast", &query));
  EXPECT_FALSE(ParseTraceQuery("limit=many", &query));
}

// A busy server samples many a second; who looks wants what was slow.
TEST(TraceStore, SampledOnesDoNotPushOutTheSlow) {
  TraceStore store;
  Rings rings;
  const SharedTrace slow = Whole(rings, kWhySlow | kWhySampled, 0),
                    sampled = Whole(rings, kWhySampled, 0);
  store.Add({slow});
  for (size_t i = 0; i < 3 * TraceStore::kTraces; ++i) store.Add({sampled});
  EXPECT_EQ(store.Newest(kWhySlow, 1'000).size(), 1u);
  EXPECT_EQ(store.Newest(0, 1'000).size(), TraceStore::kSampledTraces + 1);
}

TEST(TraceStore, ItsJsonIsWhatTheConsoleReads) {
  Rings rings;
  const SharedTrace trace = Whole(rings, kWhySlow | kWhySampled, 0);
  TraceTally tally;
  tally.lost = 3;
  const auto json = nlohmann::json::parse(TracesJson({trace}, tally));
  EXPECT_EQ(json["lost"], 3);
  ASSERT_EQ(json["kept"].size(), 1u);
  const auto& one = json["kept"][0];
  EXPECT_EQ(one["trace_id"], "000000000000aaaa0000000000000001");
  EXPECT_EQ(one["parent_span_id"], "0000000000000007");
  EXPECT_EQ(one["code"], "OK");
  EXPECT_EQ(one["why"], nlohmann::json({"slow", "sampled"}));
  EXPECT_EQ(one["start_unix_ns"], std::to_string(kBase + kUnix));
  EXPECT_EQ(one["duration_ns"], 100'000);
  EXPECT_EQ(one["spans"].size(), trace->spans.size());
  EXPECT_EQ(one["spans"][0]["name"], "grpc ModelInfer");
  EXPECT_EQ(one["spans"][0]["start_ns"], 0);
  EXPECT_EQ(one["spans"][1]["stage"], "ingress");
  EXPECT_TRUE(nlohmann::json::accept(TracesJson({}, {})));
}

TEST(Otlp, ItsJsonIsAsTheSpecificationHasIt) {
  Rings rings;
  const SharedTrace trace = Whole(rings, kWhySampled, 13, "a=\"1\",b=\\");
  const auto json = nlohmann::json::parse(OtlpJson(ToOtlp({trace})));
  const auto& resource = json["resourceSpans"][0];
  EXPECT_EQ(resource["resource"]["attributes"][0]["key"], "service.name");
  const auto& spans = resource["scopeSpans"][0]["spans"];
  ASSERT_EQ(spans.size(), trace->spans.size());
  const auto& root = spans[0];
  EXPECT_EQ(root["traceId"], "000000000000aaaa0000000000000001");  // hexadecimal, not base64
  EXPECT_EQ(root["spanId"], "0000000000000101");
  EXPECT_EQ(root["parentSpanId"], "0000000000000007");
  EXPECT_EQ(root["kind"], 2);  // numbers, not names
  EXPECT_EQ(root["startTimeUnixNano"], std::to_string(kBase + kUnix));
  EXPECT_EQ(root["traceState"], "a=\"1\",b=\\");
  EXPECT_EQ(root["status"]["code"], 2);
  EXPECT_EQ(spans[1]["kind"], 1);
  EXPECT_EQ(spans[1]["parentSpanId"], root["spanId"]);
  bool links = false, integers = false;
  for (const auto& span : spans) {
    links |= span.contains("links") && span["links"][0]["spanId"] == root["spanId"];
    for (const auto& one : span["attributes"]) {
      integers |= one["key"] == "batch.size" && one["value"]["intValue"] == "8";
    }
  }
  EXPECT_TRUE(links);
  EXPECT_TRUE(integers);
}

TEST(Otlp, AClientsFaultIsNoError) {
  Rings rings;
  EXPECT_EQ(ToOtlp({Whole(rings, kWhyFailed, 3)})
                .resource_spans(0)
                .scope_spans(0)
                .spans(0)
                .status()
                .code(),
            0);
}

TEST(SpanMetrics, TellTheShareOfTheSlowest) {
  SpanMetrics metrics;
  const auto add = [&](int64_t whole, int64_t gpu, uint8_t why) {
    auto trace = std::make_shared<KeptTrace>();
    trace->model = "m";
    trace->version = "1";
    trace->why = why;
    KeptSpan root, execute, kernel;
    root.id = 1;
    root.end_ns = whole;
    execute.id = 2;
    execute.parent = 1;
    execute.name = span_names::kExecute;
    execute.end_ns = gpu + 100'000;
    execute.attributes = {{"device", "gpu"}};
    kernel.id = 3;
    kernel.parent = 2;
    kernel.name = span_names::kSynchronize;
    kernel.end_ns = gpu;
    trace->spans = {root, execute, kernel};
    metrics.Add({trace});
  };
  for (int i = 0; i < 190; ++i) add(1'000'000, 900'000, kWhySampled);
  add(2'000'000, 1'000, kWhySlow);  // no sample
  const auto value = [&](const std::string& name, const std::string& step) {
    Families families;
    metrics.Show("1", &families);
    for (const auto& family : families.Take()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        if (step.empty() || metric.label.back().value == step) return metric.counter.value;
      }
    }
    return -1.0;
  };
  const double before = value("millrace_trace_slowest_seconds_total", "");
  const double gpu_before = value("millrace_trace_slowest_step_seconds_total", "gpu");
  for (int i = 0; i < 20; ++i) add(9'000'000, 3'000'000, kWhySampled);  // the slowest twentieth
  const double all = value("millrace_trace_slowest_seconds_total", "") - before;
  const double gpu = value("millrace_trace_slowest_step_seconds_total", "gpu") - gpu_before;
  EXPECT_NEAR(all, 0.18, 1e-9);
  EXPECT_NEAR(gpu / all, 1.0 / 3, 1e-6);
}

}  // namespace
}  // namespace millrace
