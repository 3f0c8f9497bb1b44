#include "services/registry/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/cpu_list.h"
#include "ipc/fd.h"
#include "services/runtime/background.h"

namespace millrace {
namespace {

constexpr int kFirstGiven = 3;

absl::Status Exhausted(const char* what, int error) {
  return absl::ResourceExhaustedError(absl::StrCat(what, ": ", strerror(error)));
}

struct Pipe {
  Fd read;
  Fd write;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Exhausted("pipe", errno);
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  // Only our end: the child would be surprised by a stream that does not block.
  if (fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0) return Exhausted("fcntl", errno);
  return pipe;
}

// What posix_spawn is told. Its calls fail only for want of memory or a number out of range.
class SpawnPlan {
 public:
  SpawnPlan() {
    Must(posix_spawn_file_actions_init(&actions_));
    Must(posix_spawnattr_init(&attributes_));
    Must(posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP));
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    Must(posix_spawnattr_setsigdefault(&attributes_, &all));
    Must(posix_spawnattr_setsigmask(&attributes_, &none));
    Must(posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0));
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // `from` lies above every `to`, so that no step overwrites what a later one needs.
  void Give(int from, int to) { Must(posix_spawn_file_actions_adddup2(&actions_, from, to)); }
  void CloseFrom(int first) { Must(posix_spawn_file_actions_addclosefrom_np(&actions_, first)); }

  int Spawn(const ChildRequest& request, pid_t* pid) {
    std::vector<std::string> words = {request.program};
    words.insert(words.end(), request.arguments.begin(), request.arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    char* environment[] = {nullptr};
    return posix_spawn(pid, request.program.c_str(), &actions_, &attributes_, argv.data(),
                       environment);
  }

 private:
  static void Must(int error) { MR_CHECK(error == 0, "posix_spawn takes its settings"); }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

absl::StatusOr<pid_t> Spawn(const ChildRequest& request, int output, int errors) {
  SpawnPlan plan;
  const int given_end = kFirstGiven + static_cast<int>(request.fds.size());
  std::vector<int> sources = {output, errors};
  sources.insert(sources.end(), request.fds.begin(), request.fds.end());
  std::vector<Fd> high;
  for (size_t i = 0; i < sources.size(); ++i) {
    high.emplace_back(fcntl(sources[i], F_DUPFD_CLOEXEC, given_end));
    if (!high.back().valid()) return Exhausted("a descriptor for the child", errno);
    plan.Give(high.back().get(), static_cast<int>(i) + STDOUT_FILENO);
  }
  plan.CloseFrom(given_end);
  pid_t pid = -1;
  const int error = plan.Spawn(request, &pid);
  if (error == 0) return pid;
  if (error == ENOMEM || error == EAGAIN) return Exhausted("cannot start a child", error);
  return absl::NotFoundError(absl::StrCat("cannot be started: ", strerror(error)));
}

// Takes what is there. False: the stream has ended.
bool Drain(int fd, size_t max, std::string* kept) {
  char chunk[4096];
  while (true) {
    const ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    if (n == 0) return false;
    kept->append(chunk, std::min<size_t>(n, max - std::min(max, kept->size())));
  }
}

// Reads both streams until the child has ended or its time is over.
void Watch(pid_t pid, int pidfd, const ChildRequest& request, int output, int errors,
           ChildResult* result) {
  const int64_t end_ns = MonotonicNanos() + request.timeout_ns;
  bool waits_for_idle = request.background;
  std::array<pollfd, 3> polls = {{{pidfd, POLLIN, 0}, {output, POLLIN, 0}, {errors, POLLIN, 0}}};
  while (true) {
    const int64_t left_ns = end_ns - MonotonicNanos();
    if (left_ns <= 0) {
      result->timed_out = true;
      return;
    }
    if (waits_for_idle && left_ns < request.timeout_ns / 2) {
      waits_for_idle = false;
      RunALittle(pid);
    }
    const int64_t until_ns = waits_for_idle ? left_ns - request.timeout_ns / 2 : left_ns;
    const int64_t wait_ms = until_ns / kNanosPerMilli + 1;
    poll(polls.data(), polls.size(), static_cast<int>(std::min<int64_t>(wait_ms, 60'000)));
    if (polls[1].revents != 0 && !Drain(output, request.max_output, &result->output)) {
      polls[1].fd = -1;
    }
    if (polls[2].revents != 0 && !Drain(errors, request.max_output, &result->errors)) {
      polls[2].fd = -1;
    }
    if (polls[0].revents != 0) return;
  }
}

// Kills what is left of the child's group (its number is the child's until that is reaped).
void Reap(pid_t pid, ChildResult* result) {
  kill(-pid, SIGKILL);
  int status = 0;
  pid_t reaped;
  do {
    reaped = waitpid(pid, &status, 0);
  } while (reaped < 0 && errno == EINTR);
  MR_CHECK(reaped == pid, "a child is reaped by the one who started it");
  if (WIFEXITED(status)) result->exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result->signal = WTERMSIG(status);
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const ChildRequest& request) {
  MR_CHECK(request.timeout_ns > 0, "a child has an end");
  absl::StatusOr<Pipe> output = MakePipe();
  if (!output.ok()) return output.status();
  absl::StatusOr<Pipe> errors = MakePipe();
  if (!errors.ok()) return errors.status();
  absl::StatusOr<pid_t> pid = Spawn(request, output->write.get(), errors->write.get());
  if (!pid.ok()) return pid.status();
  if (request.background) RunWhenIdle(*pid);
  if (!request.cpus.empty()) {
    const cpu_set_t mask = MaskOf(request.cpus);
    sched_setaffinity(*pid, sizeof mask, &mask);  // one that is refused costs latency
  }
  output->write.reset();
  errors->write.reset();
  ChildResult result;
  // By number: glibc 2.36 declares pidfd_open without C linkage.
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, *pid, 0)));
  if (!pidfd.valid()) {
    const int error = errno;
    Reap(*pid, &result);
    return Exhausted("pidfd_open", error);
  }
  Watch(*pid, pidfd.get(), request, output->read.get(), errors->read.get(), &result);
  Reap(*pid, &result);
  // What it wrote just before its end.
  Drain(output->read.get(), request.max_output, &result.output);
  Drain(errors->read.get(), request.max_output, &result.errors);
  return result;
}

}  // namespace millrace
