// Traces of a whole server, as a collector built on PyPI's opentelemetry-proto receives them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.h"
#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

constexpr char kParentSpan[] = "00f067aa0ba902b7";
constexpr char kPerson[] =
    R"({"instances": [{"coinsurance": 25, "plan": "family", "incentive": 568.8,)"
    R"( "expenditure_limit": 2275.2, "limitation": 0, "diseases": 3.4, "health": "good"}]})";

std::string DigitsBody() {
  std::string data = "0";
  for (int i = 1; i < 64; ++i) data += ",0";
  return R"({"inputs":[{"name":"input","shape":[1,64],"datatype":"FP32","data":[)" + data + "]}]}";
}

// The python of the receiver's environment.
const std::string& Python() {
  static const std::string python = [] {
    std::string said = Child({"/bin/bash", "services/e2e/otlp_python.sh"}, true).Output();
    while (!said.empty() && said.back() == '\n') said.pop_back();
    MR_CHECK(!said.empty(), "an environment for the OTLP receiver");
    return said;
  }();
  return python;
}

class Receiver {
 public:
  Receiver()
      : path_(MakePath()),
        child_({Python(), "-B", "services/e2e/otlp_receiver.py", path_}, false) {}

  // "http://127.0.0.1:PORT" or "grpc://...", once it listens.
  std::string Endpoint(const std::string& by) {
    while (Lines().empty()) {
      MR_CHECK(!child_.Poll().has_value(), "the receiver runs");
      usleep(10'000);
    }
    return by + "://127.0.0.1:" + std::to_string(Lines()[0][by].get<int>());
  }

  // All spans that came, by trace; what was no OTLP is a failure of the test.
  std::map<std::string, std::vector<json>> Traces() {
    std::map<std::string, std::vector<json>> traces;
    for (const json& line : Lines()) {
      EXPECT_FALSE(line.contains("fault")) << line.dump();
      if (!line.contains("spans")) continue;
      for (const json& span : line["spans"]) {
        traces[span["trace_id"]].push_back(span);
        came_by_.insert(line["by"].get<std::string>());
      }
    }
    return traces;
  }
  const std::set<std::string>& came_by() const { return came_by_; }

 private:
  static std::string MakePath() {
    static int number = 0;
    const std::string path = testing::TempDir() + "/otlp" + std::to_string(++number);
    remove(path.c_str());
    return path;
  }
  std::vector<json> Lines() const {
    std::vector<json> lines;
    std::ifstream file(path_);
    for (std::string line; std::getline(file, line);) {
      json one = json::parse(line, nullptr, false);
      if (!one.is_discarded()) lines.push_back(std::move(one));
    }
    return lines;
  }

  const std::string path_;
  Child child_;
  std::set<std::string> came_by_;
};

std::string TraceId(int number) {
  char text[33];
  snprintf(text, sizeof text, "4bf92f3577b34da6a3ce929d%08x", static_cast<unsigned>(number));
  return text;
}

std::string TraceField(const std::string& trace, const std::string& flags) {
  return "traceparent: 00-" + trace + "-" + kParentSpan + "-" + flags + "\r\n";
}

std::string Tracing(const std::string& endpoint, const std::string& more) {
  return "tracing:\n  sample_ppm: 0\n  otlp_endpoint: " + endpoint + "\n" + more;
}

// The lanes have their rings a moment after they serve: until one of both kinds has told.
void WaitForTraces(Tree& tree) {
  const std::string http = tree.Address("http"), metrics = tree.Address("metrics");
  int number = 0x7000'0000;
  tree.WaitUntil("a trace is whole", [&] {
    HttpCall(http, "/v1/models/randhie:predict", kPerson, TraceField(TraceId(number++), "01"))
        .Finish();
    const json shown = HttpCall(metrics, "/api/traces?limit=1", "").Finish().Json();
    if (!shown.is_object() || shown["kept"].empty()) return false;
    std::set<std::string> stages;
    for (const json& span : shown["kept"][0]["spans"]) stages.insert(span["stage"]);
    return stages.size() == 4;
  });
}

const json& Root(const std::vector<json>& spans) {
  static const json none;
  for (const json& span : spans) {
    if (span["kind"] == 2) return span;
  }
  return none;
}

// Each span but the root lies within its parent, which is there, too.
void ExpectNested(const std::vector<json>& spans) {
  std::map<std::string, json> by_id;
  for (const json& span : spans) {
    EXPECT_TRUE(by_id.emplace(span["span_id"], span).second) << "an id stands twice";
  }
  for (const json& span : spans) {
    EXPECT_LE(span["start"], span["end"]) << span.dump();
    if (span["kind"] == 2) continue;
    ASSERT_EQ(by_id.count(span["parent_span_id"]), 1u) << span.dump();
    const json& parent = by_id[span["parent_span_id"]];
    EXPECT_GE(span["start"], parent["start"]) << span.dump();
    EXPECT_LE(span["end"], parent["end"]) << span.dump();
  }
}

std::set<std::string> Names(const std::vector<json>& spans) {
  std::set<std::string> names;
  for (const json& span : spans) names.insert(span["name"]);
  return names;
}

class TracesTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TracesTest, AWholeTreeArrives) {
  Receiver receiver;
  Tree::Options options;
  options.config = Tracing(receiver.Endpoint(GetParam()), "");
  auto tree = Tree::Start(options);
  WaitForTraces(*tree);
  const std::string http = tree->Address("http");
  const HttpAnswer answer =
      HttpCall(http, "/v1/models/randhie:predict", kPerson,
               TraceField(TraceId(1), "01") + "tracestate: vendor=a,other=b\r\n")
          .Finish();
  ASSERT_EQ(answer.code, 200) << answer.body;
  // A client that does not want to be traced is not; one whose header is wrong gets a new trace.
  HttpCall(http, "/v1/models/randhie:predict", kPerson, TraceField(TraceId(2), "00")).Finish();
  HttpCall(http, "/v1/models/randhie:predict", kPerson, TraceField(TraceId(3) + "x", "01"))
      .Finish();
  const json told =
      json::parse(Child({Python(), "-B", "services/e2e/otlp_client.py", tree->Address("grpc"),
                         "digits", "64", "00-" + TraceId(4) + "-" + kParentSpan + "-01", "v=g"},
                        true)
                      .Output());
  EXPECT_EQ(told["code"], "OK") << told.dump();
  std::map<std::string, std::vector<json>> traces;
  tree->WaitUntil("the collector has both", [&] {
    traces = receiver.Traces();
    return traces.count(TraceId(1)) > 0 && traces.count(TraceId(4)) > 0;
  });
  EXPECT_EQ(receiver.came_by(), std::set<std::string>{GetParam()});
  EXPECT_EQ(traces.count(TraceId(2)) + traces.count(TraceId(3)), 0u);

