// The observer: README.md beside this file says what it serves and how it may fail.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/log.h"
#include "services/observer/observer_service.h"
#include "services/runtime/log_ring.h"
#include "services/runtime/process.h"

namespace {

constexpr int kControlFd = 3;

}  // namespace

int main(int argc, char**) {
  using millrace::Log;
  using millrace::LogLevel;
  millrace::SetLogProcess("observer0");
  if (argc != 1 || fcntl(kControlFd, F_SETFD, FD_CLOEXEC) != 0) {
    Log(LogLevel::kError, "not_started_by_supervisor");
    return millrace::kExitUsage;
  }
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  millrace::LogRing::Begin();
  prctl(PR_SET_DUMPABLE, 0);  // closes /proc/PID/mem to other processes of this user
  // Never destroyed: the server's threads use it to the end.
  static auto* const service = new millrace::ObserverService(millrace::Fd(kControlFd));
  _exit(service->Run());
}
