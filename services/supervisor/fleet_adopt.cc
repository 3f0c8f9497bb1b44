// Fleet: what is stored for the next supervisor, and going on with what the last one left.
#include <signal.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"
#include "services/supervisor/stored_names.h"

namespace millrace {
namespace {

constexpr uint32_t kFormat = 1;  // of FleetState, with what its numbers mean
constexpr uint64_t kNumbersSkipped = 64;

bool HasMemory(const FleetLane& lane) { return lane.page != nullptr; }

ProcessRecord RecordOf(const FleetProcess& process) {
  ProcessRecord record;
  record.set_key(process.key);
  record.set_stage(static_cast<uint32_t>(process.stage));
  record.set_index(process.index);
  record.set_state(static_cast<uint32_t>(process.state));
  for (const FleetLane& lane : process.lanes) {
    LaneRecord* kept = record.add_lanes();
    kept->set_incarnation(lane.incarnation);
    kept->set_lane(lane.lane);
    kept->set_has_memory(HasMemory(lane));
    kept->set_has_ledger(lane.ledger != nullptr);
  }
  for (int cpu : process.cpus) record.add_cpus(cpu);
  record.set_started_ns(process.started_ns);
  record.set_state_since_ns(process.state_since_ns);
  record.set_ready_since_ns(process.ready_since_ns);
  record.set_catalog_answered(process.catalog_answered);
  record.set_told_live(process.told_live);
  record.set_routes_taken(process.routes_taken);
  record.set_drained(process.drained);
  record.set_told_to_end(process.told_to_end);
  record.set_device_lost(process.device_lost);
  record.set_bytes(process.bytes);
  if (process.device.has_value()) *record.mutable_device() = *process.device;
  for (const auto& [route, choice] : process.kernels) *record.add_kernels() = choice;
  return record;
}

FleetProcess ProcessOf(const ProcessRecord& record) {
  FleetProcess process;
  process.key = record.key();
  process.stage = static_cast<Stage>(record.stage());
  process.index = record.index();
  process.state = static_cast<ProcessState>(record.state());
  for (const LaneRecord& kept : record.lanes()) {
    FleetLane lane;
    lane.incarnation = kept.incarnation();
    lane.lane = kept.lane();
    process.lanes.push_back(std::move(lane));
  }
  process.cpus.assign(record.cpus().begin(), record.cpus().end());
  process.started_ns = record.started_ns();
  process.state_since_ns = record.state_since_ns();
  process.ready_since_ns = record.ready_since_ns();
  process.catalog_answered = record.catalog_answered();
  process.told_live = record.told_live();
  process.routes_taken = record.routes_taken();
  process.drained = record.drained();
  process.told_to_end = record.told_to_end();
  process.device_lost = record.device_lost();
  process.bytes = record.bytes();
  if (record.has_device()) process.device = record.device();
  for (const KernelChoice& choice : record.kernels()) process.kernels[choice.route()] = choice;
  process.adopted = true;
  return process;
}

// What was linking when its supervisor died may have said so to nobody.
bool CanGoOn(const FleetProcess& process) {
  return !HasLanes(process.stage) ||
         (process.state != ProcessState::kStarting && process.state != ProcessState::kAnnounced);
}

}  // namespace

FleetState Fleet::State() const {
  FleetState state;
  state.set_format(kFormat);
  state.set_config_yaml(setup_.config_yaml);
  for (const auto& [key, process] : processes_) {
    ProcessRecord* record = state.add_processes();
    *record = RecordOf(process);
    record->set_linked(HasLanes(process.stage) && Linked(process));
  }
  for (const auto& [name, slot] : slots_) {
    SlotRecord* record = state.add_slots();
    record->set_stage(static_cast<uint32_t>(name.first));
    record->set_index(name.second);
    record->set_failures(slot.failures);
    record->set_restarts(slot.restarts);
    record->set_device_losses(slot.device_losses);
    record->set_start_at_ns(slot.start_at_ns);
    record->set_tried(slot.tried);
    record->set_leaving(slot.leaving);
    record->set_bytes(slot.bytes);
  }
  if (desk_.has_catalog()) *state.mutable_catalog() = desk_.newest().Published();
  if (!desk_.former().fds.empty()) *state.mutable_former_catalog() = desk_.former().Published();
  state.set_first_route(desk_.first_route());
  state.set_live_generation(live_generation_);
  state.set_catalog_since_ns(catalog_since_ns_);
  state.set_changes_asked(changes_asked_);
  state.set_phase(static_cast<uint32_t>(phase_));
  state.set_drain_until_ns(drain_until_ns_);
  state.set_stop_group(stop_group_);
  state.set_exit_code(exit_code_);
  state.set_was_ready(was_ready_);
  state.set_last_death_at_ns(last_death_at_ns_);
  state.set_last_reroute_ns(last_reroute_ns_);
  state.set_deaths(deaths_);
  state.set_faults(faults_);
  state.set_hangs(hangs_);
  state.set_others_serve(others_serve_);
  state.set_routes_serial(routes_.serial());
  state.set_routes_asked(routes_.last_number());
  state.set_promotions(promotions_);
  for (const auto& [stage, scaling] : scaling_) {
    if (scaling.pinned) state.add_pinned_stages(static_cast<uint32_t>(stage));
  }
  for (size_t i = 0; i < kStageCount; ++i) {
    if (storms_.states()[i] == StageBreaker::kClosed) continue;
    BreakerRecord* record = state.add_stage_breakers();
    record->set_stage(static_cast<uint32_t>(i));
    record->set_state(static_cast<uint32_t>(storms_.states()[i]));
    record->set_opened_ns(storms_.opened_ns(static_cast<Stage>(i)));
  }
  return state;
}

void Fleet::StoreState() {
  std::string bytes = State().SerializeAsString();
  if (bytes == stored_) return;
  hands_->StoreState(bytes);
  stored_ = std::move(bytes);
}

void Fleet::StoreMemory(const FleetProcess& process) {
  std::vector<std::pair<std::string, SharedFd>> fds;
  for (const FleetLane& lane : process.lanes) {
    const std::pair<const char*, SharedFd> parts[] = {
        {"page", lane.page}, {"arena", lane.arena}, {"wake", lane.wake}, {"ledger", lane.ledger}};
    for (const auto& [what, fd] : parts) {
      if (fd == nullptr) continue;
      fds.emplace_back(StoredLane(process.key, lane.incarnation, what), fd);
    }
  }
  hands_->Store(fds);
}

// The new one, the state that names it, and only then the old one goes.
void Fleet::StoreCatalog(uint64_t forgotten) {
  std::vector<std::pair<std::string, SharedFd>> fds;
  for (const SharedFd& fd : desk_.newest().fds) {
    fds.emplace_back(StoredCatalog(desk_.generation()) + std::to_string(fds.size()), fd);
  }
  hands_->Store(fds);
  StoreState();
  if (forgotten != 0) hands_->DropStored(StoredCatalog(forgotten));
}

void Fleet::Adopt(const FleetState& state) {
  if (state.format() != kFormat) return Start();
  last_tick_ns_ = hands_->NowNs();
  AdoptTables(state);
  AdoptSums();
  AdoptCatalog(state);
  AdoptRoutes(state);
  std::vector<uint32_t> gone;
  for (const ProcessRecord& record : state.processes()) AdoptProcess(record, &gone);
  AdoptLinks();
  // Whoever is told of the new roster finds itself in it, and nobody in it who is to be ended.
  for (auto& [key, process] : processes_) {
    if (!process.condemned.empty() && process.state != ProcessState::kDying) {
      Condemn(&process, SIGKILL);
    }
  }
  PublishRoster();
  for (auto& [key, process] : processes_) Resume(&process, gone);
  // Not all of them were told yet.
  for (auto& [key, process] : processes_) {
    if (phase_ == FleetPhase::kDraining && process.stage == Stage::kIngress) BeginDrain(&process);
  }
  Log(LogLevel::kInfo, "fleet_adopted", {{"processes", processes_.size()}, {"gone", gone.size()}});
  AdvanceStop();
  Settle();
}

void Fleet::AdoptTables(const FleetState& state) {
  slots_.clear();
  for (const SlotRecord& record : state.slots()) {
    FleetSlot& slot = slots_[{static_cast<Stage>(record.stage()), record.index()}];
    slot.failures = record.failures();
    slot.restarts = record.restarts();
    slot.device_losses = record.device_losses();
    slot.start_at_ns = record.start_at_ns();
    slot.tried = record.tried();
    slot.leaving = record.leaving();
    slot.bytes = record.bytes();
  }
  live_generation_ = state.live_generation();
  catalog_since_ns_ = state.catalog_since_ns();
  // Some may have been numbered since that was stored.
  changes_asked_ = state.changes_asked() + kNumbersSkipped;
  phase_ = static_cast<FleetPhase>(state.phase());
  drain_until_ns_ = state.drain_until_ns();
  stop_group_ = state.stop_group();
  exit_code_ = state.exit_code();
  was_ready_ = state.was_ready();
  last_death_at_ns_ = state.last_death_at_ns();
  last_reroute_ns_ = state.last_reroute_ns();
  deaths_ = state.deaths();
  faults_ = state.faults();
  hangs_ = state.hangs();
  others_serve_ = state.others_serve();
  promotions_ = state.promotions();
  for (uint32_t stage : state.pinned_stages()) {
    const auto policy = scaling_.find(static_cast<Stage>(stage));
    if (policy != scaling_.end()) policy->second.pinned = true;
  }
  for (const BreakerRecord& record : state.stage_breakers()) {
    storms_.GoOnFrom(static_cast<Stage>(record.stage()), static_cast<StageBreaker>(record.state()),
                     record.opened_ns());
  }
}

// Without its catalog the fleet still serves; the registry publishes it again.
void Fleet::AdoptCatalog(const FleetState& state) {
  desk_.GoOnFrom(state.first_route());
  if (state.has_former_catalog()) AdoptOneCatalog(state.former_catalog());
  if (state.has_catalog()) AdoptOneCatalog(state.catalog());
}

void Fleet::AdoptOneCatalog(const PublishCatalog& catalog) {
  FdList fds;
  for (int i = 0; i <= catalog.plan_routes_size(); ++i) {
    fds.push_back(hands_->TakeStored(StoredCatalog(catalog.generation()) + std::to_string(i)));
    if (fds.back() == nullptr) break;
  }
  const absl::Status taken = fds.back() == nullptr ? absl::NotFoundError("a descriptor is missing")
                                                   : desk_.Hold(catalog, std::move(fds));
  if (!taken.ok()) {
    Log(LogLevel::kError, "catalog_not_adopted", {{"why", taken.ToString()}});
  } else {
    (void)desk_.Take(/*newest_was_live=*/true);
  }
}

void Fleet::AdoptProcess(const ProcessRecord& record, std::vector<uint32_t>* gone) {
  FleetProcess process = ProcessOf(record);
  const auto slot = slots_.find({process.stage, process.index});
  const bool dying = process.state == ProcessState::kDying;
  if (const absl::Status adopted = hands_->Adopt(process.key); !adopted.ok()) {
    for (const FleetLane& lane : process.lanes) gone->push_back(lane.incarnation);
    CarryOverStored(process);
    if (slot != slots_.end() && slot->second.leaving && !dying) slots_.erase(slot);
    hands_->DropStored(StoredOf(process.key));
    return;
  }
  if (!dying) {
    MR_CHECK(slot != slots_.end(), "a slot stays until its process has ended");
    slot->second.key = process.key;
    const absl::Status memory = AdoptMemory(record, &process);
    if (!CanGoOn(process)) {
      process.condemned = "was not up yet when its supervisor died";
    } else if (IsSpare(process.stage, process.index) && !record.linked()) {
      process.condemned = "was a spare, and not linked with all, when its supervisor died";
    } else if (!memory.ok()) {
      process.condemned = absl::StrCat("cannot be adopted: ", memory.message());
    }
  } else {
    AdoptMemory(record, &process).IgnoreError();  // for what it counted
  }
  processes_[process.key] = std::move(process);
}

absl::Status Fleet::AdoptMemory(const ProcessRecord& record, FleetProcess* process) {
  std::vector<LanePage> pages;
  for (int i = 0; i < record.lanes_size(); ++i) {
    FleetLane& lane = process->lanes[i];
    if (!record.lanes(i).has_memory()) continue;
    const auto take = [&](const char* what) {
      return hands_->TakeStored(StoredLane(process->key, lane.incarnation, what));
    };
    const SharedFd page = take("page");
    lane.arena = take("arena");
    lane.wake = take("wake");
    lane.ledger = take("ledger");
    if (page == nullptr || lane.arena == nullptr || lane.wake == nullptr ||
        (lane.ledger != nullptr) != record.lanes(i).has_ledger()) {
      return absl::NotFoundError("a descriptor of its memory is missing");
    }
    lane.page = page;
    pages.push_back({lane.incarnation, lane.page});
  }
  return pages.empty() ? absl::OkStatus() : hands_->OpenPages(process->key, pages);
}

// Of two that were ready, the link stands: that is what made the later one ready.
void Fleet::AdoptLinks() {
  std::vector<uint32_t> owners;
  for (auto& [key, process] : processes_) {
    if (!RowOf(process.state).links || !process.condemned.empty()) continue;
    if (HasLanes(process.stage)) owners.push_back(key);
    for (const FleetLane& lane : process.lanes) {
      if (!HasLanes(process.stage)) continue;
      for (const BookLane& peer : book_.Add({lane.incarnation, process.stage, key})) {
        for (uint32_t owner : {key, peer.owner}) {
          book_.MarkUp(lane.incarnation, peer.incarnation, owner);
          book_.MarkUp(peer.incarnation, lane.incarnation, owner);
        }
      }
    }
  }
  // Who knew of the others cannot be told.
  for (auto& [key, process] : processes_) {
    if (RowOf(process.state).links && process.condemned.empty()) continue;
    process.knew_it = owners;
  }
}

// Says again what the last supervisor may not have come to say.
void Fleet::Resume(FleetProcess* process, const std::vector<uint32_t>& gone) {
  if (process->state == ProcessState::kDying) return hands_->Signal(process->key, SIGKILL);
  ToProcess message;
  message.mutable_adopted();
  Send(process, message, {setup_.roster});
  for (uint32_t incarnation : gone) {
    message.mutable_peer_gone()->set_incarnation(incarnation);
    Send(process, message);
  }
  if (HasLanes(process->stage) && desk_.has_catalog() &&
      process->catalog_answered < desk_.generation()) {
    SendCatalog(process, desk_.newest());
  }
  if (process->stage == Stage::kIngress) RetellBreakers(process);
  if (process->stage == Stage::kIngress && process->routes_taken < routes_.serial()) {
    SendRoutes(process);
  }
  if (process->stage == Stage::kIngress && !hold_) TellOpen(process);
  if (process->state == ProcessState::kLeaving) {
    process->drained = false;
    Send(process, DrainOrder());
  } else if (process->state == ProcessState::kStopping) {
    process->kill_at_ns = hands_->NowNs() + kStopLimitNs;
    message.mutable_stop();
    Send(process, message);
  }
}

}  // namespace millrace
