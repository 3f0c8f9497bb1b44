// The supervisor. README.md has its page: arguments, signals, files, exit codes.
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "common/log.h"
#include "services/runtime/log_ring.h"
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

bool HasKeeper() {
  struct stat info;
  return fstat(kKeeperFd, &info) == 0 && S_ISSOCK(info.st_mode);
}

int End(const Startup& startup) {
  for (const std::string& sentence : startup.sentences) fprintf(stderr, "%s\n", sentence.c_str());
  return startup.exit_code;
}

int Main(int argc, char** argv) {
  Options options;
  bool end = false;
  if (const int code = ParseOptions(argc, argv, &options, &end); end) return code;
  Startup start = LoadConfig(options);
  if (options.check_config) {
    if (start.exit_code != kExitStopped) return End(start);
    printf("the configuration has no fault\n");
    return kExitStopped;
  }
  if (start.exit_code == kExitStopped) {
    const Startup checked = CheckMachine(options, start.config);
    start.exit_code = checked.exit_code;
    start.sentences = checked.sentences;
  }
  // Who takes over from another one has its configuration, whatever became of the file.
  if (start.exit_code != kExitStopped && !HasKeeper()) return End(start);
  SetLogProcess("supervisor");
  LogRing::Begin();
  RaiseFileLimit();
  fcntl(kKeeperFd, F_SETFD, FD_CLOEXEC);
  absl::StatusOr<KeeperLink> keeper = KeeperLink::Connect(Fd(kKeeperFd));
  if (!keeper.ok()) {
    fprintf(stderr, "%s\n", std::string(keeper.status().message()).c_str());
    return kExitUsage;
  }
  std::optional<Legacy> adopted = TakeAdopted(&*keeper);
  if (start.exit_code != kExitStopped && !adopted.has_value()) {
    // Whoever asked for the upgrade is told by the keeper.
    if (keeper->role() == Handover::CANDIDATE && !start.sentences.empty()) {
      keeper->WaitsFor(start.sentences[0]).IgnoreError();
    }
    return End(start);
  }
  for (const std::string& sentence : start.sentences) {
    Log(LogLevel::kWarning, "fault_of_the_next_start", {{"why", sentence}});
  }
  const Config& config = adopted.has_value() ? adopted->config : start.config;
  if (geteuid() == 0 && !UsersAreSeparate(config)) {
    Log(LogLevel::kWarning, "no_containment",
        {{"why",
          "running as root without a user for each stage: one that is taken over can reach "
          "every other"}});
  }
  SupervisorSetup setup;
  setup.config = config;
  setup.config_yaml = adopted.has_value() ? adopted->state.config_yaml() : ConfigText(config);
  setup.admin_path = AdminSocketPath(config);
  setup.programs = {options.binaries, options.compiler};
  setup.unloaded = options.unloaded;
  setup.command_for = [options](const Build& build) { return CommandFor(options, build); };
  if (adopted.has_value()) setup.adopted = std::move(adopted->state);
  return RunSupervisor(setup, std::move(*keeper));
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
