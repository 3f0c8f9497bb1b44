// A child that holds its page, ended in every way; the parent sees it as the supervisor would: by
// the words of a read-only mapping.
#include "services/runtime/liveness.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "common/check.h"
#include "gtest/gtest.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "ipc/testing/must.h"
#include "services/runtime/stacks.h"

namespace millrace {
namespace {

constexpr int kPatienceSeconds = 20;

// Runs `life` in a child that holds a page; the page as everybody else sees it.
class Child {
 public:
  explicit Child(void (*life)()) {
    auto [ours, theirs] = Must(ControlChannel::MakePair());
    pid_ = fork();
    MR_CHECK(pid_ >= 0, "fork");
    if (pid_ == 0) Live(ControlChannel(std::move(theirs)), life);
    theirs.reset();
    ControlChannel channel(std::move(ours));
    FromProcess message;
    std::vector<Fd> fds;
    for (absl::StatusOr<bool> got = false; !*got;) {
      got = channel.Receive(&message, &fds);
      MustOk(got.status());
      if (!*got) usleep(100);
    }
    page_ = Must(Region::Open(fds.at(0).get(), kPageType, 1, sizeof(Page)));
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  const Page& page() const { return *page_.as<const Page>(); }
  pid_t pid() const { return pid_; }

  // The supervisor's wait: until the word no longer names a living owner. False: out of patience.
  bool WaitForDeath() const {
    const timespec patience = {kPatienceSeconds, 0};
    while (true) {
      // acquire: meets the release of SayDying in services/runtime/liveness.cc.
      const uint32_t word = page().liveness.load(std::memory_order_acquire);
      if ((word & FUTEX_OWNER_DIED) != 0) return true;
      if (syscall(SYS_futex, &page().liveness, FUTEX_WAIT, word, &patience, nullptr, 0) != 0 &&
          errno == ETIMEDOUT) {
        return false;
      }
    }
  }
  int Reap() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  [[noreturn]] static void Live(ControlChannel channel, void (*life)()) {
    const rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    Region page = Must(Region::Create(kPageType, 1, sizeof(Page)));
    HoldLiveness(page.as<Page>());
    FromProcess message;
    message.mutable_announce();
    MustOk(channel.Send(message, {page.fd().get()}));
    life();
    _exit(7);
  }

  pid_t pid_ = -1;
  Region page_;
};

[[noreturn]] void Sleep() {
  while (true) pause();
}

TEST(LivenessTest, TheWordNamesTheMainThreadAndItsWaiter) {
  Child child(Sleep);
  EXPECT_EQ(child.page().liveness.load(), static_cast<uint32_t>(child.pid()) | FUTEX_WAITERS);
  EXPECT_EQ(child.page().state.load(), static_cast<uint32_t>(LaneState::kAlive));
}

TEST(LivenessTest, AKillWakesTheWaiterOnAReadOnlyMapping) {
  Child child(Sleep);
  std::thread killer([&] {
    usleep(20'000);  // the waiter is asleep by then; if not, the test still holds
    kill(child.pid(), SIGKILL);
  });
  EXPECT_TRUE(child.WaitForDeath());
  killer.join();
  EXPECT_TRUE(WIFSIGNALED(child.Reap()));
  EXPECT_NE(child.page().state.load(), static_cast<uint32_t>(LaneState::kDying));
  EXPECT_EQ(child.page().exit_reason.load(), 0u);
}

TEST(LivenessTest, AnExitIsADeathToo) {
  Child child([] {});
  EXPECT_TRUE(child.WaitForDeath());
  const int status = child.Reap();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(LivenessTest, AKillWhileOtherThreadsRunIsSeen) {
  Child child([] {
    for (int i = 0; i < 2; ++i) std::thread(Sleep).detach();
    Sleep();
  });
  kill(child.pid(), SIGKILL);
  EXPECT_TRUE(child.WaitForDeath());
}

void ExpectDying(Child* child, int signal) {
  ASSERT_TRUE(child->WaitForDeath());
  EXPECT_EQ(child->page().state.load(), static_cast<uint32_t>(LaneState::kDying));
  EXPECT_EQ(child->page().exit_reason.load(), static_cast<uint32_t>(signal));
  const int status = child->Reap();
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), signal);  // the default action followed
}

TEST(LivenessTest, EachFatalSignalSaysDyingAndWhy) {
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
    Child child(Sleep);
    kill(child.pid(), signal);
    ExpectDying(&child, signal);
  }
}

TEST(LivenessTest, ABrokenInvariantSaysDying) {
  Child child([] { MR_CHECK(false, "as the test wants it"); });
  ExpectDying(&child, SIGABRT);
}

// As a lane that finds its device lost: from its own thread, with the code that is asked for.
TEST(LivenessTest, AnEndByALanesThreadSaysDyingAndWhy) {
  Child child([] { std::thread([] { EndDying(kReasonDeviceLost, 78); }).join(); });
  ASSERT_TRUE(child.WaitForDeath());
  EXPECT_EQ(child.page().state.load(), static_cast<uint32_t>(LaneState::kDying));
  EXPECT_EQ(child.page().exit_reason.load(), kReasonDeviceLost);
  const int status = child.Reap();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 78);
}

TEST(LivenessTest, AFaultInALanesThreadSaysDying) {
  Child child([] { std::thread([] { raise(SIGSEGV); }).join(); });
  ExpectDying(&child, SIGSEGV);
}

// The handler of the main thread has a stack of its own, so that an overflow is told as well.
TEST(LivenessTest, AStackOverflowSaysDying) {
  struct Deep {
    static int Down(volatile char* above) {
      volatile char here[4096];
      here[0] = above[0];
      return here[0] == 0 ? 0 : Down(here) + here[0];
    }
  };
  Child child([] {
    volatile char start[1] = {1};
    _exit(Deep::Down(start));
  });
  ExpectDying(&child, SIGSEGV);
}

// What the child of `life` writes until it has ended by SIGABRT from outside.
std::string SaidAtAbort(void (*life)()) {
  int ends[2];
  MR_CHECK(pipe(ends) == 0, "pipe");
  const int own = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  std::string said;
  {
    Child child(life);
    dup2(own, STDERR_FILENO);
    close(ends[1]);
    char byte = 0;
    // The child says so once its thread stands where the test wants it.
    MR_CHECK(read(ends[0], &byte, 1) == 1, "the child never stood still");
    kill(child.pid(), SIGABRT);
    ExpectDying(&child, SIGABRT);
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, n);
  }
  close(ends[0]);
  close(own);
  return said;
}

