// Fleet: what the observer is told, and the sums that outlive the pages they were counted in.
#include <algorithm>

#include "common/log.h"
#include "ipc/memfd.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"
#include "services/supervisor/stored_names.h"

namespace millrace {
namespace {

constexpr int kTicksAView = 5;
constexpr int kTicksAWatch = 20;  // once a second
constexpr size_t kMaxSumsBytes = 64 << 20;

SharedFd SealSums(const StatsSums& sums) {
  const std::string bytes = sums.SerializeAsString();
  absl::StatusOr<Fd> copy = MakeSealedCopy("millrace-sums", bytes.data(), bytes.size());
  if (copy.ok()) return std::make_shared<const Fd>(std::move(*copy));
  Log(LogLevel::kError, "sums_not_stored", {{"why", copy.status().ToString()}});
  return nullptr;
}

}  // namespace

// Before the process is forgotten: its pages are still there, and nobody writes them any more.
void Fleet::CarryOver(const FleetProcess& process) {
  const uint64_t before = carry_.version();
  for (const FleetLane& lane : process.lanes) {
    if (const Page* page = hands_->PageOf(lane.incarnation)) {
      carry_.Add(process.stage, process.index, lane.incarnation, *page);
    }
  }
  if (!process.told_to_end) carry_.CountEnd(process.stage, process.index);
  if (carry_.version() != before) StoreSums();
}

// Of one that ended while no supervisor looked, and is known by what was stored alone.
void Fleet::CarryOverStored(const FleetProcess& process) {
  for (const FleetLane& lane : process.lanes) {
    const SharedFd fd = hands_->TakeStored(StoredLane(process.key, lane.incarnation, "page"));
    if (fd == nullptr) continue;
    const absl::StatusOr<Region> page =
        Region::Open(fd->get(), kPageType, lane.incarnation, sizeof(Page));
    if (!page.ok()) continue;
    carry_.Add(process.stage, process.index, lane.incarnation, *page->as<const Page>());
  }
  if (!process.told_to_end) carry_.CountEnd(process.stage, process.index);
  StoreSums();
}

void Fleet::StoreSums() {
  SharedFd sums = SealSums(carry_.Snapshot());
  if (sums == nullptr) return;
  sums_ = std::move(sums);
  hands_->Store({{kStoredSums, sums_}});
}

void Fleet::AdoptSums() {
  sums_ = hands_->TakeStored(kStoredSums);
  if (sums_ == nullptr) return;
  const auto map = MapImmutable(sums_->get(), kMaxSumsBytes);
  StatsSums sums;
  if (map.ok() && sums.ParseFromArray(map->get_address(), static_cast<int>(map->get_size()))) {
    carry_.GoOnFrom(sums);
  } else {
    Log(LogLevel::kError, "sums_refused", {{"why", map.status().ToString()}});
  }
}

// The whole of it at each change, so that a page goes in the moment in which its sums come.
void Fleet::TellObserver() {
  for (auto& [key, process] : processes_) {
    if (process.stage != Stage::kObserver || process.state == ProcessState::kDying) continue;
    TellTraces(&process);
    TellLogs(&process);
    ToProcess message;
    FdList fds;
    std::vector<uint64_t> told = {carry_.version()};
    for (const auto& [other, observed] : processes_) {
      for (const FleetLane& lane : observed.lanes) {
        if (lane.page == nullptr) continue;
        LaneName* name = message.mutable_observe()->add_lanes();
        name->set_incarnation(lane.incarnation);
        name->set_stage(static_cast<uint32_t>(observed.stage));
        name->set_index(observed.index);
        name->set_lane(lane.lane);
        fds.push_back(lane.page);
        told.push_back(lane.incarnation);
      }
    }
    if (process.told_observe == told) continue;
    message.mutable_observe()->set_has_sums(sums_ != nullptr);
    if (sums_ != nullptr) fds.push_back(sums_);
    Send(&process, message, fds);
    process.told_observe = std::move(told);
  }
}

FleetView Fleet::View() const {
  FleetView view;
  for (const auto& [key, process] : processes_) {
    if (process.state == ProcessState::kDying) continue;
    FleetView::Process* one = view.add_processes();
    one->set_stage(static_cast<uint32_t>(process.stage));
    one->set_index(process.index);
    one->set_incarnation(process.key);
    one->set_pid(hands_->PidOf(process.key));
    one->set_ready(process.state == ProcessState::kReady);
    one->set_started_ns(process.started_ns);
    one->set_shared_bytes(process.bytes);
    one->set_name(ProcessName(process.stage, process.index));
    one->set_spare(IsSpare(process.stage, process.index));
  }
  uint32_t wanted[kStageCount] = {};
  for (const auto& [name, slot] : slots_) {
    if (!slot.leaving) wanted[static_cast<size_t>(name.first)] += 1;
  }
  for (const uint32_t count : wanted) view.add_wanted(count);
  view.set_deaths(deaths_);
  view.set_hangs(hangs_);
  view.set_faults(faults_);
  view.set_poisoned(incidents_.poisoned());
  for (const StageBreaker state : storms_.states()) {
    view.add_stage_breakers(static_cast<uint32_t>(state));
  }
  view.set_model_breakers_open(static_cast<uint32_t>(incidents_.breakers().size()));
  view.set_live_generation(live_generation_);
  view.set_catalog_generation(desk_.generation());
  view.set_models(static_cast<uint32_t>(desk_.catalog().models_size()));
  view.set_models_failed(static_cast<uint32_t>(desk_.catalog().failed_size()));
  const ModelMemory used = memory();
  view.set_models_bytes(used.bytes);
  view.set_models_budget_bytes(used.budget_bytes);
  view.set_device_bytes(used.device_bytes);
  view.set_device_budget_bytes(used.device_budget_bytes);
  view.set_models_evicted(used.evicted);
  view.set_last_reroute_ns(last_reroute_ns_);
  view.set_foreign_cores(load_.has_value() ? load_->foreign_cores : -1);
  return view;
}

// One that does not take them is found out by it, and replaced.
void Fleet::ShowView() {
  if (++ticks_of_view_ % kTicksAView != 0) return;
  for (auto& [key, process] : processes_) {
    if (process.stage != Stage::kObserver) continue;
    ToProcess message;
    *message.mutable_fleet_view() = View();
    AddDebts(message.mutable_fleet_view());
    Send(&process, message);
  }
}

void Fleet::OnWatchVersions(FleetProcess* process, const WatchVersions& watch) {
  const absl::Status status = process->stage == Stage::kRegistry
                                  ? watch_.Set(watch)
                                  : absl::PermissionDeniedError("is no registry");
  if (!status.ok()) {
    process->condemned = std::string(status.message());
    return;
  }
  watcher_ = process->key;
}

// A registry that was started again has to ask again.
void Fleet::TellVersions() {
  if (watch_.empty() || ++ticks_of_versions_ % kTicksAWatch != 0) return;
  FleetProcess* const registry = Find(watcher_);
  if (registry == nullptr || registry->state != ProcessState::kReady) return;
  ToProcess message;
  *message.mutable_version_statistics() = watch_.Sum(carry_, IngressPages(), hands_->NowNs());
  Send(registry, message);
}

void Fleet::OnObserving(FleetProcess* process, const Observing& observing) {
  if (process->stage != Stage::kObserver) {
    process->condemned = "is no observer";
    return;
  }
  process->observing = observing.address();
  if (process->state == ProcessState::kStarting) Move(process, ProcessState::kReady);
}

}  // namespace millrace