  const std::vector<json>& spans = traces[TraceId(1)];
  ExpectNested(spans);
  EXPECT_THAT(Names(spans), IsSupersetOf({"http infer", "decode", "admit", "wait", "queue",
                                          "features", "batch", "execute", "aggregate", "respond"}));
  const json& root = Root(spans);
  EXPECT_EQ(root["parent_span_id"], kParentSpan);
  EXPECT_EQ(root["trace_state"], "vendor=a,other=b");
  EXPECT_EQ(root["resource"]["service.name"], "millrace");
  EXPECT_EQ(root["attributes"]["model"], "randhie");
  EXPECT_EQ(root["attributes"]["http.request.method"], "POST");
  EXPECT_EQ(root["status"], 0);
  // The answer names the root, and carries the state.
  EXPECT_THAT(answer.head, HasSubstr("traceparent: 00-" + TraceId(1) + "-" +
                                     root["span_id"].get<std::string>() + "-01\r\n"));
  EXPECT_THAT(answer.head, HasSubstr("tracestate: vendor=a,other=b\r\n"));
  // Both members ran, each in the worker that the status names.
  const json execution = tree->Process("execution0");
  std::set<std::string> members;
  for (const json& span : spans) {
    if (span["name"] != "execute") continue;
    const json& attributes = span["attributes"];
    members.insert(attributes["model"]);
    EXPECT_EQ(attributes["worker"], "execution0");
    EXPECT_EQ(attributes["incarnation"], execution["incarnation"]);
    EXPECT_EQ(attributes["device"], "cpu");
    EXPECT_GE(attributes["batch.size"], 1);
    ASSERT_FALSE(span["links"].empty());
    EXPECT_EQ(span["links"][0]["trace_id"], TraceId(1));
    EXPECT_EQ(span["links"][0]["span_id"], root["span_id"]);
  }
  EXPECT_EQ(members, (std::set<std::string>{"randhie_xgb", "randhie_lgbm"}));

