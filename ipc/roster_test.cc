#include "ipc/roster.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

RosterEntry Entry(uint32_t incarnation, RosterState state = RosterState::kReady) {
  return {incarnation, Stage::kExecution, 1, 2, state};
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
    lanes.push_back(Entry(n, static_cast<RosterState>(n % 3)));
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
}

// Count and entries all follow from the generation. One long one in eight: while it is copied, the
// short ones go round the ring.
uint32_t CountOf(uint64_t generation) { return generation % 8 == 0 ? kMaxLanes : 1; }

// A writer that laps the ring as fast as it can: a reader gets one whole generation each time, and
// never an older one than before.
TEST(RosterTest, AReaderUnderAFastWriterSeesWholeGenerations) {
  RosterWriter writer = Must(RosterWriter::Create(0));
  RosterReader reader = Must(RosterReader::Open(writer.fd()));
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    std::vector<RosterEntry> lanes;
    for (int n = 0; n < 1'000'000; ++n) {
      const uint64_t generation = writer.generation() + 1;
      lanes.assign(CountOf(generation), Entry(static_cast<uint32_t>(generation)));
      writer.Publish(lanes);
      if (n % 10'000 == 0) std::this_thread::yield();
    }
    stop = true;
  });
  uint64_t last = 2;
  while (reader.generation() < 2) std::this_thread::yield();
  while (!stop) {
    const RosterSnapshot snapshot = Must(reader.Read());
    ASSERT_GE(snapshot.generation, last);
    last = snapshot.generation;
    ASSERT_EQ(snapshot.count, CountOf(last));
    for (const RosterEntry& entry : snapshot.lanes()) ASSERT_EQ(entry.incarnation, last);
  }
  thread.join();
  EXPECT_EQ(Must(reader.Read()).generation, 1'000'001u);
}

}  // namespace
}  // namespace millrace
