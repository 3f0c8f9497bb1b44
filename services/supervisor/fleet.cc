#include "services/supervisor/fleet.h"

#include <signal.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "services/supervisor/restart_policy.h"
#include "services/supervisor/stage_table.h"

namespace millrace {

std::string ProcessName(Stage stage, uint32_t index) {
  if (IsSpare(stage, index)) {
    const uint32_t spare = index - RowOf(stage).max_processes;
    return std::string(StageName(stage)) + "_spare" + std::to_string(spare);
  }
  return std::string(StageName(stage)) + std::to_string(index);
}

std::vector<RosterEntry> RosterOf(const std::map<uint32_t, FleetProcess>& processes,
                                  const WaitModes& modes) {
  std::vector<RosterEntry> entries;
  for (const auto& [key, process] : processes) {
    const std::optional<RosterState> state = RowOf(process.state).roster;
    if (!state.has_value()) continue;
    for (const FleetLane& lane : process.lanes) {
      // A process that was told to end before it announced has lanes without memory.
      if (lane.page == nullptr) continue;
      const bool spare = IsSpare(process.stage, process.index) && *state == RosterState::kReady;
      entries.push_back({lane.incarnation, process.stage, static_cast<uint8_t>(process.index),
                         static_cast<uint8_t>(lane.lane), spare ? RosterState::kStarting : *state,
                         modes[static_cast<size_t>(process.stage)]});
    }
  }
  std::sort(entries.begin(), entries.end(), [](const RosterEntry& a, const RosterEntry& b) {
    return std::tie(a.stage, a.index, a.lane, a.incarnation) <
           std::tie(b.stage, b.index, b.lane, b.incarnation);
  });
  return entries;
}

Fleet::Fleet(Hands* hands, FleetSetup setup)
    : hands_(hands),
      setup_(std::move(setup)),
      storms_(setup_.config.storm_intensity, setup_.config.storm_period_ms * kNanosPerMilli,
              setup_.config.storm_rest_ms * kNanosPerMilli),
      wait_(ForcedWait(setup_.config.wait), setup_.cores),
      hold_(setup_.hold) {
  MR_CHECK(!setup_.listeners.empty(), "ingress has a lane for each listening socket");
  const Config& config = setup_.config;
  const std::pair<Stage, int64_t> counts[] = {{Stage::kRegistry, 1},
                                              {Stage::kIngress, config.ingress_workers},
                                              {Stage::kFeatures, config.features_workers},
                                              {Stage::kExecution, config.execution_workers},
                                              {Stage::kAggregation, config.aggregation_workers}};
  for (const auto& [stage, count] : counts) {
    MR_CHECK(count >= 1 && count <= MostProcesses(config, stage),
             "the configuration's bounds are those of the stage table");
    for (uint32_t i = 0; i < count; ++i) slots_[{stage, i}] = FleetSlot();
  }
  AddSpareSlots();
  MakeGovernors();
  if (setup_.observer) slots_[{Stage::kObserver, 0}] = FleetSlot();
}

void Fleet::Start() {
  last_tick_ns_ = hands_->NowNs();
  StoreSums();  // of nothing yet: what the keeper holds does not grow with the first death
  Settle();
}

// Brings the world in line with the states, until nothing more follows. The roster comes first.
void Fleet::Settle() {
  bool again = true;
  while (again) {
    for (auto& [key, process] : processes_) {
      if (!process.condemned.empty() && process.state != ProcessState::kDying) {
        Condemn(&process, SIGKILL);
      }
    }
    if (BecomeReady()) StoreState();
    PublishRoster();
    GoLive();
    TellSettled();
    again = TakeCatalog();
    StepStorms();
    StepChanges();
    StepRoutes();
    again |= StartDue();
    for (const auto& [key, process] : processes_) {
      again |= !process.condemned.empty() && process.state != ProcessState::kDying;
    }
  }
  if (!was_ready_ && Ready()) {
    was_ready_ = true;
    Log(LogLevel::kInfo, "server_ready", {{"generation", live_generation_}});
  }
  TellObserver();
  StoreState();
}

void Fleet::PublishRoster() {
  PromoteSpares();
  std::vector<RosterEntry> entries = RosterOf(processes_, wait_.modes());
  if (entries != published_) {
    FdList wakes;
    for (const RosterEntry& entry : entries) {
      for (const auto& [key, process] : processes_) {
        for (const FleetLane& lane : process.lanes) {
          if (lane.incarnation == entry.incarnation) wakes.push_back(lane.wake);
        }
      }
    }
    hands_->PublishRoster(entries, wakes);
    published_ = std::move(entries);
    if (death_seen_ns_ != 0) {
      last_death_at_ns_ = death_seen_ns_;
      last_reroute_ns_ = hands_->NowNs() - death_seen_ns_;
    }
  }
  death_seen_ns_ = 0;
}

bool Fleet::BecomeReady() {
  bool any = false;
  for (auto& [key, process] : processes_) {
    if (process.state != ProcessState::kAnnounced || process.lanes.empty()) continue;
    if (!desk_.has_catalog() || process.catalog_answered < desk_.generation()) continue;
    if (!Linked(process)) continue;
    Move(&process, ProcessState::kReady);
    any = true;
  }
  return any;
}

// Ingress may route by a catalog once every live worker has taken it up.
void Fleet::GoLive() {
  if (!desk_.has_catalog()) return;
  if (live_generation_ < desk_.generation()) {
    bool execution = false;
    for (const auto& [key, process] : processes_) {
      const ProcessState state = process.state;
      if (!HasLanes(process.stage) || process.stage == Stage::kIngress) continue;
      if (IsSpare(process.stage, process.index)) continue;
      if (state != ProcessState::kReady && state != ProcessState::kAnnounced) continue;
      if (process.catalog_answered < desk_.generation()) return;
      execution |= process.stage == Stage::kExecution;
    }
    if (!execution) return;
    live_generation_ = desk_.generation();
    Log(LogLevel::kInfo, "catalog_live", {{"generation", live_generation_}});
  }
  for (auto& [key, process] : processes_) {
    if (process.stage != Stage::kIngress || process.told_live == live_generation_) continue;
    if (process.catalog_answered < live_generation_ || !RowOf(process.state).links) continue;
    process.told_live = live_generation_;
    ToProcess message;
    message.mutable_catalog_live()->set_generation(live_generation_);
    Send(&process, message);
  }
}

bool Fleet::GroupMayStart(int group) const {
  if (phase_ == FleetPhase::kStopping || phase_ == FleetPhase::kDone) return false;
  // While draining, workers are still replaced: requests in flight are replayed on them.
  if (phase_ == FleetPhase::kDraining && group == kIngressGroup) return false;
  if (group == 0) return true;
  if (!desk_.has_catalog()) return false;
  for (const auto& [name, slot] : slots_) {
    const int other = RowOf(name.first).group;
    if (other > 0 && other < group && !slot.tried) return false;
  }
  return true;
}

bool Fleet::StartDue() {
  bool started = false;
  const int64_t now = hands_->NowNs();
  for (auto& [name, slot] : slots_) {
    if (slot.key != 0 || slot.leaving || now < slot.start_at_ns) continue;
    if (!GroupMayStart(RowOf(name.first).group)) continue;
    if (IsSpare(name.first, name.second) && !SpareMayStart(name.first)) continue;
    StartProcess(name, &slot);
    started |= slot.key != 0;
  }
  return started;
}

std::vector<uint32_t> Fleet::LanesOf(Stage stage) const {
  if (stage != Stage::kIngress) return {0};
  std::vector<uint32_t> lanes;
  for (const auto& [lane, fd] : setup_.listeners) lanes.push_back(lane);
  return lanes;
}

void Fleet::StartProcess(const SlotName& name, FleetSlot* slot) {
  FleetProcess process;
  process.stage = name.first;
  process.index = name.second;
  process.cpus = CpusFor(process.stage, process.index);
  process.started_ns = process.state_since_ns = hands_->NowNs();
  for (uint32_t number : LanesOf(process.stage)) {
    FleetLane lane;
    lane.incarnation = hands_->NewIncarnation();
    lane.lane = number;
    process.lanes.push_back(std::move(lane));
  }
  process.key = process.lanes[0].incarnation;
  const absl::Status status =
      hands_->Spawn(process.key, process.stage, process.index, process.cpus);
  if (!status.ok()) {
    slot->tried = true;
    slot->failures = FailuresAfter(slot->failures, false, 0);
    slot->start_at_ns = hands_->NowNs() + RestartDelayNs(slot->failures, hands_->Random());
    Log(LogLevel::kError, "cannot_start",
        {{"name", ProcessName(process.stage, process.index)}, {"why", status.ToString()}});
    return;
  }
  slot->key = process.key;
  FleetProcess& kept = processes_[process.key] = std::move(process);
  Configure(&kept);
}

void Fleet::Configure(FleetProcess* process) {
  ToProcess message;
  millrace::Configure* configure = message.mutable_configure();
  for (const FleetLane& lane : process->lanes) {
    LaneName* name = configure->add_lanes();
    name->set_incarnation(lane.incarnation);
    name->set_stage(static_cast<uint32_t>(process->stage));
    name->set_index(process->index);
    name->set_lane(lane.lane);
  }
  configure->set_config_yaml(setup_.config_yaml);
  FdList fds = {setup_.roster};
  if (process->stage == Stage::kIngress) {
    configure->set_hold(hold_);
    for (const auto& [lane, fd] : setup_.listeners) {
      configure->add_listeners(std::string(kListenerNames[lane]));
      fds.push_back(fd);
    }
  }
  if (process->stage == Stage::kExecution) {
    configure->set_without_device(SlotOf(*process)->device_losses >= kDeviceLossesToDoWithout);
  }
  if (process->stage == Stage::kRegistry) {
    configure->set_first_route(desk_.first_route());
    configure->set_first_generation(desk_.first_generation());
    *configure->mutable_unloaded() = desk_.last_said().unloaded();
    if (!desk_.has_catalog()) {
      for (const std::string& model : setup_.unloaded) configure->add_unloaded(model);
    }
    for (const EvictedVersion& version : desk_.last_said().evicted()) {
      millrace::Configure::Evicted* const evicted = configure->add_evicted();
      evicted->set_name(version.name());
      evicted->set_version(version.version());
    }
  }
  Send(process, message, fds);
  if (process->stage == Stage::kIngress) SendRoutes(process);
  if (!HasLanes(process->stage)) return;
  // Requests may go by the former one until the newest is live, and those in flight longer.
  for (const CatalogDesk::Kept* catalog : {&desk_.former(), &desk_.newest()}) {
    if (!catalog->fds.empty()) SendCatalog(process, *catalog);
  }
}

void Fleet::SendCatalog(FleetProcess* process, const CatalogDesk::Kept& catalog) {
  ToProcess message;
  *message.mutable_catalog() = catalog.UpdateFor(process->stage);
  Send(process, message, catalog.FdsFor(process->stage));
}

// A process that does not take its messages is condemned, not waited for.
void Fleet::Send(FleetProcess* process, const ToProcess& message, const FdList& fds) {
  if (process->state == ProcessState::kDying) return;
  const absl::Status status = hands_->Send(process->key, message, fds);
  // One that is gone is reported by its end.
  if (status.ok() || absl::IsUnavailable(status)) return;
  process->condemned = absl::StrCat("cannot be told anything: ", status.message());
}

void Fleet::Move(FleetProcess* process, ProcessState state) {
  const int64_t now = hands_->NowNs();
  process->state = state;
  process->state_since_ns = now;
  if (state == ProcessState::kReady) {
    process->ready_since_ns = now;
    SlotOf(*process)->tried = true;
    Log(LogLevel::kInfo, "worker_ready",
        {{"name", ProcessName(process->stage, process->index)},
         {"incarnation", process->key},
         {"start_us", (now - process->started_ns) / kNanosPerMicro}});
  }
  if (RowOf(state).links) return;
  for (const FleetLane& lane : process->lanes) {
    for (uint32_t key : book_.Remove(lane.incarnation)) process->knew_it.push_back(key);
  }
}

FleetProcess* Fleet::Find(uint32_t key) {
  const auto it = processes_.find(key);
  return it == processes_.end() ? nullptr : &it->second;
}

FleetSlot* Fleet::SlotOf(const FleetProcess& process) {
  const auto it = slots_.find({process.stage, process.index});
  MR_CHECK(it != slots_.end(), "a slot stays until its process has ended");
  return &it->second;
}

bool Fleet::Ready() const {
  if (phase_ != FleetPhase::kRunning || live_generation_ == 0) return false;
  bool ready[kStageCount] = {};
  for (const auto& [key, process] : processes_) {
    const bool routed = process.stage != Stage::kIngress || process.told_live == live_generation_;
    if (IsSpare(process.stage, process.index)) continue;
    if (process.state == ProcessState::kReady && routed) {
      ready[static_cast<size_t>(process.stage)] = true;
    }
  }
  for (const StageRow& row : kStageRows) {
    if (HasLanes(row.stage) && !ready[static_cast<size_t>(row.stage)]) return false;
  }
  return true;
}

}  // namespace millrace
