// Fleet: deaths, hangs, time limits, scaling, the stop.
#include <signal.h>

#include <algorithm>

#include "common/check.h"
#include "common/log.h"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/hang_policy.h"
#include "services/supervisor/restart_policy.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr int64_t kAnnounceLimitNs = 30 * kNanosPerSecond;  // memory reserved and touched
constexpr int64_t kReadyLimitNs = 60 * kNanosPerSecond;     // linked, and every model warmed
constexpr int64_t kDumpLimitNs = 5 * kNanosPerSecond;       // of one that said it is dying

}  // namespace

void Fleet::OnDeath(uint32_t key, int64_t seen_ns) {
  FleetProcess* process = Find(key);
  if (process == nullptr || process->state == ProcessState::kDying) return;
  death_seen_ns_ = process->told_to_end ? 0 : seen_ns;
  EnterDying(process, hands_->NowNs() + kDumpLimitNs);
  AdvanceStop();
  Settle();
}

void Fleet::OnBrokenChannel(uint32_t key, const std::string& why) {
  FleetProcess* process = Find(key);
  if (process == nullptr || process->state == ProcessState::kDying) return;
  process->condemned = why;
  Settle();
}

void Fleet::OnEnd(uint32_t key, const ProcessEnd& end) {
  FleetProcess* process = Find(key);
  MR_CHECK(process != nullptr, "a process ends once");
  const bool told_to_end = process->told_to_end;
  if (process->state != ProcessState::kDying) {
    death_seen_ns_ = told_to_end ? 0 : hands_->NowNs();
    EnterDying(process, 0);
    PublishRoster();
  }
  Log(told_to_end ? LogLevel::kInfo : LogLevel::kWarning, "worker_ended",
      {{"name", ProcessName(process->stage, process->index)},
       {"incarnation", key},
       {"code", end.exit_code},
       {"signal", end.signal}});
  ToProcess message;
  std::vector<uint32_t> knew_it = std::move(process->knew_it);
  std::sort(knew_it.begin(), knew_it.end());
  knew_it.erase(std::unique(knew_it.begin(), knew_it.end()), knew_it.end());
  for (uint32_t other : knew_it) {
    FleetProcess* peer = Find(other);
    if (peer == nullptr) continue;
    for (const FleetLane& lane : process->lanes) {
      message.mutable_peer_gone()->set_incarnation(lane.incarnation);
      Send(peer, message);
    }
  }
  CarryOver(*process);
  KeepLogs(*process);
  if (end.signal == 0 && end.exit_code == kExitDeviceLost) CountDeviceLoss(process);
  // Without an observer everything is served all the same.
  const bool final =
      end.signal == 0 && IsFinalExit(end.exit_code) && process->stage != Stage::kObserver;
  if (final && !was_ready_ && phase_ == FleetPhase::kRunning) {
    Log(LogLevel::kError, "start_failed",
        {{"name", ProcessName(process->stage, process->index)}, {"code", end.exit_code}});
    exit_code_ = end.exit_code;
    phase_ = FleetPhase::kDraining;
    drain_until_ns_ = 0;
  }
  incidents_.Ended(key);
  profiles_.ProcessGone(key);
  hands_->Forget(key);
  processes_.erase(key);
  AdvanceStop();
  Settle();
}

void Fleet::Condemn(FleetProcess* process, int signal) {
  Log(LogLevel::kError, "worker_condemned",
      {{"name", ProcessName(process->stage, process->index)},
       {"incarnation", process->key},
       {"why", process->condemned}});
  death_seen_ns_ = hands_->NowNs();
  EnterDying(process, signal == SIGKILL ? 0 : hands_->NowNs() + kAbortGraceNs);
  StoreState();     // else the next supervisor would keep one that every lane has given up
  PublishRoster();  // before the signal: nobody is sent to one that is being killed
  hands_->Signal(process->key, signal);
}

