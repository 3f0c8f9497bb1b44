// The supervisor's main loop: fleet, hands, admin socket, signals and keeper put together.
//
// Purpose: one thread, one loop, one tick. Who may call: main(), once.
// What fails: Run ends with one of the exit codes of exit_codes.h.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"
#include "services/supervisor/build_layout.h"
#include "services/supervisor/fleet_state.pb.h"
#include "services/supervisor/keeper_link.h"
#include "services/supervisor/process_table.h"

namespace millrace {

// What an earlier supervisor left, and the configuration by which its processes run: a file that
// was changed or broken meanwhile counts from the next start of the server on.
struct Legacy {
  FleetState state;
  Config config;
};
// Nothing: there is nothing to go on with.
std::optional<Legacy> TakeAdopted(KeeperLink* keeper);

struct SupervisorSetup {
  Config config;
  std::string config_yaml;
  std::string admin_path;
  Programs programs;
  std::optional<FleetState> adopted;  // instead of a start
  // The command of another build's supervisor that shall do as this one.
  std::function<std::vector<std::string>(const Build& build)> command_for;
  std::vector<std::string> unloaded;  // models that the build before did not serve
};

int RunSupervisor(const SupervisorSetup& setup, KeeperLink keeper);

}  // namespace millrace
