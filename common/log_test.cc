#include "common/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "common/check.h"
#include "common/log_limit.h"

namespace millrace {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

std::string Captured(const std::function<void()>& body) {
  testing::internal::CaptureStderr();
  body();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, OneLineWithTimeLevelEventAndFields) {
  const std::string line = Captured([] {
    Log(LogLevel::kInfo, "ready", {{"pid", 12}, {"stage", "execution"}});
  });
  EXPECT_THAT(line, MatchesRegex("ts=[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+[.][0-9]+Z "
                                 "level=info event=ready pid=12 stage=execution\n"));
}

TEST(Log, LevelsAreSpelled) {
  EXPECT_THAT(Captured([] { Log(LogLevel::kWarning, "e"); }), HasSubstr("level=warning"));
  EXPECT_THAT(Captured([] { Log(LogLevel::kError, "e"); }), HasSubstr("level=error"));
}

TEST(Log, ValuesThatCouldForgeALineAreQuotedAndEscaped) {
  const std::string line = Captured([] {
    Log(LogLevel::kError, "bad", {{"reason", "a \"b\"\nlevel=info\x1b[2J"}, {"empty", ""}});
  });
  EXPECT_THAT(line, HasSubstr("reason=\"a \\\"b\\\"\\nlevel=info\\x1b[2J\" empty=\"\"\n"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(Log, EveryByteValueStaysOnOneLineOfPrintableText) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string value(3, static_cast<char>(byte));
    const std::string event = "e" + std::to_string(byte % 16);  // each within its burst
    const std::string line = Captured([&] { Log(LogLevel::kInfo, event, {{"v", value}}); });
    for (char c : line.substr(0, line.size() - 1)) ASSERT_TRUE(c >= ' ' && c < 0x7f) << byte;
    ASSERT_EQ(line.back(), '\n');
  }
}

TEST(Log, LongValuesAreCutAndTheLineStaysWhole) {
  for (size_t length = 900; length < 1100; ++length) {
    const std::string value(length, ' ');
    const std::string line = Captured([&] {
      Log(LogLevel::kInfo, "l" + std::to_string(length % 8), {{"v", value}, {"after", "x"}});
    });
    ASSERT_LE(line.size(), 1024u);
    ASSERT_EQ(line.back(), '\n');
    ASSERT_EQ(std::count(line.begin(), line.end(), '"'), 2) << length;
  }
}

TEST(Log, NamesTheProcessOnceSet) {
  SetLogProcess("execution0");
  EXPECT_THAT(Captured([] { Log(LogLevel::kInfo, "e"); }), HasSubstr(" process=execution0 "));
  SetLogProcess("");
  EXPECT_THAT(Captured([] { Log(LogLevel::kInfo, "e"); }), Not(HasSubstr("process=")));
}

TEST(Log, AFullDiskCostsTheLineAndNoMore) {
  const int kept = dup(STDERR_FILENO);
  const int full = open("/dev/full", O_WRONLY);
  ASSERT_GE(full, 0);
  ASSERT_EQ(write(full, "x", 1), -1);
  dup2(full, STDERR_FILENO);
  Log(LogLevel::kError, "lost");
  dup2(kept, STDERR_FILENO);
  close(full);
  close(kept);
  EXPECT_THAT(Captured([] { Log(LogLevel::kInfo, "next"); }), HasSubstr("event=next"));
}

TEST(Log, LinesOfManyThreadsDoNotMix) {
  const std::string text = Captured([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < 100; ++i)
          Log(LogLevel::kInfo, "tick" + std::to_string(t), {{"fill", std::string(200, 'x')}});
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  size_t lines = 0;
  for (size_t at = 0; at < text.size(); ++lines) {
    const size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    const std::string line = text.substr(at, end - at);
    ASSERT_EQ(line.substr(0, 3), "ts=");
    ASSERT_THAT(line, EndsWith("fill=" + std::string(200, 'x')));
    at = end + 1;
  }
  EXPECT_EQ(lines, 400u);
}

std::vector<std::pair<LogLevel, std::string>>& Handed() {
  static auto* handed = new std::vector<std::pair<LogLevel, std::string>>;
  return *handed;
}

TEST(Log, TheSinkGetsEachLineAsItIsWritten) {
  SetLogSink([](LogLevel level, std::string_view line) { Handed().emplace_back(level, line); });
  const std::string line = Captured([] { Log(LogLevel::kWarning, "to_both", {{"n", 7}}); });
  SetLogSink(nullptr);
  Captured([] { Log(LogLevel::kWarning, "to_one"); });
  ASSERT_EQ(Handed().size(), 1u);
  EXPECT_EQ(Handed()[0], std::make_pair(LogLevel::kWarning, line));
}

TEST(Log, AnEventWithoutEndIsCutAndTheNextLineSaysByHowMuch) {
  constexpr int kLines = 1000;
  const std::string text = Captured([] {
    for (int i = 0; i < kLines; ++i) Log(LogLevel::kError, "flood", {{"i", i}});
    Log(LogLevel::kError, "other");
  });
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GE(lines, LogLimit::kBurst + 1);
  EXPECT_LT(lines, kLines);
  EXPECT_THAT(text, HasSubstr("event=other\n"));
}

TEST(LogDeathTest, TheSinkHearsOfABrokenInvariant) {
  EXPECT_DEATH(
      {
        SetLogSink([](LogLevel level, std::string_view line) {
          fprintf(stderr, "sink %d: %.*s\n", static_cast<int>(level), static_cast<int>(line.size()),
                  line.data());
        });
        MR_CHECK(1 == 2, "sums must hold");
      },
      "sink 2: level=error event=check_failed why=\".*sums must hold\"");
}

}  // namespace
}  // namespace millrace
