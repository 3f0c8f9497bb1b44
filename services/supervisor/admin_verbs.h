// What the admin socket is asked, and what it answers.
//
// Purpose: from a line of JSON to a call of the fleet, and from the fleet to a line of JSON.
// Who may call: the supervisor's main thread. Ownership: borrows everything.
// Invariants: 1. every reply is one JSON object on one line, with "ok"; where it is false, "error"
//   holds a sentence that names the field. 2. Nothing of a reply is read from a peer's memory
//   twice.
// Nothing fails: a line that cannot be understood gets a reply that says so.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "services/supervisor/fleet.h"
#include "services/supervisor/upgrade_desk.h"

namespace millrace {

struct AdminContext {
  Fleet* fleet = nullptr;
  std::function<pid_t(uint32_t key)> pid_of;
  std::function<CpuList(uint32_t key)> cpus_of;                // that it may use now
  std::function<const Page*(uint32_t incarnation)> page_of;    // null: none
  std::vector<std::pair<std::string, std::string>> listeners;  // name, bound address
  int64_t started_ns = 0;
  uint32_t supervisor_restarts = 0;
  UpgradeDesk* upgrade = nullptr;  // null: there is no keeper that could
  std::function<uid_t()> asker;    // who sent the line; null: not known
};

// Nothing: the line waits (wait_ready), ask again.
std::optional<std::string> AnswerAdmin(const AdminContext& context, const std::string& line,
                                       int64_t asked_ns, int64_t now_ns);

// The processes are there, and inference works.
bool IsReady(const AdminContext& context, int64_t now_ns);

nlohmann::json StatusReport(const AdminContext& context, int64_t now_ns);

}  // namespace millrace
