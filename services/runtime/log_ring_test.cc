#include "services/runtime/log_ring.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/check.h"
#include "common/log.h"
#include "ipc/control.pb.h"
#include "ipc/testing/must.h"

namespace millrace {

class LogRingPeer {
 public:
  static std::atomic<bool>& Busy(LogRing* ring) { return ring->busy_; }
};

namespace {

constexpr uint32_t kPid = 4711;

struct Ring {
  std::unique_ptr<LogRing> writer = Must(LogRing::Create(kPid));
  TraceReader reader = Must(TraceReader::Open(writer->fd(), kPid, kLogRecordWords));

  LogRecord Record(uint64_t number) const {
    LogRecord record = {};
    EXPECT_TRUE(reader.Read(number, &record)) << number;
    return record;
  }
  std::string Text(uint64_t number) const {
    const LogRecord record = Record(number);
    return {record.text, record.length};
  }
};

TEST(LogRing, HoldsALineWithItsLevelAndNothingBehindIt) {
  Ring ring;
  ring.writer->Write(LogLevel::kError, std::string(LogRecord::kMaxBytes, 'x'));
  for (size_t i = 1; i < LogRing::kSlots; ++i) ring.writer->Write(LogLevel::kInfo, "filler");
  ring.writer->Write(LogLevel::kWarning, "event=a\n");  // where the long one stood
  const LogRecord record = ring.Record(LogRing::kSlots);
  EXPECT_EQ(std::string(record.text, record.length), "event=a");
  EXPECT_EQ(record.level, static_cast<uint32_t>(LogLevel::kWarning));
  EXPECT_GT(record.unix_ns, 0);
  for (size_t i = record.length; i < LogRecord::kMaxBytes; ++i) ASSERT_EQ(record.text[i], 0) << i;
}

TEST(LogRing, ALineThatIsTooLongIsCut) {
  Ring ring;
  ring.writer->Write(LogLevel::kInfo, std::string(5000, 'x'));
  EXPECT_EQ(ring.Text(0), std::string(LogRecord::kMaxBytes, 'x'));
}

TEST(LogRing, FullItKeepsTheNewest) {
  Ring ring;
  for (size_t i = 0; i < LogRing::kSlots + 3; ++i) {
    ring.writer->Write(LogLevel::kInfo, std::to_string(i));
  }
  EXPECT_EQ(ring.reader.First(), 3u);
  for (uint64_t i = 3; i < ring.reader.End(); ++i) EXPECT_EQ(ring.Text(i), std::to_string(i));
}

// As after a thread that died inside, or a signal's handler that interrupted it.
TEST(LogRing, NobodyWaitsForAThreadThatIsInsideAndTheLineIsCounted) {
  Ring ring;
  LogRingPeer::Busy(ring.writer.get()) = true;
  ring.writer->Write(LogLevel::kInfo, "lost");
  ring.writer->Write(LogLevel::kInfo, "lost, too");
  EXPECT_EQ(ring.reader.End(), 0u);
  LogRingPeer::Busy(ring.writer.get()) = false;
  ring.writer->Write(LogLevel::kInfo, "found");
  EXPECT_EQ(ring.Text(0), "found");
  EXPECT_EQ(ring.reader.skipped(), 2u);
}

TEST(LogRing, ThreadsMixNoLinesAndLoseNoneUncounted) {
  constexpr uint64_t kThreads = 4, kEach = 2000;
  Ring ring;
  std::atomic<bool> over{false};
  std::atomic<uint64_t> mixed{0};
  std::thread looker([&] {
    // relaxed: an end, no more.
    while (!over.load(std::memory_order_relaxed)) {
      for (uint64_t i = ring.reader.First(); i < ring.reader.End(); ++i) {
        LogRecord record;
        if (!ring.reader.Read(i, &record)) continue;
        const std::set<char> letters(record.text, record.text + record.length);
        if (letters.size() != 1 || record.length != 700) ++mixed;
      }
    }
  });
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&ring, t] {
      const std::string line(700, static_cast<char>('a' + t));
      for (uint64_t i = 0; i < kEach; ++i) ring.writer->Write(LogLevel::kInfo, line);
    });
  }
  for (std::thread& thread : threads) thread.join();
  over = true;
  looker.join();
  ring.writer->Write(LogLevel::kInfo, "the last brings the counts");
  EXPECT_EQ(mixed, 0u);
  EXPECT_EQ(ring.reader.End() - 1 + ring.reader.skipped(), kThreads * kEach);
}

// The process's own: in a child, since a process has one.
TEST(LogRing, TheLastWordsOfAProcessAreInItsRing) {
  auto [ours, theirs] = Must(ControlChannel::MakePair());
  const pid_t pid = fork();
  MR_CHECK(pid >= 0, "fork");
  if (pid == 0) {
    signal(SIGABRT, SIG_DFL);
    LogRing::Begin();
    ControlChannel channel(std::move(theirs));
    LogRing::Say(&channel);
    Log(LogLevel::kWarning, "soon_over", {{"n", 7}});
    if (const pid_t child = fork(); child == 0) {
      Log(LogLevel::kInfo, "no_ring_here");  // it has no mapping of it
      _exit(0);
    } else {
      int status = 1;
      waitpid(child, &status, 0);
      if (status != 0) _exit(1);
    }
    MR_CHECK(getpid() == 0, "the end of it");
  }
  theirs.reset();
  int status = 0;
  waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  ControlChannel channel(std::move(ours));
  FromProcess message;
  std::vector<Fd> fds;
  ASSERT_TRUE(Must(channel.Receive(&message, &fds)));
  ASSERT_EQ(message.logs().pid(), static_cast<uint32_t>(pid));
  const TraceReader reader =
      Must(TraceReader::Open(fds.at(0).get(), message.logs().pid(), kLogRecordWords));
  ASSERT_EQ(reader.End(), 2u);
  LogRecord record;
  ASSERT_TRUE(reader.Read(0, &record));
  EXPECT_NE(std::string(record.text, record.length).find("event=soon_over n=7"), std::string::npos);
  ASSERT_TRUE(reader.Read(1, &record));
  EXPECT_NE(std::string(record.text, record.length).find("event=check_failed"), std::string::npos);
  EXPECT_NE(std::string(record.text, record.length).find("the end of it"), std::string::npos);
  EXPECT_EQ(record.level, static_cast<uint32_t>(LogLevel::kError));
}

}  // namespace
}  // namespace millrace
