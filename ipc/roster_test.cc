#include "ipc/roster.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/interrupts.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

RosterEntry Entry(uint32_t incarnation, RosterState state = RosterState::kReady,
                  WaitMode wait = WaitMode::kYield) {
  return {incarnation, Stage::kExecution, 1, 2, state, wait};
}

TEST(RosterTest, ANewRosterIsEmptyAndCountsOn) {
  RosterWriter writer = Must(RosterWriter::Create(41));
  RosterReader reader = Must(RosterReader::Open(writer.fd()));
  EXPECT_EQ(writer.generation(), 42u);
  EXPECT_EQ(reader.generation(), 42u);
  const RosterSnapshot snapshot = Must(reader.Read());
  EXPECT_EQ(snapshot.generation, 42u);
  EXPECT_TRUE(snapshot.lanes().empty());
  EXPECT_EQ(snapshot.Find(1), nullptr);
}

TEST(RosterTest, EveryGenerationIsRead) {
  RosterWriter writer = Must(RosterWriter::Create(0));
  RosterReader reader = Must(RosterReader::Open(writer.fd()));
  std::vector<RosterEntry> lanes;
  for (uint32_t n = 1; n <= kMaxLanes; ++n) {
    lanes.push_back(Entry(n, static_cast<RosterState>(n % 3), static_cast<WaitMode>(n / 3 % 3)));
    EXPECT_EQ(writer.Publish(lanes), n + 1);
    const RosterSnapshot snapshot = Must(reader.Read());
    EXPECT_EQ(snapshot.generation, n + 1);
    EXPECT_EQ(std::vector<RosterEntry>(snapshot.lanes().begin(), snapshot.lanes().end()), lanes);
    ASSERT_NE(snapshot.Find(n), nullptr);
    EXPECT_EQ(*snapshot.Find(n), lanes.back());
  }
  writer.Publish({Entry(7)});
  EXPECT_THAT(Must(reader.Read()).lanes(), ElementsAre(Entry(7)));
  lanes.push_back(Entry(99));
  EXPECT_DEATH(writer.Publish(lanes), "roster is full");
}

// A roster as no supervisor of ours makes it.
TEST(RosterTest, UnknownValuesAreRefused) {
  Region region = Must(Region::Create(kRosterType, 0, sizeof(RosterRegion)));
  RosterReader reader = Must(RosterReader::Open(region.fd().get()));
  auto* shared = region.as<RosterRegion>();
  const auto status_with = [&](uint64_t count, RosterEntry entry) {
    shared->places[1].count.store(count);
    shared->places[1].entries[0].store(std::bit_cast<uint64_t>(entry));
    shared->current.store(1);
    return reader.Read().status().code();
  };
  EXPECT_EQ(status_with(1, Entry(1)), absl::StatusCode::kOk);
  EXPECT_EQ(status_with(kMaxLanes + 1, Entry(1)), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status_with(UINT64_MAX, Entry(1)), absl::StatusCode::kFailedPrecondition);
  RosterEntry bad = Entry(1);
  bad.stage = static_cast<Stage>(kStageCount);
  EXPECT_EQ(status_with(1, bad), absl::StatusCode::kFailedPrecondition);
  bad = Entry(1, static_cast<RosterState>(3));
  EXPECT_EQ(status_with(1, bad), absl::StatusCode::kFailedPrecondition);
  bad = Entry(1, RosterState::kReady, static_cast<WaitMode>(kWaitModeCount));
  EXPECT_EQ(status_with(1, bad), absl::StatusCode::kFailedPrecondition);
  // Each in its own half of the byte: neither spills into the other.
  const RosterEntry both = Entry(1, RosterState::kLeaving, WaitMode::kPark);
  EXPECT_EQ(std::bit_cast<uint64_t>(both) >> 56, 0x22u);
}

// Count and entries all follow from the generation.
uint32_t CountOf(uint64_t generation) { return 1 + generation * 13 % kMaxLanes; }

void PublishNext(RosterWriter* writer) {
  RosterEntry lanes[kMaxLanes];
  const uint64_t generation = writer->generation() + 1;
  for (uint32_t i = 0; i < CountOf(generation); ++i) {
    lanes[i] = Entry(static_cast<uint32_t>(generation));
  }
  writer->Publish({lanes, CountOf(generation)});
}

// True while the snapshot is one whole generation, not older than `last`.
bool IsWhole(const RosterSnapshot& snapshot, uint64_t last) {
  EXPECT_GE(snapshot.generation, last);
  EXPECT_EQ(snapshot.count, CountOf(snapshot.generation));
  for (const RosterEntry& entry : snapshot.lanes()) {
    EXPECT_EQ(entry.incarnation, snapshot.generation);
  }
  return !::testing::Test::HasFailure();
}

RosterWriter* g_writer = nullptr;

// The writer goes once or several times round the ring at any instruction of a reader.
TEST(RosterTest, AnOvertakenReaderReadsAgain) {
  RosterWriter writer = Must(RosterWriter::Create(0));
  RosterReader reader = Must(RosterReader::Open(writer.fd()));
  PublishNext(&writer);
  g_writer = &writer;
  const Interrupts interrupts([] {
    const uint64_t laps = 1 + g_writer->generation() % 20;
    for (uint64_t n = 0; n < laps; ++n) PublishNext(g_writer);
  });
  uint64_t last = 2;
  while (interrupts.count() < 3000) {
    const RosterSnapshot snapshot = Must(reader.Read());
    if (!IsWhole(snapshot, last)) break;
    last = snapshot.generation;
  }
}

// A writer that laps the ring as fast as it can: a reader gets one whole generation each time, and
// never an older one than before.
TEST(RosterTest, AReaderUnderAFastWriterSeesWholeGenerations) {
  RosterWriter writer = Must(RosterWriter::Create(0));
  RosterReader reader = Must(RosterReader::Open(writer.fd()));
  std::atomic<bool> stop{false};
  PublishNext(&writer);
  std::thread thread([&] {
    for (int n = 0; n < 200'000; ++n) {
      PublishNext(&writer);
      if (n % 10'000 == 0) std::this_thread::yield();
    }
    stop = true;
  });
  for (uint64_t last = 2; !stop;) {
    const RosterSnapshot snapshot = Must(reader.Read());
    if (!IsWhole(snapshot, last)) break;
    last = snapshot.generation;
  }
  thread.join();
  EXPECT_EQ(Must(reader.Read()).generation, 200'002u);
}

}  // namespace
}  // namespace millrace
