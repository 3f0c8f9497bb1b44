#include "tools/bench/subjects/foreign_time.h"

#include <gtest/gtest.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

namespace millrace {
namespace {

constexpr pid_t kNobody = INT_MAX;

// A process that computes, in a session of its own.
class Hog {
 public:
  Hog() : pid_(fork()) {
    if (pid_ != 0) return;
    setsid();  // a thread of the kernel has none
    for (std::atomic<uint64_t> turns = 0;;) ++turns;
  }
  ~Hog() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  // Returns when it has a session and has used some time of a processor after that.
  void Used() const {
    while (ReadProcessStat(pid_)->session != pid_) usleep(1000);
    const uint64_t before = ReadProcessStat(pid_)->used_ticks;
    while (ReadProcessStat(pid_)->used_ticks < before + 20) usleep(1000);
  }

 private:
  const pid_t pid_;
};

TEST(ForeignTimeTest, OthersTimeIsCountedAndNotThatOfTheTree) {
  const double ticks_a_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  const Hog hog;
  hog.Used();
  ForeignTime all(kNobody), without(getpid());
  hog.Used();
  const double counted = all.TakeSeconds(), rest = without.TakeSeconds();
  EXPECT_GE(counted, 20 / ticks_a_second);
  // What other programs do besides, both see; the second look was later.
  EXPECT_GE(counted - rest, 10 / ticks_a_second);
}

TEST(ForeignTimeTest, OneThatCameSinceIsCountedWhole) {
  ForeignTime all(kNobody);
  const Hog hog;
  hog.Used();
  EXPECT_GE(all.TakeSeconds(), 20.0 / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace
}  // namespace millrace
