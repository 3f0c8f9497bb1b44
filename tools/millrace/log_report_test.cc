#include "tools/millrace/log_report.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

using nlohmann::json;

json Line(const std::string& process, int64_t pid, int64_t number) {
  return {{"seq", 5},
          {"number", number},
          {"unix_us", 1'700'000'000'000'042},
          {"process", process},
          {"pid", pid},
          {"level", "warning"},
          {"event", "worker_ended"},
          {"fields", "name=execution0 signal=9"},
          {"suppressed", 0}};
}

TEST(LogText, SaysWhenWhoAndWhat) {
  json line = Line("supervisor", 7, 1);
  EXPECT_EQ(LogText(line),
            "2023-11-14T22:13:20.000042Z warning supervisor worker_ended name=execution0 signal=9");
  line["suppressed"] = 12;
  line["fields"] = "";
  EXPECT_EQ(LogText(line),
            "2023-11-14T22:13:20.000042Z warning supervisor worker_ended suppressed=12");
  EXPECT_EQ(LogText(json::object()), "1970-01-01T00:00:00.000000Z info ?") << "of nothing";
}

TEST(LogReport, ALineIsNewOnceThoughAnObserverIsReplaced) {
  LogReport report;
  EXPECT_TRUE(report.IsNew(Line("execution0", 7, 0)));
  EXPECT_TRUE(report.IsNew(Line("execution0", 7, 1)));
  EXPECT_FALSE(report.IsNew(Line("execution0", 7, 0)));
  EXPECT_FALSE(report.IsNew(Line("execution0", 7, 1)));
  EXPECT_TRUE(report.IsNew(Line("execution0", 7, 2)));
  EXPECT_TRUE(report.IsNew(Line("execution0", 8, 0))) << "another incarnation";
  EXPECT_TRUE(report.IsNew(Line("execution1", 7, 0)));
}

}  // namespace
}  // namespace millrace
