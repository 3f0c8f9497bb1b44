#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <deque>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "ipc/memfd.h"
#include "services/observer/logs/log_service.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

constexpr int64_t kNowNs = 1'800'000'000'000'000'000;

LogRecord RecordOf(std::string_view text, uint32_t level = 0) {
  LogRecord record = {kNowNs - 5, level, static_cast<uint32_t>(text.size()), {}};
  memcpy(record.text, text.data(), text.size());
  return record;
}

TEST(LogLine, IsReadIntoItsFields) {
  const LogLine line = ReadLogRecord(
      RecordOf("ts=2026-11-26T10:00:00.123456Z level=warning process=liar event=worker_ended "
               "suppressed=12 name=execution0 why=\"a b\"",
               1),
      kNowNs);
  EXPECT_EQ(line.event, "worker_ended");
  EXPECT_EQ(line.fields, "name=execution0 why=\"a b\"");
  EXPECT_EQ(line.suppressed, 12u);
  EXPECT_EQ(line.level, LogLevel::kWarning);
  EXPECT_EQ(line.unix_ns, kNowNs - 5);
  EXPECT_EQ(line.process, "") << "its own word for it counts nothing";
}

TEST(LogLine, OfADyingProcess) {
  const LogLine line = ReadLogRecord(
      RecordOf("level=error program=execution pid=77 event=stack thread=lane frame=0 at=\"F()\"",
               2),
      kNowNs);
  EXPECT_EQ(line.event, "stack");
  EXPECT_EQ(line.fields, "thread=lane frame=0 at=\"F()\"");
}

TEST(LogLine, WhatIsNoEventIsShownWhole) {
  for (const char* text : {"", "x", "event=", "event=\"a b\" c=d", "event=UPPER", "level=info",
                           "no event=here", "ts=1 level=info"}) {
    const LogLine line = ReadLogRecord(RecordOf(text), kNowNs);
    EXPECT_EQ(line.event, "") << text;
    EXPECT_EQ(line.fields, text);
  }
}

TEST(LogLine, AnyBytesBecomePrintableText) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    LogRecord record;
    for (size_t i = 0; i < sizeof record; i += 8) {
      const uint64_t word = random();
      memcpy(reinterpret_cast<char*>(&record) + i, &word, 8);
    }
    // Half of them begin as a line does.
    if (round % 2 == 0) memcpy(record.text, "ts=1 level=x event=e suppressed=9", 33);
    const LogLine line = ReadLogRecord(record, kNowNs);
    for (const char c : line.event + line.fields) ASSERT_TRUE(c >= ' ' && c <= '~');
    ASSERT_LE(line.fields.size(), LogRecord::kMaxBytes);
    ASSERT_TRUE(line.unix_ns >= 0 && line.unix_ns <= kNowNs);
    ASSERT_LE(static_cast<uint32_t>(line.level), 2u);
    if (round % 2 == 0) {
      ASSERT_EQ(line.event, "e");
    }
  }
}

LogLine LineOf(const std::string& process, const std::string& event,
               LogLevel level = LogLevel::kInfo) {
  LogLine line;
  line.process = process;
  line.event = event;
  line.level = level;
  return line;
}

std::vector<std::string> Events(const std::string& text) {
  std::vector<std::string> events;
  const json reply = json::parse(text);
  for (const json& line : reply["lines"]) events.push_back(line["event"]);
  return events;
}

class LogStoreTest : public testing::Test {
 protected:
  LogStoreTest() : store(1000) {
    store.Add(LineOf("execution0", "a"));
    store.Add(LineOf("execution1", "b", LogLevel::kWarning));
    store.Add(LineOf("supervisor", "c", LogLevel::kError));
    store.Add(LineOf("execution0", "d", LogLevel::kError));
  }
  std::vector<std::string> Ask(const std::string& query) {
    const auto asked = LogQuery::Parse(query);
    EXPECT_TRUE(asked.has_value()) << query;
    return Events(store.Json(*asked));
  }
  LogStore store;
};

