#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <vector>

#include "common/config.h"
#include "common/config_schema.h"
#include "common/fault_rule.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/programs.h"

namespace millrace {
namespace {

// Of the server's table (services/supervisor/exit_codes.h): a fault of the configuration, a program
// that is missing.
constexpr int kExitConfiguration = 65, kExitBinary = 70;

struct ServeOptions {
  std::string config_file, repository, admin_socket, binaries;
  std::string grpc, http, local, metrics;
  bool grpc_given = false, http_given = false, local_given = false;
  bool check_config = false;
  bool allow_client_shm = false;
  bool enable_faults = false;
};

void AddOpenFault(const char* flag, const Config& config, const std::string& listen,
                  std::vector<std::string>* faults) {
  const std::string_view fault = OpenListenFault(config, listen);
  if (!fault.empty()) faults->push_back(std::string(flag) + ": " + std::string(fault));
}

// The faults of the file and of the addresses that stand in for the file's.
std::vector<std::string> ReadConfig(const ServeOptions& options, Config* config) {
  std::string text;
  if (!options.config_file.empty()) {
    std::ifstream file(options.config_file, std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (!file.good() && !file.eof()) return {options.config_file + ": cannot be read"};
  }
  const ConfigResult result = ParseConfig(text);
  std::vector<std::string> faults = FormatFaults(options.config_file, result.faults);
  *config = result.config;
  if (options.grpc_given) config->grpc_listen = options.grpc;
  if (options.http_given) config->http_listen = options.http;
  if (options.local_given) config->local_listen = options.local;
  if (options.allow_client_shm) {
    config->allow_client_shm = "true";
    const std::string_view fault = ClientShmFault(*config);
    if (!fault.empty()) faults.push_back("--allow-client-shm: " + std::string(fault));
  }
  const std::string_view plan = FaultPlanFault(*config, options.enable_faults);
  if (!plan.empty()) faults.push_back(std::string(plan));
  const std::pair<const char*, const std::string&> addresses[] = {
      {"--grpc", config->grpc_listen},
      {"--http", config->http_listen},
      {"--local", config->local_listen}};
  for (const auto& [flag, address] : addresses) {
    const std::string_view fault = ListenFault(address);
    if (!fault.empty()) faults.push_back(std::string(flag) + ": " + std::string(fault));
  }
  if (options.grpc_given) AddOpenFault("--grpc", *config, config->grpc_listen, &faults);
  if (options.http_given) AddOpenFault("--http", *config, config->http_listen, &faults);
  if (options.local_given && !options.local.empty() && options.local.rfind("unix:", 0) != 0) {
    faults.push_back("--local: must be unix:/path");
  }
  if (config->grpc_listen.empty() && config->http_listen.empty()) {
    faults.push_back("ingress: neither a gRPC nor an HTTP address to listen on");
  }
  return faults;
}

std::vector<std::string> KeeperCommand(const ServeOptions& options, const Config& config,
                                       const ServerPrograms& programs) {
  std::vector<std::string> command = {programs.keeper};
  if (!config.grpc_listen.empty()) command.push_back("--listen=grpc=" + config.grpc_listen);
  if (!config.http_listen.empty()) command.push_back("--listen=http=" + config.http_listen);
  if (!config.local_listen.empty()) command.push_back("--listen=local=" + config.local_listen);
  command.push_back("--supervisor=" + programs.supervisor);
  command.push_back("--");
  command.push_back("--binaries=" + programs.folder);
  command.push_back("--compiler=" + programs.compiler);
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
  return command;
}

std::string OwnPath() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  return size > 0 ? std::string(path, size) : "/";
}

int Serve(const ServeOptions& options) {
  Config config;
  const std::vector<std::string> faults = ReadConfig(options, &config);
  for (const std::string& fault : faults) std::cerr << fault << "\n";
  if (!faults.empty()) return kExitConfiguration;
  if (options.check_config) {
    std::cout << "the configuration has no fault\n";
    return kExitGood;
  }
  const absl::StatusOr<ServerPrograms> programs = FindServerPrograms(options.binaries, OwnPath());
  if (!programs.ok()) {
    Fail(programs.status());
    return kExitBinary;
  }
  std::vector<std::string> command = KeeperCommand(options, config, *programs);
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  fprintf(stderr, "millrace: cannot run %s: %s\n", argv[0], strerror(errno));
  return kExitBinary;
}

}  // namespace

void AddServe(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* serve = app->add_subcommand(
      "serve", "Start the server in the foreground; logs go to stderr, SIGTERM stops it");
  serve->add_option("--config,config", options->config_file,
                    "Configuration file (YAML); without it: the defaults of config-reference");
  serve->add_option("--repository", options->repository, "Model repository, instead of the file's");
  auto* grpc = serve->add_option("--grpc", options->grpc,
                                 "gRPC address, host:port or unix:/path, instead of the file's; "
                                 "port 0: any free one; '': none");
  auto* http = serve->add_option("--http", options->http, "HTTP address, likewise");
  auto* local = serve->add_option("--local", options->local,
                                  "Socket of local clients, unix:/path, instead of the file's");
  serve->add_option("--metrics", options->metrics,
                    "Address of the metrics, instead of the file's; 'none': no observer");
  serve->add_option("--admin-socket", options->admin_socket, "Admin socket, instead of the file's");
  serve->add_option("--binaries", options->binaries,
                    "Folder of the server's programs, DIR/<stage>/<stage>; else beside this one");
  serve->add_flag("--allow-client-shm", options->allow_client_shm,
                  "Let clients register their shared memory, whatever the file says");
  serve->add_flag("--enable-faults", options->enable_faults,
                  "Let the faults happen that the file's section `faults` plans");
  serve->add_flag("--check-config", options->check_config,
                  "Check the configuration, tell every fault, and end");
  serve->callback([=] {
    options->grpc_given = grpc->count() > 0;
    options->http_given = http->count() > 0;
    options->local_given = local->count() > 0;
    *exit_code = Serve(*options);
  });
}

void AddConfigReference(CLI::App* app, int* exit_code) {
  CLI::App* reference = app->add_subcommand(
      "config-reference", "Print the reference of the configuration file, in Markdown");
  reference->callback([=] {
    std::cout << ConfigReference();
    *exit_code = kExitGood;
  });
}

}  // namespace millrace
