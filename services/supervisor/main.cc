// The supervisor. README.md has its page: arguments, signals, files, exit codes.
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/options.h"
#include "services/supervisor/placement.h"
#include "services/supervisor/supervisor.h"

namespace millrace {
namespace {

constexpr int kKeeperFd = 3;

// Descriptors are handed to every worker and kept for every peer: as many as we may have.
void RaiseFileLimit() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

int End(const Startup& startup) {
  for (const std::string& sentence : startup.sentences) fprintf(stderr, "%s\n", sentence.c_str());
  return startup.exit_code;
}

int Main(int argc, char** argv) {
  Options options;
  bool end = false;
  if (const int code = ParseOptions(argc, argv, &options, &end); end) return code;
  const Startup loaded = LoadConfig(options);
  if (loaded.exit_code != kExitStopped) return End(loaded);
  if (options.check_config) {
    printf("the configuration has no fault\n");
    return kExitStopped;
  }
  const Startup checked = CheckMachine(options, loaded.config);
  if (checked.exit_code != kExitStopped) return End(checked);
  SetLogProcess("supervisor");
  RaiseFileLimit();
  fcntl(kKeeperFd, F_SETFD, FD_CLOEXEC);
  absl::StatusOr<KeeperLink> keeper = KeeperLink::Connect(Fd(kKeeperFd));
  if (!keeper.ok()) {
    fprintf(stderr, "%s\n", std::string(keeper.status().message()).c_str());
    return kExitUsage;
  }
  if (geteuid() == 0 && !UsersAreSeparate(loaded.config)) {
    Log(LogLevel::kWarning, "no_containment",
        {{"why",
          "running as root without a user for each stage: one that is taken over can reach "
          "every other"}});
  }
  SupervisorSetup setup;
  setup.config = loaded.config;
  setup.config_yaml = ConfigText(loaded.config);
  setup.admin_path = AdminSocketPath(loaded.config);
  setup.programs = {options.binaries, options.compiler};
  return RunSupervisor(setup, std::move(*keeper));
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
