// The supervisor's main loop: fleet, hands, admin socket, signals and keeper put together.
//
// Purpose: one thread, one loop, one tick. Who may call: main(), once.
// What fails: Run ends with one of the exit codes of exit_codes.h.
#pragma once

#include "common/config.h"
#include "services/supervisor/keeper_link.h"
#include "services/supervisor/process_table.h"

namespace millrace {

struct SupervisorSetup {
  Config config;
  std::string config_yaml;
  std::string admin_path;
  Programs programs;
};

int RunSupervisor(const SupervisorSetup& setup, KeeperLink keeper);

}  // namespace millrace