TEST_F(LogStoreTest, AnswersWhatIsAsked) {
  EXPECT_THAT(Ask(""), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(Ask("level=warning"), ElementsAre("b", "c", "d"));
  EXPECT_THAT(Ask("level=error&process=execution0"), ElementsAre("d"));
  EXPECT_THAT(Ask("process=execution"), ElementsAre("a", "b", "d"));
  EXPECT_THAT(Ask("process=execution1"), ElementsAre("b"));
  EXPECT_THAT(Ask("process=super"), ElementsAre()) << "no stage";
  EXPECT_THAT(Ask("event=c"), ElementsAre("c"));
  EXPECT_THAT(Ask("limit=2"), ElementsAre("c", "d")) << "the newest";
  EXPECT_THAT(Ask("after=1001&limit=1"), ElementsAre("c")) << "the next";
}

TEST_F(LogStoreTest, WhoAsksAfterTheLastMissesNothingAndGetsNothingTwice) {
  std::vector<std::string> all;
  uint64_t after = 0;
  for (int i = 0; i < 10; ++i) {
    LogQuery query;
    query.after = after;
    query.limit = 2;
    query.level = LogLevel::kWarning;
    const std::string reply = store.Json(query);
    for (const std::string& event : Events(reply)) all.push_back(event);
    after = json::parse(reply)["next"];
    if (i == 4) store.Add(LineOf("execution0", "e", LogLevel::kError));
    store.Add(LineOf("execution0", "hidden"));
  }
  EXPECT_THAT(all, ElementsAre("b", "c", "d", "e"));
}

TEST_F(LogStoreTest, IsBoundedByLines) {
  for (size_t i = 0; i < 2 * LogStore::kMostLines; ++i) {
    store.Add(LineOf("execution0", std::to_string(i)));
  }
  EXPECT_EQ(store.size(), LogStore::kMostLines);
  EXPECT_EQ(store.line(0).event, std::to_string(LogStore::kMostLines));
}

// Beside a queue of the lines themselves: what it holds are the newest, as they were, and nearly as
// many as their texts have room for.
TEST(LogStoreRandomTest, HoldsTheNewestLinesAsTheyWere) {
  std::mt19937 random(3);
  LogStore store(0);
  std::deque<LogLine> all;
  for (size_t i = 0; i < 40'000; ++i) {
    LogLine line = LineOf("p" + std::to_string(i % 7), std::to_string(i));
    const bool large = i / 5'000 % 2 == 1;
    line.fields = std::string(random() % (large ? LogRecord::kMaxBytes : 60), 'a' + i % 26);
    line.number = i;
    store.Add(line);
    all.push_back(line);
    if (i % 37 != 0) continue;
    ASSERT_LE(store.size(), LogStore::kMostLines);
    all.erase(all.begin(), all.end() - static_cast<ptrdiff_t>(store.size()));
    size_t bytes = 0;
    for (size_t k = 0; k < all.size(); ++k) {
      const LogLine kept = store.line(k);
      ASSERT_EQ(kept.number, all[k].number);
      ASSERT_EQ(kept.seq, all[k].number);
      ASSERT_EQ(kept.process, all[k].process);
      ASSERT_EQ(kept.event, all[k].event);
      ASSERT_EQ(kept.fields, all[k].fields);
      bytes += kept.process.size() + kept.event.size() + kept.fields.size();
    }
    ASSERT_LE(bytes, LogStore::kMostBytes);
    if (i > LogStore::kMostLines && store.size() < LogStore::kMostLines) {
      ASSERT_GT(bytes, LogStore::kMostBytes - 3 * LogRecord::kMaxBytes);
    }
  }
}

TEST(LogQuery, RefusesWhatItDoesNotKnow) {
  for (const char* query :
       {"x", "x=1", "level=loud", "limit=0", "limit=1001", "limit=", "limit=1x", "after=-1",
        "process=../../etc", "event=%00", "limit=99999999999999999999"}) {
    EXPECT_FALSE(LogQuery::Parse(query).has_value()) << query;
  }
}

// Rings of processes, as the supervisor names them.
class LogServiceTest : public testing::Test {
 protected:
  struct Process {
    std::string name;
    uint32_t pid;
    std::unique_ptr<LogRing> ring;
    int fd;
  };
  static Process Start(const std::string& name, uint32_t pid) {
    std::unique_ptr<LogRing> ring = std::move(*LogRing::Create(pid));
    const int fd = ring->fd();
    return {name, pid, std::move(ring), fd};
  }
  void Tell(const std::vector<const Process*>& processes) {
    ObserveLogs message;
    std::vector<Fd> fds;
    for (const Process* process : processes) {
      ObserveLogs::Ring* ring = message.add_rings();
      ring->set_process(process->name);
      ring->set_pid(process->pid);
      ring->set_incarnation(process->pid + 1);
      fds.emplace_back(dup(process->fd));
    }
    service.Observe(message, fds);
  }
  std::vector<std::string> Shown(const std::string& query = "") {
    return Events(*service.Json(query));
  }
  double Metric(const std::string& name, const std::string& label) {
    Families families;
    service.Show("9", &families);
    double sum = 0;
    for (const auto& family : families.Take()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        for (const auto& one : metric.label) sum += one.value == label ? metric.counter.value : 0;
      }
    }
    return sum;
  }
  LogService service;
};

