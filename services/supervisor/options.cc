#include "services/supervisor/options.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/config_schema.h"
#include "common/fault_rule.h"
#include "nlohmann/json.hpp"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/placement.h"
#include "services/supervisor/process_table.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr int kKernelMajor = 5, kKernelMinor = 10;

std::string Folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

}  // namespace

int ParseOptions(int argc, char** argv, Options* options, bool* end) {
  *end = false;
  CLI::App app(
      "Millrace's supervisor: starts, watches and restarts the other processes. It is "
      "started by the keeper; by hand only with --check-config.");
  app.add_option("--config", options->config_file, "Configuration file; without it: defaults");
  app.add_option("--repository", options->repository, "Model repository, instead of the file's");
  app.add_option("--metrics", options->metrics,
                 "Address of the metrics, instead of the file's; 'none': no observer");
  app.add_option("--admin-socket", options->admin_socket, "Admin socket, instead of the file's");
  app.add_option("--binaries", options->binaries,
                 "Folder of the programs, DIR/<stage>/<stage>; else the parent of this one's");
  app.add_option("--compiler", options->compiler, "The model compiler; else DIR/registry/compiler");
  app.add_flag("--allow-client-shm", options->allow_client_shm,
               "Allow shared memory of clients, whatever the file says");
  app.add_flag("--enable-faults", options->enable_faults,
               "Let the faults happen that the file's section `faults` plans");
  app.add_option("--count", options->counts,
                 "STAGE=N: processes of a stage, instead of the file's");
  app.add_option("--unloaded", options->unloaded, "A model that is not served until it is loaded");
  app.add_flag("--check-config", options->check_config,
               "Check the configuration, tell every fault, and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    *end = true;
    return app.exit(error) == 0 ? kExitStopped : kExitUsage;
  }
  if (options->binaries.empty()) options->binaries = Folder(Folder(argv[0]));
  if (options->compiler.empty()) options->compiler = options->binaries + "/registry/compiler";
  return 0;
}

std::vector<std::string> CommandFor(const Options& options, const Build& build) {
  std::vector<std::string> command = {build.supervisor, "--binaries=" + build.programs.binaries,
                                      "--compiler=" + build.programs.compiler};
  const std::pair<const char*, const std::string&> given[] = {
      {"--config=", options.config_file},
      {"--repository=", options.repository},
      {"--admin-socket=", options.admin_socket},
      {"--metrics=", options.metrics}};
  for (const auto& [flag, value] : given) {
    if (!value.empty()) command.push_back(flag + value);
  }
  if (options.allow_client_shm) command.push_back("--allow-client-shm");
  if (options.enable_faults) command.push_back("--enable-faults");
  for (const std::string& count : options.counts) command.push_back("--count=" + count);
  return command;
}

namespace {

// Empty: it is set.
std::string SetCount(const std::string& text, Config* config) {
  const size_t equals = text.find('=');
  const std::string stage = text.substr(0, equals);
  int64_t count = 0;
  const bool number =
      equals != std::string::npos && absl::SimpleAtoi(text.substr(equals + 1), &count);
  for (const StageRow& row : kStageRows) {
    int64_t Config::*const field = CountOf(row.stage);
    if (field == nullptr || StageName(row.stage) != stage) continue;
    if (!number || count < 1 || count > MostProcesses(*config, row.stage)) break;
    config->*field = count;
    return "";
  }
  return absl::StrCat("--count: ", text, ": must be STAGE=N, as `millrace scale` takes them");
}

}  // namespace

