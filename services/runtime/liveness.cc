#include "services/runtime/liveness.h"

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/check.h"
#include "services/runtime/stacks.h"

namespace millrace {
namespace {

Page* g_page = nullptr;
robust_list g_node;
robust_list_head g_head;

uint32_t* LivenessWord() { return reinterpret_cast<uint32_t*>(&g_page->liveness); }

void SayDying(uint32_t reason) {
  // relaxed: published by the release of the state below.
  g_page->exit_reason.store(reason, std::memory_order_relaxed);
  // release: meets the acquire of PageSaysDead in services/supervisor/watcher.cc.
  g_page->state.store(static_cast<uint32_t>(LaneState::kDying), std::memory_order_release);
  // release: meets the acquire in Watcher::Run, which compares the word before it sleeps.
  g_page->liveness.store(FUTEX_OWNER_DIED, std::memory_order_release);
  syscall(SYS_futex, LivenessWord(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void OnFatalSignal(int signal, siginfo_t* info, void*) {
  SayDying(static_cast<uint32_t>(signal));
  // From outside: the supervisor asks where a process that hangs stands.
  const bool asked = info->si_code <= 0 && info->si_pid != getpid();
  asked ? TellStacks() : TellStack();
  // SA_RESETHAND restored the default action: it follows when the handler returns or here.
  raise(signal);
}

void CatchFatalSignals() {
  static char stack[64 * 1024];
  stack_t alternative = {};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = OnFatalSignal;
  action.sa_flags = SA_RESETHAND | SA_ONSTACK | SA_NODEFER | SA_SIGINFO;
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
    MR_CHECK(sigaction(signal, &action, nullptr) == 0, "cannot catch a fatal signal");
  }
}

}  // namespace

void EndDying(uint32_t reason, int exit_code) {
  if (g_page != nullptr) SayDying(reason);
  _exit(exit_code);
}

void HoldLiveness(Page* page) {
  MR_CHECK(g_page == nullptr, "liveness is held once");
  g_page = page;
  KnowThread("control");
  const auto tid = static_cast<uint32_t>(syscall(SYS_gettid));
  // The kernel adds futex_offset to each node of the list to find its word.
  g_node.next = reinterpret_cast<robust_list*>(&g_head.list);
  g_head.list.next = &g_node;
  g_head.futex_offset = reinterpret_cast<char*>(LivenessWord()) - reinterpret_cast<char*>(&g_node);
  g_head.list_op_pending = nullptr;
  // relaxed: the page is announced to the supervisor after this.
  page->liveness.store(tid | FUTEX_WAITERS, std::memory_order_relaxed);
  MR_CHECK(syscall(SYS_set_robust_list, &g_head, sizeof g_head) == 0, "set_robust_list");
  CatchFatalSignals();
}

}  // namespace millrace
