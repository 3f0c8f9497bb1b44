#include "services/supervisor/upgrade_desk.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "services/supervisor/stage_table.h"

namespace millrace {

std::vector<std::string> SetByHand(const Fleet& fleet, const Config& config) {
  std::vector<std::string> flags;
  for (const StageRow& row : kStageRows) {
    int64_t Config::*const field = CountOf(row.stage);
    if (field == nullptr) continue;
    int64_t count = 0;
    for (const auto& [name, slot] : fleet.slots()) {
      count += name.first == row.stage && !slot.leaving ? 1 : 0;
    }
    if (count == config.*field) continue;
    flags.push_back(absl::StrCat("--count=", std::string(StageName(row.stage)), "=", count));
  }
  for (const std::string& model : fleet.catalog().last_said().unloaded()) {
    flags.push_back("--unloaded=" + model);
  }
  return flags;
}

UpgradeDesk::UpgradeDesk(Parts parts)
    : parts_(std::move(parts)),
      candidate_(parts_.keeper->role() == Handover::CANDIDATE),
      retired_(parts_.keeper->role() == Handover::RETIRED),
      to_(parts_.keeper->upgrading_to()),
      failure_(parts_.keeper->upgrade_failure()) {}

std::optional<absl::Status> UpgradeDesk::Ask(const std::string& path, int64_t ready_within_ms,
                                             int64_t asked_ns) {
  if (asked_ns == asker_ns_) {
    // The answer is the last thing that this supervisor says.
    if (retired_ && parts_.fleet->phase() == FleetPhase::kDone) return absl::OkStatus();
    if (outcome_.has_value()) asker_ns_ = 0;
    return std::exchange(outcome_, std::nullopt);
  }
  if (absl::Status begun = Begin(path, ready_within_ms); !begun.ok()) return begun;
  asker_ns_ = asked_ns;
  outcome_.reset();
  return std::nullopt;
}

absl::Status UpgradeDesk::Begin(const std::string& path, int64_t ready_within_ms) {
  if (retired_) return absl::UnavailableError("another build has taken over");
  if (parts_.fleet->phase() != FleetPhase::kRunning) {
    return absl::UnavailableError("the server is stopping");
  }
  if (!to_.empty()) {
    return absl::UnavailableError(absl::StrCat("an upgrade to ", to_, " is under way"));
  }
  const absl::StatusOr<Build> build = FindBuild(path);
  if (!build.ok()) return build.status();
  RoomUse use;
  for (const auto& [key, process] : parts_.fleet->processes()) use.shared_bytes += process.bytes;
  use.plan_bytes = parts_.fleet->catalog().plan_bytes();
  std::vector<pid_t> pids = parts_.pids();
  pids.push_back(getpid());
  use.private_bytes = PrivateBytes("/proc", pids);
  RoomLeft left = LookForRoom("/proc", "/sys/fs/cgroup");
  left.budget_bytes = parts_.budget_bytes;
  if (absl::Status room = CheckRoom(use, left); !room.ok()) return room;
  const absl::Status asked =
      parts_.keeper->Upgrade(parts_.command_for(*build), path, ready_within_ms);
  if (!asked.ok()) return asked;
  to_ = path;
  failure_.clear();
  return absl::OkStatus();
}

void UpgradeDesk::Failed(const std::string& why) {
  Log(LogLevel::kError, "upgrade_failed", {{"to", to_}, {"why", why}});
  to_.clear();
  failure_ = why;
  if (asker_ns_ != 0) outcome_ = absl::FailedPreconditionError(why);
}

void UpgradeDesk::Report(bool ready) {
  if (!candidate_ || reported_) return;
  const std::string waits = WaitsFor();
  absl::Status told;
  if (ready && waits.empty()) {
    told = parts_.keeper->CandidateReady();
    reported_ = told.ok();
  } else if (const std::string why =
                 waits.empty() ? "not every golden request is answered right" : waits;
             why != told_) {
    told = parts_.keeper->WaitsFor(why);
    if (told.ok()) told_ = why;
  }
  if (!told.ok()) Log(LogLevel::kWarning, "keeper_not_told", {{"why", told.ToString()}});
}

std::string UpgradeDesk::WaitsFor() const {
  for (const auto& [key, process] : parts_.fleet->processes()) {
    if (process.state == ProcessState::kReady) continue;
    return absl::StrCat(ProcessName(process.stage, process.index), " is ",
                        std::string(RowOf(process.state).name));
  }
  for (const auto& [name, slot] : parts_.fleet->slots()) {
    if (slot.key == 0) return absl::StrCat(ProcessName(name.first, name.second), " is down");
  }
  return "";
}

}  // namespace millrace
