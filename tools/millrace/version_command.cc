// `millrace model init|check|sign|keygen`: the registry's own program does the work, so that what
// is checked by hand is what the server checks.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "tools/millrace/commands.h"
#include "tools/millrace/programs.h"

namespace millrace {
namespace {

struct VersionOptions {
  std::string path, config, sample, key, until, binaries;
  bool strict = false, force = false;
};

std::string OwnPath() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  return size > 0 ? std::string(path, size) : "/";
}

// Only returns where the program cannot be run.
int Become(const std::string& verb, const VersionOptions& options) {
  const absl::StatusOr<ServerPrograms> programs = FindServerPrograms(options.binaries, OwnPath());
  if (!programs.ok()) return Fail(programs.status());
  std::vector<std::string> words = {programs->folder + "/registry/registry", verb, options.path};
  const std::pair<const char*, const std::string&> given[] = {{"--config=", options.config},
                                                              {"--sample=", options.sample},
                                                              {"--key=", options.key},
                                                              {"--until=", options.until}};
  for (const auto& [flag, value] : given) {
    if (!value.empty()) words.push_back(flag + value);
  }
  if (options.strict) words.push_back("--strict");
  if (options.force) words.push_back("--force");
  if (verb == "init" || verb == "check") words.push_back("--compiler=" + programs->compiler);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  fprintf(stderr, "millrace: cannot run %s: %s\n", argv[0], strerror(errno));
  return kExitFailed;
}

}  // namespace

void AddVersionCommands(CLI::App* model, int* exit_code) {
  const auto add = [=](const char* verb, const char* help, const char* path_help,
                       const std::shared_ptr<VersionOptions>& options) {
    CLI::App* command = model->add_subcommand(verb, help);
    command->add_option("path", options->path, path_help)->required();
    command->add_option("--binaries", options->binaries,
                        "Folder of the server's programs, DIR/<stage>/<stage>; else beside this");
    command->callback([=] { *exit_code = Become(verb, *options); });
    return command;
  };
  auto init = std::make_shared<VersionOptions>(), check = std::make_shared<VersionOptions>();
  auto sign = std::make_shared<VersionOptions>(), keygen = std::make_shared<VersionOptions>();
  CLI::App* command = add("init", "Write a version's first manifest from its file",
                          "REPOSITORY/MODEL/VERSION", init);
  command->add_option("--sample", init->sample,
                      "CSV of inputs: ranges, reference bins and golden rows come from it");
  command->add_flag("--force", init->force, "Overwrite the manifest that is there");
  command = add("check", "Say everything that is wrong with a version; exit code 1 if anything is",
                "REPOSITORY/MODEL or REPOSITORY/MODEL/VERSION", check);
  command->add_option("--config", check->config,
                      "The server's configuration: whose keys are trusted, what is asked for");
  command->add_flag("--strict", check->strict, "Ask for lineage and policy, whatever it says");
  command = add("sign", "Sign a version's manifest", "REPOSITORY/MODEL/VERSION", sign);
  command->add_option("--key", sign->key, "File of `model keygen`")->required();
  command->add_option("--until", sign->until, "YYYY-MM-DDThh:mm:ssZ; past it it is refused");
  add("keygen", "Make a key: the secret goes to a file of mode 0600, the public one is printed",
      "The file", keygen);
}

}  // namespace millrace