[[gnu::noinline]] void StandsStillHere() {
  MR_CHECK(write(STDERR_FILENO, "!", 1) == 1, "write");
  Sleep();
}

TEST(LivenessTest, AnAbortFromOutsideTellsWhereEachThreadStands) {
  const std::string said = SaidAtAbort([] {
    std::thread([] {
      KnowThread("lane");
      StandsStillHere();
    }).detach();
    Sleep();
  });
  EXPECT_NE(said.find("event=stack thread=control frame=0"), std::string::npos) << said;
  const size_t at = said.find("StandsStillHere");
  ASSERT_NE(at, std::string::npos) << said;
  const size_t line = said.rfind("level=error", at);
  EXPECT_NE(said.substr(line, at - line).find("thread=lane"), std::string::npos) << said;
}

TEST(LivenessTest, AThreadThatDoesNotAnswerHoldsUpNothing) {
  const std::string said = SaidAtAbort([] {
    std::thread([] {
      KnowThread("deaf");
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      StandsStillHere();
    }).detach();
    Sleep();
  });
  EXPECT_NE(said.find("event=stack_silent thread=deaf"), std::string::npos) << said;
}

TEST(LivenessDeathTest, LivenessIsHeldOnce) {
  EXPECT_DEATH(
      {
        Region page = Must(Region::Create(kPageType, 1, sizeof(Page)));
        HoldLiveness(page.as<Page>());
        HoldLiveness(page.as<Page>());
      },
      "held once");
}

}  // namespace
}  // namespace millrace
