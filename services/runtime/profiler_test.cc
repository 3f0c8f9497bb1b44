#include "services/runtime/profiler.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

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

// Likewise. Blocks of one page, so many of them.
__attribute__((noinline)) std::vector<std::unique_ptr<char[]>> HoldForTheProfiler(size_t blocks) {
  std::vector<std::unique_ptr<char[]>> held;
  for (size_t i = 0; i < blocks; ++i) {
    held.push_back(std::make_unique<char[]>(4096));
    held.back()[0] = 1;
  }
  return held;
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

absl::StatusOr<Fd> TakeHeap() {
  std::promise<absl::StatusOr<Fd>> promise;
  const absl::Status begun = Profiler::BeginHeap(
      [&](absl::StatusOr<Fd> profile) { promise.set_value(std::move(profile)); });
  if (!begun.ok()) return begun;
  return promise.get_future().get();
}

// Run by the test below, in a process with the other allocator.
TEST(HeapProfile, DISABLED_NamesWhoHoldsTheMemory) {
  constexpr size_t kBlocks = 16 << 10, kBytes = kBlocks * 4096;
  auto held = HoldForTheProfiler(kBlocks);
  const auto bytes_of = [](const Profile& profile) -> double {
    for (const ProfileLine& line : ProfileTable(profile)) {
      if (line.function.find("HoldForTheProfiler") == std::string::npos) continue;
      return static_cast<double>(line.total);
    }
    return 0;
  };
  const absl::StatusOr<Fd> taken = TakeHeap();
  ASSERT_TRUE(taken.ok()) << taken.status();
  const Profile profile = Read(*taken);
  EXPECT_TRUE(IsOfBytes(profile));
  // Some 1,000 samples of them, whose random numbers have few bits: a quarter too few were seen.
  EXPECT_GT(bytes_of(profile), kBytes / 2.0) << FoldedStacks(profile);
  EXPECT_LT(bytes_of(profile), kBytes * 2.0) << FoldedStacks(profile);
  held.clear();
  const absl::StatusOr<Fd> after = TakeHeap();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_LT(bytes_of(Read(*after)), kBytes / 100.0) << "it holds it no more";
}

TEST(HeapProfile, IsOfAProcessThatWasStartedForIt) {
  EXPECT_TRUE(absl::IsFailedPrecondition(TakeHeap().status())) << "this one was not";
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    setenv("LD_PRELOAD", "libtcmalloc.so.4", 1);
    setenv("TCMALLOC_SAMPLE_PARAMETER", "65536", 1);
    execl("/proc/self/exe", "profiler_test", "--gtest_filter=HeapProfile.DISABLED_*",
          "--gtest_also_run_disabled_tests", nullptr);
    _exit(127);
  }
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace millrace
