// Fleet: profiles of processes, for an operator.
#include "absl/strings/str_cat.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

// It has been configured, and will not end by itself.
bool Runs(ProcessState state) {
  return state == ProcessState::kAnnounced || state == ProcessState::kReady ||
         state == ProcessState::kLeaving;
}

}  // namespace

std::optional<absl::StatusOr<std::string>> Fleet::ProfileForAdmin(uint64_t request, Stage stage,
                                                                  uint32_t index,
                                                                  TakeProfile::Kind kind,
                                                                  int64_t duration_ms) {
  if (profiles_.Has(request)) return profiles_.Outcome(request, hands_->NowNs());
  if (!HasLanes(stage)) return absl::InvalidArgumentError("stage: has no lanes to profile");
  for (auto& [key, process] : processes_) {
    if (process.stage != stage || process.index != index || !Runs(process.state)) continue;
    const absl::Status noted =
        profiles_.Expect(request, key, hands_->NowNs(), duration_ms * kNanosPerMilli);
    if (!noted.ok()) return noted;
    ToProcess message;
    message.mutable_take_profile()->set_request(request);
    message.mutable_take_profile()->set_kind(kind);
    message.mutable_take_profile()->set_duration_ms(static_cast<uint32_t>(duration_ms));
    Send(&process, message);
    return std::nullopt;
  }
  return absl::NotFoundError(
      absl::StrCat("index: there is no ", ProcessName(stage, index), " that runs"));
}

void Fleet::OnProfileTaken(FleetProcess* process, const ProfileTaken& taken,
                           const std::vector<Fd>& fds) {
  if (!profiles_.Take(process->key, taken, fds)) process->condemned = "gave a profile out of turn";
}

}  // namespace millrace
