#include "services/runtime/profiler.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>

#include "common/profile.h"

namespace millrace {

// Not in an unnamed namespace and not inlined: its name is looked for.
__attribute__((noinline)) uint64_t BurnForTheProfiler(const std::atomic<bool>& stop) {
  uint64_t sum = 1;
  // relaxed: an end, no more.
  while (!stop.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 1000; ++i) sum = sum * 2862933555777941757u + 3037000493u;
  }
  return sum;
}

namespace {

Profile Read(const Fd& fd) {
  Profile profile;
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_SET), 0);
  EXPECT_TRUE(profile.ParseFromFileDescriptor(fd.get()));
  return profile;
}

absl::StatusOr<Fd> Take(int64_t duration_ms) {
  std::promise<absl::StatusOr<Fd>> promise;
  EXPECT_TRUE(Profiler::Begin(duration_ms, [&](absl::StatusOr<Fd> profile) {
                promise.set_value(std::move(profile));
              }).ok());
  return promise.get_future().get();
}

TEST(Profiler, NamesTheFunctionThatTakesTheTime) {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> result{0};
  std::thread burner([&] { result = BurnForTheProfiler(stop); });
  const absl::StatusOr<Fd> taken = Take(500);
  // relaxed: an end, no more.
  stop.store(true, std::memory_order_relaxed);
  burner.join();
  ASSERT_TRUE(taken.ok()) << taken.status();
  const Profile profile = Read(*taken);
  const std::vector<ProfileLine> table = ProfileTable(profile);
  ASSERT_FALSE(table.empty());
  EXPECT_NE(table[0].function.find("BurnForTheProfiler"), std::string::npos)
      << FoldedStacks(profile);
  EXPECT_GE(profile.duration_nanos(), 500'000'000);
  // Again, in the same process, of nothing.
  const absl::StatusOr<Fd> idle = Take(20);
  ASSERT_TRUE(idle.ok()) << idle.status();
  EXPECT_EQ(FoldedStacks(Read(*idle)).find("BurnForTheProfiler"), std::string::npos);
}

TEST(Profiler, OneAtATimeAndBounded) {
  std::promise<void> over;
  ASSERT_TRUE(Profiler::Begin(300, [&](const absl::StatusOr<Fd>&) { over.set_value(); }).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Profiler::Begin(10, [](absl::StatusOr<Fd>) {})));
  over.get_future().wait();
  EXPECT_TRUE(absl::IsInvalidArgument(Profiler::Begin(0, [](absl::StatusOr<Fd>) {})));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Profiler::Begin(Profiler::kMostMs + 1, [](absl::StatusOr<Fd>) {})));
}

}  // namespace
}  // namespace millrace
