// The supervisor's death, or a lane's look, at every instruction of a new roster.
#include <stdio.h>

#include <bit>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/roster.h"
#include "ipc/testing/must.h"
#include "ipc/testing/single_step.h"

namespace millrace {
namespace {

constexpr uint64_t kFirst = 40;

// How many lanes a generation has, and which: it can be told from any other.
std::vector<RosterEntry> LanesOf(uint64_t generation) {
  std::vector<RosterEntry> lanes(generation * 5 % 9);
  for (size_t i = 0; i < lanes.size(); ++i) {
    lanes[i] = {static_cast<uint32_t>(generation * 100 + i), Stage::kExecution,
                static_cast<uint8_t>(generation), static_cast<uint8_t>(i), RosterState::kReady};
  }
  return lanes;
}

bool IsWhole(const RosterSnapshot& snapshot) {
  const auto lanes = snapshot.lanes();
  const std::vector<RosterEntry> got(lanes.begin(), lanes.end());
  return got == LanesOf(snapshot.generation);
}

void PublishNext(RosterWriter* writer) { writer->Publish(LanesOf(writer->generation() + 1)); }

// Planted: the generation is there before its lanes.
void PublishBackwards(RosterRegion* shared, uint64_t generation) {
  shared->current = generation;
  const std::vector<RosterEntry> lanes = LanesOf(generation);
  RosterRegion::Place& place = shared->places[generation % RosterRegion::kDepth];
  place.count = lanes.size();
  for (size_t i = 0; i < lanes.size(); ++i) place.entries[i] = std::bit_cast<uint64_t>(lanes[i]);
}

struct Progress {
  std::atomic<uint64_t> begun, done;  // generations
};

struct Result {
  uint64_t points = 0;
  uint64_t flagged = 0;
};

Result StepThrough(bool backwards) {
  const SharedBox<Progress> progress;
  SteppedProcess supervisor([&](Markers* markers) {
    RosterWriter writer = Must(RosterWriter::Create(kFirst));
    // Until every place of the ring was used.
    while (writer.generation() < kFirst + 12) PublishNext(&writer);
    const uint64_t now = writer.generation();
    Region faulty = Must(Region::Create(kRosterType, 0, sizeof(RosterRegion)));
    for (uint64_t g = now - 7; g <= now; ++g) PublishBackwards(faulty.as<RosterRegion>(), g);
    progress->begun = progress->done = now;
    markers->Show(backwards ? faulty.fd().get() : writer.fd());
    markers->Begin();
    for (uint64_t g = now + 1; g <= now + 4; ++g) {
      progress->begun = g;
      if (backwards) {
        PublishBackwards(faulty.as<RosterRegion>(), g);
      } else {
        PublishNext(&writer);
      }
      progress->done = g;
    }
    markers->End();
  });
  EXPECT_EQ(supervisor.Run(), Stop::kBegin);
  const RosterReader reader = Must(RosterReader::Open(supervisor.Shown(0).get()));
  Result result;
  result.points = supervisor.Step([&] {
    const auto snapshot = reader.Read();
    const bool right = snapshot.ok() && IsWhole(*snapshot) &&
                       snapshot->generation >= progress->done &&
                       snapshot->generation <= progress->begun;
    result.flagged += !right;
  });
  EXPECT_EQ(supervisor.stop(), Stop::kEnd);
  printf("roster: %zu crash points, flagged %zu\n", size_t{result.points}, size_t{result.flagged});
  ::testing::Test::RecordProperty("crash_points", static_cast<int>(result.points));
  return result;
}

TEST(RosterStepTest, AWriterThatDies) {
  const Result result = StepThrough(/*backwards=*/false);
  EXPECT_EQ(result.flagged, 0u);
  EXPECT_GT(result.points, 50u);
}

TEST(RosterStepFaultTest, AGenerationBeforeItsLanes) {
  EXPECT_GT(StepThrough(/*backwards=*/true).flagged, 4u);
}

// The reader is the stepped one; at one of its instructions the writer publishes `generations`.
void Overtake(int generations, uint64_t most) {
  RosterWriter writer = Must(RosterWriter::Create(kFirst));
  for (int i = 0; i < 9; ++i) PublishNext(&writer);
  const SharedBox<RosterSnapshot> copied;
  uint64_t before = 0;
  const uint64_t places = InterruptAtEach(
      [&](Markers* markers) {
        const RosterReader reader = Must(RosterReader::Open(writer.fd()));
        markers->Begin();
        const auto snapshot = reader.Read();
        if (snapshot.ok()) *copied.get() = *snapshot;
        markers->End();
      },
      [&] {
        before = writer.generation();
        *copied.get() = RosterSnapshot();
      },
      [&] {
        for (int i = 0; i < generations; ++i) PublishNext(&writer);
      },
      [&](uint64_t at) {
        EXPECT_TRUE(IsWhole(*copied.get())) << at;
        EXPECT_GE(copied->generation, before) << at;
        EXPECT_LE(copied->generation, writer.generation()) << at;
      },
      most);
  printf("roster, read beside %d: %zu interleavings\n", generations, size_t{places});
}

TEST(RosterStepTest, AReaderThatIsOvertakenRoundTheRing) { Overtake(8, 400); }

// Once, the last that leave its place alone, the first that may not, twice round.
TEST(RosterStepTest, AReaderThatIsOvertakenALittleOrFar) {
  for (int generations : {1, 6, 7, 16}) Overtake(generations, 30);
}

}  // namespace
}  // namespace millrace
