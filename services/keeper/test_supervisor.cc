// A supervisor for the keeper's test: does what its first argument says, and writes what it was
// handed over, and what happens to it, as lines into the file of its second. On SIGUSR1 it asks for
// an upgrade to itself, doing what its third says.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/control_channel.h"

namespace millrace {
namespace {

FILE* g_file;
ControlChannel* g_keeper;
std::vector<std::string> g_next;

void OnSignal(int signal) {
  fprintf(g_file, "signal %d\n", signal);
  fflush(g_file);
  if (signal == SIGTERM) _exit(0);
  ToKeeper message;
  if (signal == SIGUSR1) {
    for (const std::string& word : g_next) message.mutable_upgrade()->add_command(word);
    message.mutable_upgrade()->set_name("next");
    message.mutable_upgrade()->set_ready_within_ms(g_next[1] == "serve" ? 300 : 20'000);
  } else {
    message.mutable_spare();
  }
  g_keeper->Send(message).IgnoreError();
}

// What is kept holds a number: of the supervisors that had it.
Fd Counted(Fd kept, int* count) {
  *count = 0;
  if (!kept.valid()) kept = Fd(memfd_create("count", MFD_CLOEXEC));
  [[maybe_unused]] ssize_t n = pread(kept.get(), count, sizeof *count, 0);
  *count += 1;
  n = pwrite(kept.get(), count, sizeof *count, 0);
  return kept;
}

// Writes down what the keeper says, for ever; one that is retired ends well.
[[noreturn]] void Listen() {
  pollfd wait = {3, POLLIN, 0};
  while (true) {
    FromKeeper message;
    std::vector<Fd> none;
    if (poll(&wait, 1, -1) < 1) continue;
    const absl::StatusOr<bool> received = g_keeper->Receive(&message, &none);
    if (!received.ok()) _exit(0);
    if (!*received) continue;
    if (message.has_promoted()) fprintf(g_file, "promoted %d\n", getpid());
    if (message.has_upgrade_failed()) {
      fprintf(g_file, "failed: %s\n", message.upgrade_failed().why().c_str());
    }
    if (message.has_retired()) fprintf(g_file, "retired %d\n", getpid());
    fflush(g_file);
    if (message.has_retired()) _exit(0);
  }
}

int Main(const std::string& what, const char* path) {
  g_file = fopen(path, "ae");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  ControlChannel keeper{Fd(3)};
  pollfd wait = {3, POLLIN, 0};
  poll(&wait, 1, 5000);
  Handover handover;
  std::vector<Fd> fds;
  if (!keeper.Receive(&handover, &fds).value_or(false)) return 2;
  Fd kept;
  for (int i = 0; i < handover.kept_size(); ++i) {
    if (handover.kept(i) == "count") kept = std::move(fds[handover.listeners_size() + i]);
  }
  int count;
  kept = Counted(std::move(kept), &count);
  int listening = 0;
  socklen_t size = sizeof listening;
  getsockopt(fds[0].get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
  fprintf(g_file,
          "start %d kept %d restarts %u listeners %d listening %d open %d nothing %d "
          "role %d stop %d\n",
          count, handover.kept_size(), handover.restarts(), handover.listeners_size(), listening,
          fcntl(4 + handover.listeners_size() + handover.kept_size() + 8, F_GETFD) >= 0,
          handover.nothing_lives(), handover.role(), handover.stop());
  if (!handover.upgrade_failure().empty()) {
    fprintf(g_file, "failed: %s\n", handover.upgrade_failure().c_str());
  }
  fflush(g_file);
  ToKeeper message;
  message.set_keep("count");
  keeper.Send(message, {kept.get()}).IgnoreError();
  message.set_keep("other");
  keeper.Send(message, {kept.get()}).IgnoreError();
  message.set_forget("other");
  keeper.Send(message).IgnoreError();
  if (what == "crash") abort();
  g_keeper = &keeper;
  if (what.rfind("exit ", 0) == 0) return atoi(what.c_str() + 5);
  if (what == "orphan" && fork() == 0) {
    if (fork() != 0) _exit(0);
    // A grandchild that nobody waits for; the keeper becomes its parent.
    fprintf(g_file, "orphan %d\n", getpid());
    fflush(g_file);
    for (;;) pause();
  }
  if (what == "deaf") {
    message.set_stop_within_ms(300);
    keeper.Send(message).IgnoreError();
    signal(SIGTERM, SIG_IGN);
  } else {
    signal(SIGTERM, OnSignal);
  }
  signal(SIGHUP, OnSignal);
  signal(SIGUSR1, OnSignal);
  fprintf(g_file, "waiting %d\n", getpid());
  fflush(g_file);
  if (what == "ready") {
    message.mutable_candidate_ready();
    keeper.Send(message).IgnoreError();
  }
  Listen();
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  if (argc > 3) millrace::g_next = {argv[0], argv[3], argv[2], argv[1]};
  return millrace::Main(argv[1], argv[2]);
}