void Fleet::EnterDying(FleetProcess* process, int64_t kill_at_ns) {
  deaths_ += process->told_to_end ? 0 : 1;
  PlanRestart(process);
  Move(process, ProcessState::kDying);
  process->kill_at_ns = kill_at_ns;
}

void Fleet::PlanRestart(FleetProcess* process) {
  FleetSlot* slot = SlotOf(*process);
  slot->key = 0;
  slot->tried = true;
  if (slot->leaving) {
    slots_.erase({process->stage, process->index});
    return;
  }
  // The registry has answered when it has published, the observer when it serves; the state says
  // so.
  bool answered = !HasLanes(process->stage) && process->ready_since_ns != 0;
  bool device_lost = false;
  bool executing = false;
  for (const FleetLane& lane : process->lanes) {
    const std::optional<PageLook> look = hands_->Look(lane.incarnation);
    answered |= look.has_value() && look->answered;
    executing |= look.has_value() && look->executing;
    device_lost |= look.has_value() && look->device_lost;
  }
  CountStageDeath(*process, answered, executing);
  const int64_t now = hands_->NowNs();
  const int64_t ready_for = process->ready_since_ns == 0 ? 0 : now - process->ready_since_ns;
  slot->failures = FailuresAfter(slot->failures, answered, ready_for);
  slot->device_losses = DeviceLossesAfter(slot->device_losses, false, ready_for);
  slot->restarts += 1;
  slot->start_at_ns = now + RestartDelayNs(slot->failures, hands_->Random());
  if (device_lost) CountDeviceLoss(process);
}

// Once a process: from its page, or, where that was not there yet, from its exit code.
void Fleet::CountDeviceLoss(FleetProcess* process) {
  const auto slot = slots_.find({process->stage, process->index});
  if (process->device_lost || slot == slots_.end()) return;
  process->device_lost = true;
  slot->second.device_losses = DeviceLossesAfter(slot->second.device_losses, true, 0);
  Log(LogLevel::kError, "device_lost",
      {{"name", ProcessName(process->stage, process->index)},
       {"incarnation", process->key},
       {"in_a_row", slot->second.device_losses},
       {"next", slot->second.device_losses < kDeviceLossesToDoWithout ? "tries the device again"
                                                                      : "serves from the CPU"}});
}

void Fleet::Tick() {
  const int64_t now = hands_->NowNs();
  const int64_t elapsed = now - last_tick_ns_;
  last_tick_ns_ = now;
  for (auto& [key, process] : processes_) {
    if (RowOf(process.state).must_beat) CheckBeat(&process, elapsed);
    CheckTimeLimits(&process);
  }
  if (--ticks_to_load_ == 0) {
    TakeLoad();
    StepScaling();
  }
  ShowView();
  TellVersions();
  LookAtUse();
  AdvanceStop();
  Settle();
}

void Fleet::CheckBeat(FleetProcess* process, int64_t elapsed_ns) {
  for (FleetLane& lane : process->lanes) {
    const std::optional<PageLook> seen = hands_->Look(lane.incarnation);
    if (!seen.has_value()) continue;  // the registry has no page
    lane.silent_ns = SilenceAfter(lane.silent_ns, seen->beat != lane.beat, elapsed_ns, kTickNs);
    lane.beat = seen->beat;
    HangLook look{lane.silent_ns, setup_.config.hang_ms * kNanosPerMilli, seen->predicted_ns,
                  false};
    HangVerdict verdict = DecideHang(look);
    if (verdict == HangVerdict::kWait) continue;
    look.stopped = hands_->IsStopped(process->key);
    verdict = DecideHang(look);
    hangs_ += 1;
    process->condemned = look.stopped ? "hangs: it is stopped" : "hangs: its beat stands still";
    Condemn(process, verdict == HangVerdict::kKill ? SIGKILL : SIGABRT);
    return;
  }
}

