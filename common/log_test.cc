#include "common/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

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
    const std::string line = Captured([&] { Log(LogLevel::kInfo, "e", {{"v", value}}); });
    for (char c : line.substr(0, line.size() - 1)) ASSERT_TRUE(c >= ' ' && c < 0x7f) << byte;
    ASSERT_EQ(line.back(), '\n');
  }
}

TEST(Log, LongValuesAreCutAndTheLineStaysWhole) {
  for (size_t length = 900; length < 1100; ++length) {
    const std::string value(length, ' ');
    const std::string line = Captured([&] {
      Log(LogLevel::kInfo, "e", {{"v", value}, {"after", "x"}});
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
      threads.emplace_back([] {
        for (int i = 0; i < 100; ++i)
          Log(LogLevel::kInfo, "tick", {{"fill", std::string(200, 'x')}});
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

}  // namespace
}  // namespace millrace
