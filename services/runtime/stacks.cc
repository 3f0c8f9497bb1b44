#include "services/runtime/stacks.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "absl/debugging/symbolize.h"
#include "common/check.h"
#include "common/log_sink.h"

namespace millrace {
namespace {

struct KnownThread {
  std::atomic<pid_t> tid{0};  // 0: not known yet
  const char* name = nullptr;
  std::atomic<bool> told{false};
};

KnownThread g_threads[kMostThreads];
std::atomic<int> g_count{0};
thread_local const char* t_name = "unnamed";

pid_t OwnTid() { return static_cast<pid_t>(syscall(SYS_gettid)); }

void WriteLine(const char* line, int length, int room) {
  const auto bytes = static_cast<size_t>(std::min(length, room));
  const ssize_t ignored = write(STDERR_FILENO, line, bytes);
  static_cast<void>(ignored);
  HandToLogSink(LogLevel::kError, {line, bytes});
}

void TellFrame(const char* thread, int frame, void* pc) {
  char function[400];
  // One back: the address is where the call returns to, perhaps another function's first.
  if (!absl::Symbolize(static_cast<char*>(pc) - 1, function, sizeof function)) {
    snprintf(function, sizeof function, "%p", pc);
  }
  char line[600];
  const int length = snprintf(
      line, sizeof line, "level=error program=%s pid=%d event=stack thread=%s frame=%d at=\"%s\"\n",
      program_invocation_short_name, getpid(), thread, frame, function);
  WriteLine(line, length, sizeof line - 1);
}

void TellSilent(const char* thread) {
  char line[200];
  const int length =
      snprintf(line, sizeof line, "level=error program=%s pid=%d event=stack_silent thread=%s\n",
               program_invocation_short_name, getpid(), thread);
  WriteLine(line, length, sizeof line - 1);
}

void OnTell(int) {
  const int saved = errno;
  TellStack();
  const pid_t own = OwnTid();
  for (KnownThread& thread : g_threads) {
    // relaxed: the signal came after the thread had stored it itself.
    if (thread.tid.load(std::memory_order_relaxed) != own) continue;
    // release: meets the acquire in WaitFor.
    thread.told.store(true, std::memory_order_release);
  }
  errno = saved;
}

// Until it has told, or `left_ms` has passed; what is left.
int WaitFor(const KnownThread& thread, int left_ms) {
  // acquire: meets the release in OnTell; its lines are written.
  while (!thread.told.load(std::memory_order_acquire) && left_ms > 0) {
    const timespec pause = {0, 1'000'000};
    nanosleep(&pause, nullptr);
    left_ms -= 1;
  }
  return left_ms;
}

}  // namespace

void KnowThread(const char* name) {
  // The unwinder loads what it needs, and allocates, at its first use.
  void* first[1];
  backtrace(first, 1);
  t_name = name;
  struct sigaction action = {};
  action.sa_handler = OnTell;
  action.sa_flags = SA_RESTART;
  MR_CHECK(sigaction(SIGUSR2, &action, nullptr) == 0, "cannot catch SIGUSR2");
  // relaxed: a place of its own for each thread; the tid below publishes what stands in it.
  const int place = g_count.fetch_add(1, std::memory_order_relaxed);
  if (place >= kMostThreads) return;
  g_threads[place].name = name;
  // release: meets the acquire in TellStacks.
  g_threads[place].tid.store(OwnTid(), std::memory_order_release);
}

void TellStack() {
  void* frames[kMostFrames];
  const int count = backtrace(frames, kMostFrames);
  for (int i = 0; i < count; ++i) TellFrame(t_name, i, frames[i]);
}

void TellStacks() {
  int left_ms = kTellLimitMs;
  const pid_t own = OwnTid();
  for (KnownThread& thread : g_threads) {
    // acquire: meets the release in KnowThread; the name stands.
    const pid_t tid = thread.tid.load(std::memory_order_acquire);
    if (tid == 0) continue;
    if (tid == own) {
      TellStack();
      continue;
    }
    if (syscall(SYS_tgkill, getpid(), tid, SIGUSR2) != 0) continue;  // it has ended
    left_ms = WaitFor(thread, left_ms);
    // acquire: meets the release in OnTell.
    if (!thread.told.load(std::memory_order_acquire)) TellSilent(thread.name);
  }
}

}  // namespace millrace
