#include "tools/load/report.h"

#include <pty.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "tools/load/progress.h"

namespace millrace {
namespace {

LoadRun Sweep() {
  LoadRun run;
  run.model = "m";
  run.protocol = "gRPC";
  run.address = "a:1";
  run.arrivals = "poisson";
  run.compared = true;
  for (const double rate : {1000.0, 2500.5}) {
    LoadPoint& point = run.points.emplace_back();
    point.rate_per_s = rate;
    point.in_flight = 4096;
    point.result.sent = point.result.answered = 1000;
    point.result.seconds = 2;
    for (int i = 1; i <= 1000; ++i) {
      point.result.latency.Add(i * 2 * kNanosPerMicro);
      point.result.service.Add(i * kNanosPerMicro);
    }
  }
  return run;
}

bool Says(const LoadRun& run, const std::string& what) {
  return RenderLoad(run).find(what) != std::string::npos;
}

TEST(ReportTest, AGoodRunHasBothLatenciesAndNoRemark) {
  const LoadRun run = Sweep();
  const std::string text = RenderLoad(run);
  EXPECT_TRUE(Says(run, "1000/s ")) << text;
  EXPECT_TRUE(Says(run, "2500.5/s ")) << text;
  EXPECT_TRUE(Says(run, "open loop, Poisson arrivals")) << text;
  EXPECT_TRUE(Says(run, "latency ")) << text;
  EXPECT_TRUE(Says(run, "service ")) << text;
  EXPECT_FALSE(Says(run, "1000/s: ")) << text;
  EXPECT_FALSE(Says(run, "WARNING")) << text;
}

TEST(ReportTest, WhatMakesAFigureDoubtfulIsSaid) {
  LoadRun run = Sweep();
  DriveResult& result = run.points[1].result;
  result.late = 10;
  result.worst_late_ns = 2500 * kNanosPerMicro;
  EXPECT_TRUE(Says(run, "2500.5/s: 10 of 1000 sent more than 1 ms late, the worst 2.5 ms"));
  EXPECT_FALSE(Says(run, "WARNING")) << "one per cent";
  result.late = 11;
  EXPECT_TRUE(Says(run, "WARNING: the latency tells of this client"));
  result.held_back = 7;
  EXPECT_TRUE(Says(run, "7 of 1000 held back: all 4096 in flight were in use"));
  result.unsent = 5;
  EXPECT_TRUE(Says(run, "5 more were due and never sent"));
  result.errors["HTTP 503"] = {3, "full"};
  EXPECT_TRUE(Says(run, "3 x HTTP 503: full"));
  result.mismatched = 2;
  EXPECT_TRUE(Says(run, "2 answers with other bytes than expected"));
  result.warm_up_failed = 1;
  EXPECT_TRUE(Says(run, "in the warm-up failed"));
  result.stopped = true;
  EXPECT_TRUE(Says(run, "ended early by a signal"));
  result.sent = 0;
  EXPECT_TRUE(Says(run, "nothing was sent"));
}

TEST(ReportTest, JsonHoldsEveryFigure) {
  LoadRun run = Sweep();
  DriveResult& result = run.points[0].result;
  result.failed = 4;
  result.errors["TIMEOUT"] = {4, "no answer"};
  result.late = 9;
  result.unsent = 8;
  result.held_back = 7;
  const auto json = LoadJson(run);
  EXPECT_EQ(json["format"], 1);
  EXPECT_EQ(json["loop"], "open");
  EXPECT_EQ(json["arrivals"], "poisson");
  ASSERT_EQ(json["points"].size(), 2U);
  const auto& point = json["points"][0];
  EXPECT_EQ(point["rate_per_s"], 1000);
  EXPECT_TRUE(point["in_flight"].is_null());
  EXPECT_EQ(point["answers_per_s"], 500);
  EXPECT_EQ(point["errors"]["TIMEOUT"]["count"], 4);
  EXPECT_EQ(point["errors"]["TIMEOUT"]["example"], "no answer");
  EXPECT_EQ(point["late"], 9);
  EXPECT_EQ(point["unsent"], 8);
  EXPECT_EQ(point["held_back"], 7);
  for (const char* key : {"count", "mean", "min", "p50", "p90", "p95", "p99", "p99_9", "max"}) {
    EXPECT_TRUE(point["latency_us"].contains(key)) << key;
    EXPECT_TRUE(point["service_us"].contains(key)) << key;
  }
  EXPECT_EQ(point["latency_us"]["max"], 2000);
  EXPECT_EQ(point["service_us"]["max"], 1000);
  EXPECT_NEAR(point["service_us"]["p50"].get<double>(), 500, 2);
}

TEST(ReportTest, AClosedLoopSaysThatItWaits) {
  LoadRun run = Sweep();
  for (LoadPoint& point : run.points) point.rate_per_s = 0;
  EXPECT_TRUE(Says(run, "closed loop"));
  EXPECT_TRUE(Says(run, "4096 in flight"));
  EXPECT_FALSE(Says(run, "corrected"));
  EXPECT_EQ(LoadJson(run)["loop"], "closed");
  EXPECT_EQ(LoadJson(run)["points"][0]["in_flight"], 4096);
}

TEST(ReportTest, TheVerdictIsThatOfTheWorstPoint) {
  LoadRun run = Sweep();
  EXPECT_TRUE(LoadIsGood(run, 0));
  run.points[1].result.answered = 990;
  run.points[1].result.failed = 10;
  EXPECT_FALSE(LoadIsGood(run, 0));
  EXPECT_FALSE(LoadIsGood(run, 0.009));
  EXPECT_TRUE(LoadIsGood(run, 0.011));
  run.points[1].result = DriveResult();
  EXPECT_FALSE(LoadIsGood(run, 0.5)) << "nothing was sent";
  EXPECT_FALSE(LoadIsGood(LoadRun(), 1)) << "no point at all";
}

DriveProgress Half(const DriveResult* result) {
  DriveProgress progress;
  progress.done_share = 0.5;
  progress.elapsed_ns = 12 * kNanosPerSecond;
  progress.result = result;
  return progress;
}

TEST(ProgressTest, TheLineTellsHowFarItIs) {
  DriveResult result;
  result.sent = 500;
  result.failed = 1;
  result.mismatched = 2;
  DriveProgress progress = Half(&result);
  const std::string line = ProgressLine("9/s", progress, 200);
  EXPECT_NE(line.find("9/s [############            ]  50%  12 s  500 sent  3 failed"),
            std::string::npos)
      << line;
  EXPECT_EQ(ProgressLine("9/s", progress, 20).size(), 20U);
  progress.warming_up = true;
  EXPECT_NE(ProgressLine("9/s", progress, 200).find("warm-up"), std::string::npos);
  progress.done_share = -1;
  EXPECT_EQ(ProgressLine("9/s", progress, 200).find('%'), std::string::npos) << "no end is known";
}

std::string ReadAll(int fd) {
  std::string text(4096, '\0');
  const ssize_t got = read(fd, text.data(), text.size());
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

TEST(ProgressTest, ATerminalGetsItAndIsLeftClean) {
  int terminal = -1, program = -1;
  const winsize size = {24, 30, 0, 0};
  ASSERT_EQ(openpty(&terminal, &program, nullptr, nullptr, &size), 0);
  const DriveResult result;
  {
    ProgressBar bar(program);
    EXPECT_TRUE(bar.shown());
    bar.Show("9/s", Half(&result));
    EXPECT_EQ(ReadAll(terminal), "\r\x1b[K" + ProgressLine("9/s", Half(&result), 29));
  }
  EXPECT_EQ(ReadAll(terminal), "\r\x1b[K");
  close(terminal);
  close(program);
}

TEST(ProgressTest, NothingElseGetsIt) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const DriveResult result;
  {
    ProgressBar bar(ends[1]);
    EXPECT_FALSE(bar.shown());
    bar.Show("9/s", Half(&result));
  }
  close(ends[1]);
  EXPECT_EQ(ReadAll(ends[0]), "");
  close(ends[0]);
}

}  // namespace
}  // namespace millrace
