#include "tools/millrace/status_report.h"

#include "gtest/gtest.h"
#include "tools/millrace/rollout_report.h"

namespace millrace {
namespace {

using nlohmann::json;

json Kernel(const std::string& model, const std::string& why_not, int from, json buckets) {
  return {{"model", model},     {"version", "1"},     {"device_from_rows", from},
          {"why_not", why_not}, {"device_bytes", 17}, {"buckets", std::move(buckets)}};
}

json Bucket(int rows, int64_t cpu_ns, int64_t device_ns, bool estimated = false) {
  return {{"rows", rows},
          {"cpu_ns", cpu_ns},
          {"device_ns", device_ns},
          {"cpu_estimated", estimated},
          {"device_estimated", false}};
}

json Process(const std::string& stage, json counters) {
  json process = {{"name", stage + "0"},
                  {"stage", stage},
                  {"index", 0},
                  {"pid", 4321},
                  {"incarnation", 7},
                  {"state", "ready"},
                  {"restarts", 2},
                  {"uptime_ms", 5000},
                  {"beat_age_ms", 3},
                  {"queue_depth", 11},
                  {"counters", counters},
                  {"cpus", "0-1,4"},
                  {"wait", stage == "registry" ? json() : json("yield")}};
  if (stage == "execution") {
    process["device"] = {{"cpu", "cpu-avx2"},
                         {"device", ""},
                         {"state", "no_driver"},
                         {"why_not", "no NVIDIA driver on this machine; serving from the CPU"}};
    process["device_losses"] = 0;
    process["kernels"] = {Kernel("m", "", 0, json::array()), Kernel("n", "", 0, json::array())};
  }
  return process;
}

json Golden(bool ready, json age_ms, json failure, json failure_age_ms) {
  return {{"ready", ready},
          {"age_ms", std::move(age_ms)},
          {"last_failure", std::move(failure)},
          {"last_failure_age_ms", std::move(failure_age_ms)}};
}

json Status() {
  return {{"ok", true},
          {"phase", "running"},
          {"ready", true},
          {"uptime_ms", 65'000},
          {"deaths", 2},
          {"hangs", 1},
          {"last_reroute_us", 150},
          {"foreign_cores", 0.74},
          {"listeners", {{{"name", "grpc"}, {"address", "127.0.0.1:8001"}}}},
          {"processes",
           {Process("registry", json::object()),
            Process("ingress", {{"answered", 90}, {"in_flight", 4}, {"replayed", 5}}),
            Process("execution", {{"answered", 89}, {"in_flight", 1000}})}},
          {"waiting", {{{"name", "features0"}, {"starts_in_ms", 100}, {"failures", 3}}}},
          {"catalog",
           {{"models",
             {{{"name", "m"},
               {"version", "1"},
               {"platform", "xgboost"},
               {"view", ""},
               {"golden", Golden(true, 250, nullptr, nullptr)}},
              {{"name", "n"},
               {"version", "2"},
               {"platform", "lightgbm"},
               {"view", "v"},
               {"golden", Golden(false, nullptr, "answered INTERNAL", 3000)}}}},
            {"failed", {{{"name", "bad"}, {"version", "3"}, {"reason", "cut short"}}}}}}};
}

void ExpectHolds(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
}

TEST(StatusReportTest, TellsProcessesRequestsAndModels) {
  const absl::StatusOr<std::string> text = RenderStatus(Status());
  ASSERT_TRUE(text.ok()) << text.status();
  ExpectHolds(*text, "ready, up 65 s; grpc 127.0.0.1:8001\n");
  ExpectHolds(
      *text,
      "PROCESS     PID   INCARNATION  STATE  RESTARTS  BEAT  WAIT   CPUS   QUEUE  ANSWERED  UP\n"
      "registry0   4321  7            ready  2         3 ms  -      0-1,4  -      -         5 s\n"
      "ingress0    4321  7            ready  2         3 ms  yield  0-1,4  11     90        5 s\n");
  ExpectHolds(*text, "features0 is down, starts in 100 ms\n");
  ExpectHolds(*text, "requests: in flight 4, answered 90, failed 0, refused 0, replayed 5");
  ExpectHolds(*text,
              "deaths 2, hangs 1; other programs keep 0.7 cores busy; the last death was routed "
              "around after 150 us\n");
  ExpectHolds(*text, "m      1        xgboost   -             ready, right 250 ms ago\n");
  ExpectHolds(*text,
              "n      2        lightgbm  v             NOT READY; 3 s ago: answered INTERNAL\n");
  ExpectHolds(*text, "NOT SERVED: bad version 3: cut short\n");
  EXPECT_EQ(text->find("EVICTED"), std::string::npos);
  EXPECT_EQ(text->find("in each execution worker"), std::string::npos) << "there is no budget";
}

TEST(StatusReportTest, MemoryOfModels) {
  json status = Status();
  status["catalog"]["evicted"] = {{{"name", "idle"}, {"version", "4"}}};
  status["catalog"]["memory"] = {{"bytes", 1'572'864}, {"budget_bytes", 4'194'304}};
  const std::string text = *RenderStatus(status);
  ExpectHolds(text,
              "EVICTED: idle version 4: was idle and made room; `millrace model load` takes it in");
  ExpectHolds(text, "Models take 1.50 of 4.00 MB in each execution worker\n");
}

TEST(StatusReportTest, PhasesAndDurations) {
  json status = Status();
  status["ready"] = false;
  status["uptime_ms"] = 7'200'000;
  status["last_reroute_us"] = nullptr;
  status["foreign_cores"] = nullptr;
  std::string text = *RenderStatus(status);
  ExpectHolds(text, "not ready, up 2 h;");
  EXPECT_EQ(text.find("routed around"), std::string::npos);
  EXPECT_EQ(text.find("other programs"), std::string::npos);
  status["phase"] = "draining";
  status["uptime_ms"] = 7'199'999;
  ExpectHolds(*RenderStatus(status), "draining, up 119 min;");
}

TEST(StatusReportTest, TellsWhyThereIsNoDevice) {
  ExpectHolds(*RenderStatus(Status()),
              "\nexecution0: cpu-avx2; no NVIDIA driver on this machine; serving from the "
              "CPU\n  m 1: cpu-avx2\n  n 1: cpu-avx2\n");
}

TEST(StatusReportTest, TellsWhatWasMeasuredAndWhatIsUsed) {
  json status = Status();
  json& execution = status["processes"][2];
  execution["device"]["device"] = "Fake device 0 (sm_90)";
  execution["counters"]["device_batches"] = 12;
  execution["counters"]["device_halved"] = 2;
  execution["counters"]["device_fell_back"] = 1;
  execution["kernels"] = {
      Kernel("m", "", 9,
             {Bucket(8, 900, 21'049), Bucket(16, 31'000, 25'000),
              Bucket(4096, 52'000'000, 9'960'000, true)}),
      Kernel("always", "", 1, {Bucket(1, 31'000, 25'000)}),
      Kernel("never", "", 0, {Bucket(1, 900, 25'000)}),
      Kernel("big", "the device does not take it: RESOURCE_EXHAUSTED: 9 GiB", 0, json::array()),
      Kernel("forced", "", 32, json::array())};
  const std::string text = *RenderStatus(status);
  ExpectHolds(text,
              "execution0: cpu-avx2; cuda Fake device 0 (sm_90)\n"
              "  batches on the device 12; out of device memory and halved 2; ended on the CPU 1\n"
              "  m 1: rows 8: cpu 0.9 us *, cuda 21 us | 16: cpu 31 us, cuda 25 us * | "
              "4096: cpu ~52.0 ms, cuda 10.0 ms *\n"
              "  always 1: rows 1: cpu 31 us, cuda 25 us *\n"
              "  never 1: rows 1: cpu 0.9 us *, cuda 25 us\n"
              "  big 1: cpu-avx2; the device does not take it: RESOURCE_EXHAUSTED: 9 GiB\n"
              "  forced 1: cuda from 32 rows on, as configured; cpu-avx2\n");
}

TEST(StatusReportTest, AnotherFormIsAFaultNotACrash) {
  EXPECT_TRUE(absl::IsInternal(RenderStatus(json::object()).status()));
  json status = Status();
  status["processes"][0].erase("pid");
  EXPECT_TRUE(absl::IsInternal(RenderStatus(status).status()));
  status = Status();
  status["catalog"]["models"][0]["name"] = 7;
  EXPECT_TRUE(absl::IsInternal(RenderStatus(status).status()));
  status = Status();
  status["processes"][2]["kernels"] = {7};
  EXPECT_TRUE(absl::IsInternal(RenderStatus(status).status()));
}

json RolloutReply() {
  json running = {{"name", "churn"},
                  {"from", "1"},
                  {"to", "2"},
                  {"phase", "running"},
                  {"step", 1},
                  {"of_steps", 5},
                  {"share", 5.0},
                  {"reason", ""},
                  {"waits_for", "the step's time"},
                  {"journal", {{{"ms", 1'700'000'000'123}, {"who", "ann"}, {"what", "began"}}}}};
  running["seen"] = {{"baseline", {{"requests", 900}, {"errors", 3}, {"internal", 0}}},
                     {"candidate", {{"requests", 50}, {"errors", 1}, {"internal", 1}}},
                     {"compared_copies", 49},
                     {"changed_rows", 2},
                     {"compared_rows", 80}};
  json ended = {{"name", "fraud"},
                {"from", "7"},
                {"to", "8"},
                {"phase", "rolled_back"},
                {"step", 0},
                {"of_steps", 5},
                {"share", 0.0},
                {"reason", "slow: 9 of 10"},
                {"journal", json::array()}};
  return {{"rollouts", {running, ended}}};
}

TEST(RolloutReportTest, SaysWhereEachStandsAndWhy) {
  const std::string line =
      "rollout of churn: version 1 to 2, running, step 2 of 5, 5 % of the requests; waits for the "
      "step's time\n";
  EXPECT_EQ(*RenderRollouts(RolloutReply(), true), line);
  EXPECT_EQ(*RenderRollouts(RolloutReply(), false),
            line +
                "  baseline   900 requests, 3 errors, 0 of them crashes\n"
                "  candidate  50 requests, 1 errors, 1 of them crashes\n"
                "  compared   49 copies in this step; 2 of 80 rows changed so far\n"
                "  2023-11-14T22:13:20.123Z  ann: began\n"
                "rollout of fraud: version 7 to 8, rolled_back, step 1 of 5, 0 % of the requests\n"
                "  because    slow: 9 of 10\n");
}

TEST(RolloutReportTest, AnotherFormIsAFaultNotACrash) {
  EXPECT_TRUE(absl::IsInternal(RenderRollouts(json::object(), true).status()));
  json reply = RolloutReply();
  reply["rollouts"][0].erase("step");
  EXPECT_TRUE(absl::IsInternal(RenderRollouts(reply, true).status()));
  reply = RolloutReply();
  reply["rollouts"][0]["seen"]["baseline"] = 7;
  EXPECT_TRUE(absl::IsInternal(RenderRollouts(reply, false).status()));
}

}  // namespace
}  // namespace millrace