void Fleet::CheckTimeLimits(FleetProcess* process) {
  const int64_t now = hands_->NowNs();
  const int64_t since = now - process->state_since_ns;
  switch (process->state) {
    case ProcessState::kStarting:
      // The registry compiles every model before it publishes; its children have limits.
      if (process->stage != Stage::kRegistry && since > kAnnounceLimitNs) {
        process->condemned = "did not announce its memory in time";
      }
      break;
    case ProcessState::kAnnounced:
      if (since > kReadyLimitNs) process->condemned = "was not linked and warm in time";
      break;
    case ProcessState::kReady:
      if (HasLanes(process->stage) && process->catalog_answered < desk_.generation() &&
          now - catalog_since_ns_ > kCatalogLimitNs) {
        process->condemned = "did not take up the catalog in time";
      }
      break;
    case ProcessState::kLeaving:
      if (phase_ == FleetPhase::kRunning && since > setup_.config.drain_ms * kNanosPerMilli) {
        BeginStop(process);
      }
      break;
    case ProcessState::kStopping:
    case ProcessState::kDying:
      if (process->kill_at_ns != 0 && now >= process->kill_at_ns) {
        process->kill_at_ns = 0;
        hands_->Signal(process->key, SIGKILL);
      }
      break;
  }
}

void Fleet::BeginDrain(FleetProcess* process) {
  const std::optional<ProcessState> next = NextState(process->state, ProcessEvent::kDrain);
  if (!next.has_value()) return;
  if (*next == ProcessState::kStopping) return BeginStop(process);
  if (process->state == *next) return;
  Move(process, *next);
  StoreState();
  PublishRoster();
  Send(process, DrainOrder());
}

void Fleet::BeginStop(FleetProcess* process) {
  const std::optional<ProcessState> next = NextState(process->state, ProcessEvent::kStop);
  if (!next.has_value() || process->state == *next) return;
  Move(process, *next);
  process->told_to_end = true;
  process->kill_at_ns = hands_->NowNs() + kStopLimitNs;
  StoreState();
  ToProcess message;
  message.mutable_stop();
  Send(process, message);
}

void Fleet::Reload() {
  ToProcess message;
  message.mutable_reload();
  for (auto& [key, process] : processes_) {
    if (process.stage == Stage::kRegistry) Send(&process, message);
  }
  Settle();
}

void Fleet::Stop() {
  if (phase_ != FleetPhase::kRunning) return;
  Log(LogLevel::kInfo, "draining", {{"limit_ms", setup_.config.drain_ms}});
  phase_ = FleetPhase::kDraining;
  drain_until_ns_ = hands_->NowNs() + setup_.config.drain_ms * kNanosPerMilli;
  for (auto& [key, process] : processes_) {
    if (process.stage == Stage::kIngress) BeginDrain(&process);
  }
  AdvanceStop();
  Settle();
}

void Fleet::StopNow() {
  if (phase_ != FleetPhase::kRunning && phase_ != FleetPhase::kDraining) return;
  phase_ = FleetPhase::kDraining;
  drain_until_ns_ = 0;
  AdvanceStop();
  Settle();
}

// Ends every process of the group that stops now.
void Fleet::StopGroup() {
  for (auto& [key, process] : processes_) {
    if (RowOf(process.stage).group == stop_group_) BeginStop(&process);
  }
}

void Fleet::AdvanceStop() {
  if (phase_ == FleetPhase::kDraining) {
    bool draining = false;
    for (const auto& [key, process] : processes_) {
      draining |= process.state == ProcessState::kLeaving && process.stage == Stage::kIngress &&
                  !process.drained;
    }
    if (draining && hands_->NowNs() < drain_until_ns_) return;
    phase_ = FleetPhase::kStopping;
    stop_group_ = kGroupCount - 1;
    StopGroup();
  }
  while (phase_ == FleetPhase::kStopping) {
    for (const auto& [key, process] : processes_) {
      if (RowOf(process.stage).group == stop_group_) return;
    }
    if (stop_group_ == 0) {
      phase_ = FleetPhase::kDone;
      return;
    }
    stop_group_ -= 1;
    StopGroup();
  }
}

}  // namespace millrace
