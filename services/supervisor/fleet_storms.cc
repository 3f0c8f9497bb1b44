// Fleet: stages that die one process after the other, and what ingress is told of them.
#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr Stage kWorkers[] = {Stage::kFeatures, Stage::kExecution, Stage::kAggregation};

}  // namespace

StageLook Fleet::LookAt(Stage stage) const {
  StageLook look;
  for (const auto& [key, process] : processes_) {
    if (process.stage != stage || process.state != ProcessState::kReady) continue;
    if (IsSpare(process.stage, process.index)) continue;
    look.ready = true;
    for (const FleetLane& lane : process.lanes) {
      const std::optional<PageLook> page = hands_->Look(lane.incarnation);
      look.answered |= page.has_value() && page->answered;
    }
  }
  return look;
}

void Fleet::CountStageDeath(const FleetProcess& process, bool answered, bool executing) {
  if (process.told_to_end || phase_ != FleetPhase::kRunning) return;
  if (IsSpare(process.stage, process.index)) return;  // nobody was served by it
  StageLook others;
  for (const auto& [key, other] : processes_) {
    if (other.stage != process.stage || key == process.key) continue;
    if (IsSpare(other.stage, other.index)) continue;
    others.ready |= other.state == ProcessState::kReady;
  }
  storms_.Died(process.stage, {answered, executing, others.ready}, hands_->NowNs());
}

void Fleet::StepStorms() {
  const StageBreakers before = storms_.states();
  for (Stage stage : kWorkers) {
    if (before[static_cast<size_t>(stage)] == StageBreaker::kClosed) continue;
    storms_.Look(stage, LookAt(stage), hands_->NowNs());
  }
  for (auto& [key, process] : processes_) {
    if (process.stage != Stage::kIngress || !RowOf(process.state).links) continue;
    if (process.told_breakers == storms_.states()) continue;
    for (Stage stage : kWorkers) {
      const auto i = static_cast<size_t>(stage);
      if (process.told_breakers[i] == storms_.states()[i]) continue;
      Log(LogLevel::kWarning, "stage_breaker",
          {{"stage", StageName(stage)},
           {"state", IncidentDesk::StateName(static_cast<uint32_t>(storms_.states()[i]))},
           {"told", ProcessName(process.stage, process.index)}});
      TellBreaker(&process, stage);
    }
    process.told_breakers = storms_.states();
  }
}

void Fleet::TellBreaker(FleetProcess* ingress, Stage stage) {
  const auto state = static_cast<uint32_t>(storms_.states()[static_cast<size_t>(stage)]);
  ToProcess message;
  message.mutable_stage_breaker()->set_stage(static_cast<uint32_t>(stage));
  message.mutable_stage_breaker()->set_state(state);
  Send(ingress, message);
}

// What the last supervisor told it need not be what was stored.
void Fleet::RetellBreakers(FleetProcess* ingress) {
  for (Stage stage : kWorkers) TellBreaker(ingress, stage);
  ingress->told_breakers = storms_.states();
}

}  // namespace millrace
