// The registry: README.md beside this file says what it does, its signals, files and exit codes.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "common/log.h"
#include "services/registry/model_tool.h"
#include "services/registry/registry_service.h"
#include "services/runtime/log_ring.h"
#include "services/runtime/process.h"

namespace {

// The value of --name=value; nothing where this is another argument.
const char* FlagValue(const char* argument, const char* name) {
  const size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1
                                                                         : nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  using millrace::Log;
  using millrace::LogLevel;
  millrace::SetLogProcess("registry0");
  if (argc > 1 && millrace::IsModelTool(argv[1])) {
    ::signal(SIGXFSZ, SIG_IGN);  // a full disk is an answer, not an end
    return millrace::RunModelTool({argv + 1, argv + argc}, std::cout, std::cerr);
  }
  int control_fd = 3;
  std::string compiler;
  for (int i = 1; i < argc; ++i) {
    if (const char* fd = FlagValue(argv[i], "--control_fd")) {
      control_fd = atoi(fd);
    } else if (const char* path = FlagValue(argv[i], "--compiler")) {
      compiler = path;
    } else {
      Log(LogLevel::kError, "unknown_argument", {{"argument", argv[i]}});
      return millrace::kExitUsage;
    }
  }
  if (compiler.empty() || control_fd < 3 || fcntl(control_fd, F_SETFD, FD_CLOEXEC) != 0) {
    Log(LogLevel::kError, "not_started_by_supervisor", {{"needs", "--control_fd, --compiler"}});
    return millrace::kExitUsage;
  }
  if (access(compiler.c_str(), X_OK) != 0) {
    Log(LogLevel::kError, "compiler_missing", {{"path", compiler}});
    return millrace::kExitCompilerMissing;
  }
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  millrace::LogRing::Begin();
  prctl(PR_SET_DUMPABLE, 0);  // closes /proc/PID/mem to other processes of this user
  return millrace::RegistryService(millrace::Fd(control_fd), std::move(compiler)).Run();
}