  const json& by_grpc = Root(traces[TraceId(4)]);
  ExpectNested(traces[TraceId(4)]);
  EXPECT_EQ(by_grpc["name"], "grpc ModelInfer");
  EXPECT_EQ(by_grpc["parent_span_id"], kParentSpan);
  EXPECT_EQ(by_grpc["attributes"]["rpc.system.name"], "grpc");
  EXPECT_EQ(told["traceparent"],
            "00-" + TraceId(4) + "-" + by_grpc["span_id"].get<std::string>() + "-01");
  EXPECT_EQ(told["tracestate"], "v=g");
  EXPECT_EQ(tree->Stop(), 0);
}

INSTANTIATE_TEST_SUITE_P(ByBoth, TracesTest, ::testing::Values("http", "grpc"),
                         [](const auto& info) { return std::string(info.param); });

// Nobody asked for these to be traced: they are kept since they were slow, or failed.
TEST(Traces, TheTailHasEachPlantedSlowRequestAndEachFailure) {
  constexpr int kSlow = 12;
  constexpr int64_t kDelayMs = 400, kFailed = 100;
  Receiver receiver;
  Tree::Options options;
  options.enable_faults = true;
  options.config = Tracing(receiver.Endpoint("http"), "  slow_ms: 300\n") +
                   "faults:\n  rules:\n  - {stage: execution, kind: delay, delay_ms: " +
                   std::to_string(kDelayMs) +
                   ", header: slow, model: digits}\n  - {stage: features, kind: error, header: "
                   "wrong}\n";
  auto tree = Tree::Start(options);
  WaitForTraces(*tree);
  const std::string http = tree->Address("http");
  for (int i = 0; i < kSlow; ++i) {
    // Between many that are not slow.
    GoldenLoad(*tree, "digits", false, {"--requests=50", "--duration_ms=0"}).Report();
    const std::string fields = TraceField(TraceId(i), "00") + "millrace-fault: slow\r\n";
    EXPECT_EQ(HttpCall(http, "/v2/models/digits/infer", DigitsBody(), fields).Finish().code, 200);
  }
  EXPECT_EQ(HttpCall(http, "/v1/models/randhie:predict", kPerson,
                     TraceField(TraceId(kFailed), "00") + "millrace-fault: wrong\r\n")
                .Finish()
                .code,
            503);
  EXPECT_EQ(HttpCall(http, "/v2/models/nobody/infer", DigitsBody(),
                     TraceField(TraceId(kFailed + 1), "00"))
                .Finish()
                .code,
            404);
  std::map<std::string, std::vector<json>> traces;
  tree->WaitUntil("the collector has the last of them", [&] {
    traces = receiver.Traces();
    return traces.count(TraceId(kFailed + 1)) > 0;
  });
  for (int i = 0; i < kSlow; ++i) {
    ASSERT_EQ(traces.count(TraceId(i)), 1u) << i;
    const std::vector<json>& spans = traces[TraceId(i)];
    ExpectNested(spans);
    int64_t executed = 0;
    for (const json& span : spans) {
      if (span["name"] == "execute")
        executed += span["end"].get<int64_t>() - span["start"].get<int64_t>();
    }
    EXPECT_GE(executed, kDelayMs * 1'000'000) << "the span says where the time went";
  }
  const json& wrong = Root(traces[TraceId(kFailed)]);
  EXPECT_EQ(wrong["attributes"]["code"], "UNAVAILABLE");
  EXPECT_EQ(wrong["status"], 2);
  EXPECT_EQ(Root(traces[TraceId(kFailed + 1)])["status"], 0) << "the client's own fault";
  const std::string metrics = tree->Address("metrics");
  const json failed = HttpCall(metrics, "/api/traces?why=failed&limit=1", "").Finish().Json();
  EXPECT_EQ(failed["kept"][0]["code"], "NOT_FOUND");
  EXPECT_EQ(failed["export_failed"], 0);
  EXPECT_GE(failed["exported"], kSlow + 2);
  EXPECT_EQ(HttpCall(metrics, "/api/traces?why=nothing", "").Finish().code, 400);
  EXPECT_THAT(HttpCall(metrics, "/metrics", "").Finish().body,
              HasSubstr("millrace_trace_exported_total{incarnation="));
  EXPECT_EQ(tree->Stop(), 0);
}