TEST_F(LogServiceTest, ShowsLinesOfAllProcessesByTime) {
  const Process one = Start("execution0", 11), two = Start("features0", 12);
  one.ring->Write(LogLevel::kInfo, "event=first a=1");
  two.ring->Write(LogLevel::kError, "event=second");
  one.ring->Write(LogLevel::kInfo, "event=third");
  Tell({&one, &two});
  EXPECT_THAT(Shown(), ElementsAre("first", "second", "third"));
  const json line = json::parse(*service.Json("event=second"))["lines"][0];
  EXPECT_EQ(line["process"], "features0");
  EXPECT_EQ(line["pid"], 12);
  EXPECT_EQ(line["incarnation"], 13);
  EXPECT_EQ(line["level"], "error");
  EXPECT_EQ(Metric("millrace_log_lines_total", "error"), 1);
  EXPECT_EQ(Metric("millrace_log_lines_total", "info"), 2);
  EXPECT_EQ(Metric("millrace_log_lines_lost_total", "overwritten"), 0);
}

TEST_F(LogServiceTest, TheLastWordsOfADeadProcessAreRead) {
  const Process one = Start("execution0", 11), two = Start("execution0", 14);
  Tell({&one});
  one.ring->Write(LogLevel::kError, "event=last_words");
  Tell({&two});  // the dead one is named no more
  EXPECT_THAT(Shown(), ElementsAre("last_words"));
  one.ring->Write(LogLevel::kError, "event=zombie");
  EXPECT_THAT(Shown(), ElementsAre("last_words"));
}

TEST_F(LogServiceTest, ARingThatGoesAndComesAgainIsNotReadTwice) {
  const Process one = Start("execution0", 11), two = Start("features0", 12);
  one.ring->Write(LogLevel::kInfo, "event=a");
  Tell({&one, &two});
  Tell({&two});
  one.ring->Write(LogLevel::kInfo, "event=b");
  Tell({&one, &two});
  EXPECT_THAT(Shown(), ElementsAre("a", "b"));
}

TEST_F(LogServiceTest, WhatWasOverwrittenIsCounted) {
  const Process one = Start("execution0", 11);
  Tell({&one});
  for (size_t i = 0; i < LogRing::kSlots + 40; ++i) one.ring->Write(LogLevel::kInfo, "event=x");
  EXPECT_EQ(Shown("limit=1000").size(), LogRing::kSlots);
  EXPECT_EQ(Metric("millrace_log_lines_lost_total", "overwritten"), 40);
  one.ring->Write(LogLevel::kInfo, "event=y suppressed=31 z=1");
  EXPECT_EQ(Metric("millrace_log_lines_lost_total", "suppressed"), 31);
}

TEST_F(LogServiceTest, ARingThatIsNoRingIsLeftOut) {
  Process one = Start("execution0", 11);
  const Process two = Start("features0", 12);
  one.pid = 99;  // another's ring
  two.ring->Write(LogLevel::kInfo, "event=a");
  Tell({&one, &two});
  EXPECT_THAT(Shown(), ElementsAre("a"));
}

// A region of the right kind and size in which every word may be anything, again and again.
TEST_F(LogServiceTest, HostileRingsCostBoundedWorkAndNoCountGoesBack) {
  std::mt19937_64 random(2);
  double before = 0;
  for (int round = 0; round < 50; ++round) {
    const auto pid = static_cast<uint32_t>(100 + round);
    const TraceWriter writer = *TraceWriter::Create(pid, LogRing::kSlots, kLogRecordWords);
    auto* ring = writer.region().as<TraceRegion>();
    const Process one = {"execution0", pid, nullptr, writer.region().fd().get()};
    Tell({&one});
    for (int look = 0; look < 10; ++look) {
      ring->written = look % 3 == 0 ? random() : random() % 1000;
      ring->skipped = random();
      const size_t words = LogRing::kSlots * (kLogRecordWords + 1);
      for (int i = 0; i < 2000; ++i) {
        const uint64_t number = ring->written - random() % LogRing::kSlots - 1;
        std::atomic<uint64_t>* slot =
            ring->first + number % LogRing::kSlots * (kLogRecordWords + 1);
        slot[0] = 2 * number + 2;
        ring->first[random() % words] = random();
      }
      service.Look();
      const double now = Metric("millrace_log_lines_lost_total", "execution0");
      ASSERT_GE(now, before);
      before = now;
    }
    const json reply = json::parse(*service.Json("limit=1000"));
    ASSERT_LE(reply["lines"].size(), 1000u);
  }
}

}  // namespace
}  // namespace millrace
