#include "ipc/trace_ring.h"

#include <gtest/gtest.h>

#include <thread>

#include "ipc/trace_records.h"

namespace millrace {
namespace {

constexpr uint32_t kIncarnation = 7;
constexpr size_t kSlots = 8;

// All words follow from the number: a mixture of two records is seen.
struct Marked {
  uint64_t words[7];

  explicit Marked(uint64_t number = 0) {
    for (uint64_t i = 0; i < 7; ++i) words[i] = Mark(number, i);
  }
  static uint64_t Mark(uint64_t number, uint64_t i) {
    return (number + 1) * 0x9e3779b97f4a7c15 + i * 0x100000001b3;
  }
  bool Is(uint64_t number) const {
    for (uint64_t i = 0; i < 7; ++i) {
      if (words[i] != Mark(number, i)) return false;
    }
    return true;
  }
};

struct Ring {
  explicit Ring(size_t slots = kSlots)
      : writer(*TraceWriter::Create(kIncarnation, slots, 7)),
        reader(*TraceReader::Open(writer.region().fd().get(), kIncarnation, 7)) {}
  TraceWriter writer;
  TraceReader reader;
};

TEST(TraceRing, KeepsTheNewestAndSaysWhatIsLost) {
  Ring ring;
  Marked got;
  EXPECT_EQ(ring.reader.End(), 0u);
  EXPECT_FALSE(ring.reader.Read(0, &got));
  for (uint64_t i = 0; i < 3 * kSlots + 1; ++i) ring.writer.Write(Marked(i));
  EXPECT_EQ(ring.reader.End(), 3 * kSlots + 1);
  EXPECT_EQ(ring.reader.First(), 2 * kSlots + 1);
  for (uint64_t i = ring.reader.First(); i < ring.reader.End(); ++i) {
    EXPECT_TRUE(ring.reader.Read(i, &got));
    EXPECT_TRUE(got.Is(i));
  }
  EXPECT_FALSE(ring.reader.Read(ring.reader.First() - 1, &got));
  EXPECT_FALSE(ring.reader.Read(ring.reader.End(), &got));
  ring.writer.Skip();
  EXPECT_EQ(ring.reader.skipped(), 1u);
}

// What a reader does that looks at no sequence words.
Marked ReadCarelessly(const TraceWriter& writer, uint64_t number, size_t slots) {
  const auto* ring = writer.region().as<const TraceRegion>();
  Marked got;
  for (size_t i = 0; i < 7; ++i) {
    // relaxed: the planted fault.
    got.words[i] = ring->first[number % slots * 8 + 1 + i].load(std::memory_order_relaxed);
  }
  return got;
}

// One that always overtakes: few slots, and a reader that asks for what is being overwritten.
TEST(TraceRing, NoRecordIsEverAMixture) {
  constexpr size_t kFew = 2;
  Ring ring(kFew);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    // relaxed: only asks for an end.
    for (uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) ring.writer.Write(Marked(i));
  });
  uint64_t whole = 0, lost = 0, careless = 0;
  Marked got;
  while (whole < 20'000 || lost < 100 || careless == 0) {
    const uint64_t end = ring.reader.End();
    if (end < kFew) continue;
    for (const uint64_t number : {end - 1, end - kFew}) {
      const bool read = ring.reader.Read(number, &got);
      read ? ++whole : ++lost;
      EXPECT_TRUE(!read || got.Is(number)) << number;
      careless += !ReadCarelessly(ring.writer, number, kFew).Is(number);
    }
  }
  // relaxed: only asks for an end.
  stop.store(true, std::memory_order_relaxed);
  writer.join();
  EXPECT_GT(careless, 0u);  // the same look without the sequence words does see mixtures
}

TEST(TraceRing, AReaderRefusesWhatDoesNotFit) {
  Ring ring;
  const int fd = ring.writer.region().fd().get();
  EXPECT_FALSE(TraceReader::Open(fd, kIncarnation + 1, 7).ok());
  EXPECT_FALSE(TraceReader::Open(fd, kIncarnation, 8).ok());
  // A hostile lane that says it has more slots than there is room.
  auto* region = ring.writer.region().as<TraceRegion>();
  // relaxed: there is one thread.
  region->slots.store(1 << 20, std::memory_order_relaxed);
  EXPECT_FALSE(TraceReader::Open(fd, kIncarnation, 7).ok());
  region->slots.store(0, std::memory_order_relaxed);  // relaxed: there is one thread
  EXPECT_FALSE(TraceReader::Open(fd, kIncarnation, 7).ok());
  // And one that changes its mind when it was opened.
  region->slots.store(1 << 20, std::memory_order_relaxed);    // relaxed: there is one thread
  region->written.store(1 << 30, std::memory_order_relaxed);  // relaxed: there is one thread
  Marked got;
  for (uint64_t i = ring.reader.First(); i < ring.reader.End(); ++i) {
    EXPECT_FALSE(ring.reader.Read(i, &got));
  }
}

TEST(TraceRing, HoldsTheRecordsOfLanes) {
  auto work = TraceWriter::Create(1, kWorkRecords, kWorkRecordWords);
  auto requests = TraceWriter::Create(1, kRequestRecords, kRequestRecordWords);
  ASSERT_TRUE(work.ok() && requests.ok());
  work->Write(WorkRecord{.id = 3, .batch = 9});
  RequestRecord request;
  request.span = 4;
  requests->Write(request);
  auto reader = TraceReader::Open(work->region().fd().get(), 1, kWorkRecordWords);
  WorkRecord got;
  ASSERT_TRUE(reader.ok() && reader->Read(0, &got));
  EXPECT_EQ(got.id, 3u);
  EXPECT_EQ(got.batch, 9u);
}

}  // namespace
}  // namespace millrace
