// A link between two threads of one process: the same test runs plainly and under ThreadSanitizer
// (link_threads_test_sanitized), which sees both ends here. Two processes: link_kill_test.
#include "ipc/testing/link_threads.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr uint64_t kMessages = 20'000;

TEST(LinkThreadsTest, WhatIsSentArrives) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const ThreadsDone done = LinkThreads<Hardware>().Run(kMessages, seed);
    EXPECT_EQ(done.inlined + done.blocks, kMessages);
    EXPECT_GT(done.inlined, 0u);
    EXPECT_GT(done.blocks, 0u);
    // It slept in each burst's pause, and the producer when all blocks were held.
    EXPECT_GT(done.consumer_slept, 0u);
    EXPECT_GT(done.producer_slept, 0u);
  }
}

}  // namespace
}  // namespace millrace
