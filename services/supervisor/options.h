// The supervisor's command line, and what must hold before anything starts.
//
// Purpose: from arguments to a checked configuration, or to an exit code and sentences.
// Who may call: main(). Invariants: 1. every fault of the configuration is told at once. 2. What is
//   sent to the workers is the checked configuration with its overrides, not the file's text.
// What fails: with the exit codes of exit_codes.h.
#pragma once

#include <string>
#include <vector>

#include "common/config.h"
#include "common/cpu_list.h"
#include "services/supervisor/build_layout.h"

namespace millrace {

struct Options {
  std::string config_file;  // empty: defaults
  std::string repository;   // the rest: overrides; empty: as configured
  std::string admin_socket;
  std::string metrics;  // an address, or "none"
  std::string binaries;
  std::string compiler;
  bool check_config = false;
  bool allow_client_shm = false;  // whatever the file says
  bool enable_faults = false;     // a plan of faults may stand in the file
  // What was set by hand at the build before: STAGE=N, names of models.
  std::vector<std::string> counts, unloaded;
};

struct Startup {
  int exit_code = 0;                   // not 0: end with it
  std::vector<std::string> sentences;  // why
  Config config;
};

// Prints help or a fault itself; a value: end with it.
int ParseOptions(int argc, char** argv, Options* options, bool* end);

// The command of another build's supervisor that shall do what this one was told to.
std::vector<std::string> CommandFor(const Options& options, const Build& build);

// Reads and checks the configuration, applies overrides.
Startup LoadConfig(const Options& options);

// Whether the machine has the CPUs that stages are pinned to.
Startup CheckCpus(const Config& config, const CpuList& allowed);

// Kernel, repository, CPUs, programs, binaries: what would fail later is said now.
Startup CheckMachine(const Options& options, const Config& config);

// The configuration as the text that ParseConfig reads back to the same values.
std::string ConfigText(const Config& config);

// `supervisor.admin_socket`, or where its reference says it is.
std::string AdminSocketPath(const Config& config);

// Whether "6.1.0-13-amd64" is at least 5.10.
bool KernelIsNewEnough(const std::string& release);

}  // namespace millrace
