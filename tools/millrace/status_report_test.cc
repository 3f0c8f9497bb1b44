#include "tools/millrace/status_report.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

using nlohmann::json;

json Process(const std::string& stage, json counters) {
  return {{"name", stage + "0"},
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
             {{{"name", "m"}, {"version", "1"}, {"platform", "xgboost"}, {"view", ""}},
              {{"name", "n"}, {"version", "2"}, {"platform", "lightgbm"}, {"view", "v"}}}},
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
  ExpectHolds(*text, "n      2        lightgbm  v\n");
  ExpectHolds(*text, "NOT SERVED: bad version 3: cut short\n");
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

TEST(StatusReportTest, AnotherFormIsAFaultNotACrash) {
  EXPECT_TRUE(absl::IsInternal(RenderStatus(json::object()).status()));
  json status = Status();
  status["processes"][0].erase("pid");
  EXPECT_TRUE(absl::IsInternal(RenderStatus(status).status()));
  status = Status();
  status["catalog"]["models"][0]["name"] = 7;
  EXPECT_TRUE(absl::IsInternal(RenderStatus(status).status()));
}

}  // namespace
}  // namespace millrace
