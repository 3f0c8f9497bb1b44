#include "common/testing/allocations.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace millrace {
namespace {

// Where the compiler cannot see that an allocation is not needed.
void* volatile sink;

uint64_t CountOf(const std::function<void()>& action) {
  const uint64_t before = Allocations();
  action();
  return Allocations() - before;
}

void Free(void* memory) {
  sink = memory;
  free(sink);
}

TEST(AllocationsTest, EachFormOfNewCounts) {
  struct alignas(128) Wide {
    char bytes[128];
  };
  EXPECT_EQ(CountOf([] { sink = new int(1), delete static_cast<int*>(sink); }), 1u);
  EXPECT_EQ(CountOf([] { sink = new int[9], delete[] static_cast<int*>(sink); }), 1u);
  EXPECT_EQ(CountOf([] { sink = new Wide, delete static_cast<Wide*>(sink); }), 1u);
  EXPECT_EQ(CountOf([] { std::string(100, 'x').swap(*std::make_unique<std::string>()); }), 2u);
}

TEST(AllocationsTest, WhatAllocatesNothingCountsNothing) {
  std::vector<int> numbers;
  numbers.reserve(100);
  EXPECT_EQ(CountOf([&] {
              for (int i = 0; i < 100; ++i) numbers.push_back(i);
              sink = numbers.data();
            }),
            0u);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(AllocationsTest, EachFunctionOfCCounts) {
  EXPECT_EQ(CountOf([] { Free(malloc(10)); }), 1u);
  EXPECT_EQ(CountOf([] { Free(calloc(10, 10)); }), 1u);
  EXPECT_EQ(CountOf([] { Free(realloc(malloc(10), 100'000)); }), 2u);
  EXPECT_EQ(CountOf([] { Free(aligned_alloc(64, 128)); }), 1u);
  void* memory = nullptr;
  EXPECT_EQ(CountOf([&] { EXPECT_EQ(posix_memalign(&memory, 4096, 10), 0); }), 1u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 4096, 0u);
  Free(memory);
  EXPECT_EQ(posix_memalign(&memory, 3, 10), EINVAL);
  // A library's own call.
  EXPECT_EQ(CountOf([] { Free(strdup("text")); }), 1u);
}
#endif

TEST(AllocationsTest, OtherThreadsCountForThemselves) {
  const uint64_t before = Allocations();
  uint64_t other = 0;
  uint64_t started = 0;
  {
    std::thread thread([&] { other = CountOf([] { delete new std::string(100, 'x'); }); });
    started = Allocations();
    thread.join();
  }
  EXPECT_EQ(other, 2u);
  EXPECT_EQ(Allocations(), started);
  EXPECT_GT(started, before);  // the thread's own state
}

}  // namespace
}  // namespace millrace