Startup LoadConfig(const Options& options) {
  Startup startup;
  std::string text;
  if (!options.config_file.empty()) {
    std::ifstream file(options.config_file);
    text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (!file.good() && !file.eof()) {
      return {kExitConfiguration, {options.config_file + ": cannot be read"}, {}};
    }
  }
  const ConfigResult result = ParseConfig(text);
  if (!result.faults.empty()) {
    return {kExitConfiguration, FormatFaults(options.config_file, result.faults), {}};
  }
  startup.config = result.config;
  if (!options.repository.empty()) startup.config.repository = options.repository;
  if (!options.admin_socket.empty()) startup.config.admin_socket = options.admin_socket;
  if (!options.metrics.empty()) {
    startup.config.metrics_listen = options.metrics == "none" ? "" : options.metrics;
    const std::string_view fault = ListenFault(startup.config.metrics_listen);
    if (!fault.empty()) return {kExitConfiguration, {"--metrics: " + std::string(fault)}, {}};
  }
  if (options.allow_client_shm) startup.config.allow_client_shm = "true";
  for (const std::string& count : options.counts) {
    if (std::string fault = SetCount(count, &startup.config); !fault.empty()) {
      return {kExitConfiguration, {fault}, {}};
    }
  }
  if (const std::string_view fault = ClientShmFault(startup.config); !fault.empty()) {
    return {kExitConfiguration, {"--allow-client-shm: " + std::string(fault)}, {}};
  }
  const std::string_view plan = FaultPlanFault(startup.config, options.enable_faults);
  if (!plan.empty()) return {kExitConfiguration, {std::string(plan)}, {}};
  return startup;
}

Startup CheckCpus(const Config& config, const CpuList& allowed) {
  Startup startup;
  for (const StageRow& row : kStageRows) {
    if (row.cpus == nullptr) continue;
    const absl::StatusOr<CpuList> wanted = ParseCpuList(config.*row.cpus);
    MR_CHECK(wanted.ok(), "the configuration was checked");
    for (int cpu : *wanted) {
      if (std::binary_search(allowed.begin(), allowed.end(), cpu)) continue;
      startup.exit_code = kExitCpus;
      startup.sentences.push_back(absl::StrCat(
          std::string(StageName(row.stage)), ".cpus: CPU ", cpu,
          " does not exist or is not allowed; this process may use ", FormatCpuList(allowed)));
    }
  }
  return startup;
}

Startup CheckMachine(const Options& options, const Config& config) {
  utsname kernel;
  if (uname(&kernel) == 0 && !KernelIsNewEnough(kernel.release)) {
    return {kExitKernel,
            {absl::StrCat("the kernel is ", kernel.release,
                          "; Millrace needs Linux 5.10 or later "
                          "(pidfd, close_range, sealed shared memory)")},
            {}};
  }
  DIR* repository = opendir(config.repository.c_str());
  if (repository == nullptr) {
    return {kExitRepository,
            {absl::StrCat("repository: ", config.repository, ": ", strerror(errno))},
            {}};
  }
  closedir(repository);
  Startup startup = CheckCpus(config, AllowedCpus(0));
  if (startup.exit_code != kExitStopped) return startup;
  startup.sentences = Placer::Check(config);
  if (!startup.sentences.empty()) {
    startup.exit_code = kExitPlacement;
    return startup;
  }
  startup.sentences =
      MissingPrograms({options.binaries, options.compiler}, !config.metrics_listen.empty());
  if (!startup.sentences.empty()) startup.exit_code = kExitBinary;
  return startup;
}

std::string ConfigText(const Config& config) {
  std::string text;
  std::string_view section;
  for (const ConfigField& field : ConfigSchema()) {
    if (field.section != section) {
      section = field.section;
      absl::StrAppend(&text, std::string(section), ":\n");
    }
    absl::StrAppend(&text, section.empty() ? "" : "  ", std::string(field.name), ": ");
    if (field.IsInteger()) {
      absl::StrAppend(&text, config.*std::get<int64_t Config::*>(field.member), "\n");
    } else {
      // A JSON string is a YAML string.
      const std::string& value = config.*std::get<std::string Config::*>(field.member);
      absl::StrAppend(
          &text,
          nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
          "\n");
    }
  }
  return text;
}

std::string AdminSocketPath(const Config& config) {
  if (!config.admin_socket.empty()) return config.admin_socket;
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  const bool set = runtime != nullptr && runtime[0] == '/';
  return absl::StrCat(set ? runtime : "/run/millrace", "/millrace.sock");
}

bool KernelIsNewEnough(const std::string& release) {
  int major = 0, minor = 0;
  if (sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) return false;
  return major > kKernelMajor || (major == kKernelMajor && minor >= kKernelMinor);
}

}  // namespace millrace
