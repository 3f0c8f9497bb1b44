#include "tools/millrace/top_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

json Pipeline() {
  const json times = {{"count", 12}, {"per_second", 5.0}, {"p50_ns", 8'200}, {"p99_ns", 1'480'000}};
  const auto stage = [](const char* name) {
    return json{{"stage", name}, {"ready", 1}, {"wanted", 2}, {"breaker", "closed"}};
  };
  const auto link = [&](const char* from, const char* to, double rate, bool answer) {
    return json{{"from", from},
                {"to", to},
                {"per_second", rate},
                {"wait", answer ? json(nullptr) : times},
                {"depth", answer ? json(nullptr) : json(3)}};
  };
  return {{"version", "0.1.0"},
          {"view_age_ns", 100'000'000},
          {"interval_ns", 2'500'000'000},
          {"ready", true},
          {"traffic",
           {{"per_second", 12'345.6},
            {"error_share", 0.0125},
            {"p50_ns", 412'000},
            {"p99_ns", nullptr},
            {"slo_share", 1.0},
            {"in_flight", 18}}},
          {"events",
           {{"deaths", 7},
            {"hangs", 0},
            {"replayed", 41},
            {"poisoned", 1},
            {"quarantined", 1},
            {"models", 5},
            {"models_failed", 0}}},
          {"stages", json::array({stage("ingress"), stage("features")})},
          {"links", json::array({link("ingress", "features", 1240, false),
                                 link("features", "ingress", 0.5, true)})},
          {"workers", json::array({{{"name", "features0"},
                                    {"state", "died"},
                                    {"incarnation", 12},
                                    {"restarts", 3},
                                    {"uptime_ns", 7'000'000'000},
                                    {"cpu_cores", 0.61},
                                    {"run_delay_cores", 0.07},
                                    {"worst_turn_ns", 21'400'000},
                                    {"resident_bytes", 180 << 20},
                                    {"lanes", 1},
                                    {"queue_depth", 4},
                                    {"busy_share", nullptr},
                                    {"per_second", 1240.0},
                                    {"work", times}}})},
          {"models", json::array({{{"model", "digits"},
                                   {"version", "1"},
                                   {"per_second", 1240.0},
                                   {"error_share", 0.0},
                                   {"p50_ns", 390'000},
                                   {"p99_ns", 1'210'000},
                                   {"run", nullptr},
                                   {"batch_rows", 3.4},
                                   {"ready", false},
                                   {"golden_age_ns", nullptr}}})},
          {"shed", json::array({{{"reason", "quota"}, {"total", 17}, {"per_second", 0.4}},
                                {{"reason", "delay"}, {"total", 0}, {"per_second", 0.0}}})}};
}

std::string Rendered(const json& pipeline, const TopScreen& screen = {}) {
  const auto text = RenderTop(pipeline, screen);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

TEST(TopReport, EverythingStandsThere) {
  const std::string text = Rendered(Pipeline());
  EXPECT_THAT(text, HasSubstr("Millrace 0.1.0  ready  numbers of the last 2.5 s\n"));
  EXPECT_THAT(text, HasSubstr("requests 12,346/s  errors 1.25 %  p50 412 us  p99 -  in time 100 %"
                              "  in flight 18\n"));
  EXPECT_THAT(text, HasSubstr("ingress 1/2 --1,240/s--> features 1/2\n"));
  EXPECT_THAT(text, HasSubstr("ingress > features   1,240/s   8.20 us   1.48 ms        3\n"));
  EXPECT_THAT(text, HasSubstr("features > ingress     0.5/s         -         -        -\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "features0  died            12         3  7.0 s  61 %     7.00 %     21.4 ms  180 MiB"));
  EXPECT_THAT(text, HasSubstr("NOT RIGHT\n"));
  EXPECT_THAT(text, HasSubstr("refused under load: quota 17 (0.4/s)\n"));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(TopReport, NoLineIsWiderThanTheScreen) {
  json pipeline = Pipeline();
  pipeline["models"][0]["model"] = "modèle_à_très_long_nom_aux_accents_éèà";
  const std::string text = Rendered(pipeline, {40, 12, false});
  std::istringstream lines(text);
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_LE(
        std::count_if(line.begin(), line.end(), [](unsigned char c) { return (c & 0xc0) != 0x80; }),
        40)
        << line;
    // No character is cut in two.
    EXPECT_NO_THROW(json(line).dump()) << line;
  }
  EXPECT_EQ(count, 12u);
}

TEST(TopReport, WhatIsWrongHasAColour) {
  const std::string text = Rendered(Pipeline(), {0, 0, true});
  EXPECT_THAT(text, HasSubstr("\033[31mfeatures0"));
  EXPECT_THAT(text, HasSubstr("\033[31mdigits"));
  json silent = Pipeline();
  silent["view_age_ns"] = 4'000'000'000;
  EXPECT_THAT(Rendered(silent, {0, 0, true}), HasSubstr("\033[33mMillrace 0.1.0  the supervisor"));
}

TEST(TopReport, NamesMoveNoCursor) {
  json pipeline = Pipeline();
  pipeline["models"][0]["model"] = "a\033[2Jb\rc\xc2\x9b";
  const std::string text = Rendered(pipeline);
  EXPECT_THAT(text, Not(HasSubstr("\033")));
  EXPECT_THAT(text, Not(HasSubstr("\r")));
  EXPECT_THAT(text, HasSubstr("a?[2Jb?c"));
}

TEST(TopReport, AnotherFormIsAnError) {
  for (const json& other : {json(nullptr), json::array(), json{{"version", 5}}}) {
    EXPECT_EQ(RenderTop(other, {}).status().code(), absl::StatusCode::kInternal);
  }
  json pipeline = Pipeline();
  pipeline["workers"][0].erase("state");
  EXPECT_FALSE(RenderTop(pipeline, {}).ok());
}

}  // namespace
}  // namespace millrace
