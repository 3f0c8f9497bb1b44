// An upgrade, as one supervisor sees it: asked for here, or being what is upgraded to.
//
// Purpose: check what can be checked, ask the keeper for a second pipeline, and tell the operator
//   how it ended. The keeper decides (services/keeper): what it said last is the truth.
// Who may call: the supervisor's main thread. Ownership: borrows everything.
// Invariants: 1. one upgrade at a time; 2. an ask has one outcome: OK only once this pipeline has
//   drained and the other one serves; 3. a candidate reports ready once, when every process is
//   ready and every golden request was answered right.
// What fails: Ask, with one sentence; the pipeline that serves is then as it was.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "services/supervisor/build_layout.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/keeper_link.h"
#include "services/supervisor/upgrade_room.h"

namespace millrace {

class UpgradeDesk {
 public:
  struct Parts {
    KeeperLink* keeper = nullptr;
    const Fleet* fleet = nullptr;
    std::function<std::vector<pid_t>()> pids;  // of the fleet's processes
    // The command of another build's supervisor, that shall do as this one.
    std::function<std::vector<std::string>(const Build& build)> command_for;
    std::string build;  // the folder of our own programs
    uint64_t budget_bytes = 0;
  };
  explicit UpgradeDesk(Parts parts);

  // Asked again with the same `asked_ns` until it has an outcome.
  std::optional<absl::Status> Ask(const std::string& path, int64_t ready_within_ms,
                                  int64_t asked_ns);

  // What the keeper says.
  void Failed(const std::string& why);
  void Retired() { retired_ = true; }
  void Promoted() { candidate_ = false; }

  // At each tick of a candidate: reports it ready, or what it waits for.
  void Report(bool ready);

  bool retired() const { return retired_; }
  bool candidate() const { return candidate_; }
  const std::string& build() const { return parts_.build; }
  const std::string& to() const { return to_; }            // empty: no upgrade is under way
  const std::string& failure() const { return failure_; }  // of the last one; empty: none

 private:
  absl::Status Begin(const std::string& path, int64_t ready_within_ms);
  std::string WaitsFor() const;

  const Parts parts_;
  bool candidate_ = false;
  bool retired_ = false;
  bool reported_ = false;
  std::string told_;  // that it waits for
  std::string to_;
  std::string failure_;
  int64_t asker_ns_ = 0;  // 0: nobody waits
  std::optional<absl::Status> outcome_;
};

// What was scaled and unloaded at run time, as flags for the next build's supervisor.
std::vector<std::string> SetByHand(const Fleet& fleet, const Config& config);

}  // namespace millrace
