#include "services/runtime/process.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "services/runtime/control.h"
#include "services/runtime/log_ring.h"

namespace millrace {
namespace {

int ControlFd(int argc, char** argv) {
  constexpr char kFlag[] = "--control_fd=";
  if (argc == 1) return 3;
  if (argc == 2 && strncmp(argv[1], kFlag, strlen(kFlag)) == 0)
    return atoi(argv[1] + strlen(kFlag));
  return -1;
}

void IgnoreTerminalSignals() {
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
}

}  // namespace

int RunProcess(int argc, char** argv, Stage stage, StageProcess* process) {
  const int fd = ControlFd(argc, argv);
  if (fd < 0 || fcntl(fd, F_GETFD) < 0) {
    Log(LogLevel::kError, "not_started_by_supervisor", {{"stage", std::string(StageName(stage))}});
    return kExitUsage;
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  IgnoreTerminalSignals();
  LogRing::Begin();
  prctl(PR_SET_DUMPABLE, 0);  // closes /proc/PID/mem to other processes of this user
  // Never destroyed: the page stays mapped until the kernel has marked its liveness word.
  static Control* const control = new Control(Fd(fd), stage, process);
  const int code = control->Run();
  // Without a Stop the lanes still run, a hung one for ever: nothing may wait for them.
  if (code != kExitOk) _exit(code);
  return code;
}

}  // namespace millrace