// The steps of a batch on a device, as its plug-in reports them.
TEST(Traces, ADevicesStepsStandInTheBatch) {
  Receiver receiver;
  char* here = realpath(".", nullptr);
  Tree::Options options;
  options.config = Tracing(receiver.Endpoint("http"), "") +
                   "execution:\n  device_from_rows: 1\n  device_library: " + std::string(here) +
                   "/kernels/device/testing/libfake_plugin.so\n";
  free(here);
  auto tree = Tree::Start(options);
  WaitForTraces(*tree);
  HttpCall(tree->Address("http"), "/v2/models/digits/infer", DigitsBody(),
           TraceField(TraceId(1), "01"))
      .Finish();
  std::map<std::string, std::vector<json>> traces;
  tree->WaitUntil("the collector has it", [&] {
    traces = receiver.Traces();
    return traces.count(TraceId(1)) > 0;
  });
  const std::vector<json>& spans = traces[TraceId(1)];
  ExpectNested(spans);
  EXPECT_THAT(Names(spans),
              IsSupersetOf({"host to device", "kernel", "synchronize", "device to host"}));
  std::string execute;
  for (const json& span : spans) {
    if (span["name"] != "execute") continue;
    execute = span["span_id"];
    EXPECT_EQ(span["attributes"]["device"], "gpu");
  }
  for (const json& span : spans) {
    if (span["name"] != "kernel") continue;
    EXPECT_EQ(span["parent_span_id"], execute);
  }
  EXPECT_THAT(HttpCall(tree->Address("metrics"), "/metrics", "").Finish().body,
              ContainsRegex("millrace_trace_gpu_seconds_count[{]model=\"digits\",version=\"1\","
                            "device=\"gpu\",incarnation=\"[0-9]+\"[}] 1"));
  EXPECT_EQ(tree->Stop(), 0);
}

// The observer dies: nothing is lost but what it had not sent, and the next one goes on.
TEST(Traces, GoOnAfterTheObserverAndAfterTheSupervisor) {
  Receiver receiver;
  Tree::Options options;
  options.config = Tracing(receiver.Endpoint("http"), "");
  auto tree = Tree::Start(options);
  WaitForTraces(*tree);
  tree->Hurt("observer0", SIGKILL);
  WaitForTraces(*tree);
  tree->KillSupervisor();
  tree->Hurt("execution0", SIGKILL);
  WaitForTraces(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Traces, CanBeTurnedOff) {
  Tree::Options options;
  options.config = "tracing: {enabled: false}\n";
  auto tree = Tree::Start(options);
  const HttpAnswer answer = HttpCall(tree->Address("http"), "/v2/models/digits/infer", DigitsBody(),
                                     TraceField(TraceId(1), "01"))
                                .Finish();
  EXPECT_EQ(answer.code, 200);
  EXPECT_EQ(answer.head.find("traceparent"), std::string::npos);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
