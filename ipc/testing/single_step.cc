#include "ipc/testing/single_step.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace millrace {

SteppedProcess::SteppedProcess(const std::function<void(Markers*)>& body) {
  pid_ = fork();
  MR_CHECK(pid_ >= 0, "fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    MR_CHECK(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0, "the kernel lets nobody trace");
    raise(SIGSTOP);
    Markers markers(board_.get());
    body(&markers);
    _exit(0);
  }
  int status;
  MR_CHECK(waitpid(pid_, &status, 0) == pid_ && WIFSTOPPED(status), "a child that is traced stops");
  MR_CHECK(ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_EXITKILL) == 0, "ptrace");
  pidfd_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  MR_CHECK(pidfd_.valid(), "pidfd_open");
}

SteppedProcess::~SteppedProcess() { Kill(); }

void SteppedProcess::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  int status;
  while (waitpid(pid_, &status, 0) == pid_ && !WIFSIGNALED(status) && !WIFEXITED(status)) {
  }
  pid_ = -1;
}

Stop SteppedProcess::Wait() {
  int status;
  pid_t got;
  do {
    got = waitpid(pid_, &status, 0);
  } while (got < 0 && errno == EINTR);
  MR_CHECK(got == pid_, "waitpid of a traced child");
  if (WIFSTOPPED(status)) return WSTOPSIG(status) == SIGTRAP ? Stop::kNone : Stop::kDied;
  pid_ = -1;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? Stop::kExited : Stop::kDied;
}

Stop SteppedProcess::Run() {
  MR_CHECK(pid_ > 0, "a child that has ended cannot run on");
  MR_CHECK(ptrace(PTRACE_CONT, pid_, nullptr, nullptr) == 0, "ptrace");
  const Stop ended = Wait();
  return stop_ = ended == Stop::kNone ? Stop{board_->stop} : ended;
}

uint64_t SteppedProcess::Step(const std::function<void()>& audit, uint64_t at_most) {
  MR_CHECK(stop_ == Stop::kBegin, "only what begins with its marker is stepped");
  stop_ = Stop::kNone;
  audit();
  for (uint64_t steps = 0; steps < at_most; ++steps) {
    MR_CHECK(ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0, "ptrace");
    if (Wait() != Stop::kNone) {
      stop_ = Stop::kDied;
      return steps + 1;
    }
    audit();
    if (board_->stop == Stop::kEnd) {
      stop_ = Stop::kEnd;
      return steps + 2;
    }
  }
  return at_most + 1;
}

Fd SteppedProcess::TakeFd(int number) const {
  return Fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0)));
}

Fd SteppedProcess::Shown(size_t place) const {
  MR_CHECK(place < board_->shown_count, "the child has not shown that many descriptors");
  Fd fd = TakeFd(board_->shown[place]);
  MR_CHECK(fd.valid(), "the kernel does not give out a traced child's descriptor");
  return fd;
}

uint64_t InterruptAtEach(const std::function<void(Markers*)>& body,
                         const std::function<void()>& before, const std::function<void()>& beside,
                         const std::function<void(uint64_t at)>& check, uint64_t most) {
  uint64_t all = 0;
  {
    before();
    SteppedProcess whole(body);
    MR_CHECK(whole.Run() == Stop::kBegin, "the stepped child did not begin");
    all = whole.Step([] {});
    MR_CHECK(whole.stop() == Stop::kEnd, "the stepped child died of itself");
  }
  uint64_t done = 0;
  const uint64_t stride = (all + most - 1) / most;
  for (uint64_t at = 0; at < all; at += stride, ++done) {
    before();
    SteppedProcess child(body);
    MR_CHECK(child.Run() == Stop::kBegin, "the stepped child did not begin");
    child.Step([] {}, at);
    beside();
    MR_CHECK(child.stop() == Stop::kEnd || child.Run() == Stop::kExited,
             "the stepped child died of itself");
    check(at);
  }
  return done;
}

}  // namespace millrace
