// Fleet: what processes say. All of it is untrusted: a message that does not fit ends its sender.
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr size_t kMaxReportBytes = 4096;  // of what is kept of a process for status

SharedFd Share(Fd fd) { return std::make_shared<const Fd>(std::move(fd)); }

uint64_t SizeOf(const SharedFd& fd) {
  struct stat info;
  if (fd == nullptr || fstat(fd->get(), &info) != 0 || info.st_size < 0) return 0;
  return info.st_size;
}

bool SameLanes(const FleetProcess& process, const Announce& announce) {
  if (announce.lanes_size() != static_cast<int>(process.lanes.size())) return false;
  if (announce.has_ledger_size() != announce.lanes_size()) return false;
  for (int i = 0; i < announce.lanes_size(); ++i) {
    if (announce.lanes(i).incarnation() != process.lanes[i].incarnation) return false;
  }
  return true;
}

size_t FdsNeeded(const Announce& announce) {
  size_t count = 0;
  for (bool has_ledger : announce.has_ledger()) count += has_ledger ? 4 : 3;
  return count;
}

}  // namespace

void Fleet::OnMessage(uint32_t key, const FromProcess& message, std::vector<Fd> fds) {
  FleetProcess* process = Find(key);
  if (process == nullptr || process->state == ProcessState::kDying) return;
  switch (message.message_case()) {
    case FromProcess::kAnnounce:
      OnAnnounce(process, message.announce(), std::move(fds));
      break;
    case FromProcess::kHalf:
      OnHalf(process, message.half(), std::move(fds));
      break;
    case FromProcess::kLinkUp:
      // False for a link whose other end died meanwhile: nothing follows.
      book_.MarkUp(message.link_up().producer(), message.link_up().consumer(), key);
      break;
    case FromProcess::kCatalogReady:
      OnCatalogReady(process, message.catalog_ready());
      break;
    case FromProcess::kPublishCatalog:
      OnPublishCatalog(process, message.publish_catalog(), std::move(fds));
      break;
    case FromProcess::kDrained:
      process->drained = true;
      if (process->state == ProcessState::kLeaving && phase_ == FleetPhase::kRunning) {
        BeginStop(process);
      }
      break;
    case FromProcess::kFault:
      OnFault(process, message.fault());
      break;
    case FromProcess::kDeviceReport:
      OnDeviceReport(process, message.device_report());
      break;
    case FromProcess::kKernelChoice:
      OnKernelChoice(process, message.kernel_choice());
      break;
    case FromProcess::kChangeModel:
      OnChangeModel(process, message.change_model());
      break;
    case FromProcess::kModelChanged:
      OnModelChanged(process, message.model_changed());
      break;
    case FromProcess::kQuarantined:
      if (process->stage == Stage::kIngress) incidents_.Add(message.quarantined());
      break;
    case FromProcess::kBreakerChanged:
      if (process->stage == Stage::kIngress) incidents_.Add(message.breaker_changed(), key);
      break;
    case FromProcess::kObserving:
      OnObserving(process, message.observing());
      break;
    case FromProcess::kProfileTaken:
      OnProfileTaken(process, message.profile_taken(), fds);
      break;
    case FromProcess::kTraces:
      OnTraces(process, message.traces(), std::move(fds));
      break;
    case FromProcess::kLogs:
      OnLogs(process, message.logs(), std::move(fds));
      break;
    case FromProcess::kPublishRoutes:
      OnPublishRoutes(process, message.publish_routes(), std::move(fds));
      break;
    case FromProcess::kRoutesTaken:
      OnRoutesTaken(process, message.routes_taken());
      break;
    case FromProcess::kRoutesChanged:
      OnRoutesChanged(process, message.routes_changed());
      break;
    case FromProcess::kChangeRoutes:
      OnChangeRoutes(process, message.change_routes());
      break;
    case FromProcess::kWatchVersions:
      OnWatchVersions(process, message.watch_versions());
      break;
    case FromProcess::MESSAGE_NOT_SET:
      process->condemned = "sent a message of no known kind";
      break;
  }
  AdvanceStop();
  Settle();
}

void Fleet::OnAnnounce(FleetProcess* process, const Announce& announce, std::vector<Fd> fds) {
  if (process->state == ProcessState::kStopping) return;  // it was told to end before it was up
  if (!NextState(process->state, ProcessEvent::kAnnounce).has_value() ||
      !HasLanes(process->stage)) {
    process->condemned = "announced itself out of turn";
    return;
  }
  if (!SameLanes(*process, announce) || fds.size() != FdsNeeded(announce)) {
    process->condemned = "announced other lanes or descriptors than it was given";
    return;
  }
  size_t next = 0;
  std::vector<LanePage> pages;
  for (size_t i = 0; i < process->lanes.size(); ++i) {
    FleetLane& lane = process->lanes[i];
    lane.page = Share(std::move(fds[next++]));
    lane.arena = Share(std::move(fds[next++]));
    lane.wake = Share(std::move(fds[next++]));
    if (announce.has_ledger(static_cast<int>(i))) lane.ledger = Share(std::move(fds[next++]));
    process->bytes += SizeOf(lane.page) + SizeOf(lane.arena) + SizeOf(lane.ledger);
    pages.push_back({lane.incarnation, lane.page});
  }
  const absl::Status opened = hands_->OpenPages(process->key, pages);
  if (!opened.ok()) {
    process->condemned = absl::StrCat("announced a page that is refused: ", opened.message());
    return;
  }
  SlotOf(*process)->bytes = process->bytes;
  StoreMemory(*process);
  Move(process, ProcessState::kAnnounced);
  // A lane takes one that is not in the roster for dead: it stands there before anybody meets it.
  PublishRoster();
  Introduce(process);
}

// Tells the new process of each lane it must be linked with, and their owners of each of its lanes.
void Fleet::Introduce(FleetProcess* process) {
  std::set<std::pair<uint32_t, uint32_t>> to_them;  // owner, lane of the new process
  std::set<std::pair<uint32_t, uint32_t>> to_it;    // owner, lane of that owner
  for (const FleetLane& lane : process->lanes) {
    for (const BookLane& peer : book_.Add({lane.incarnation, process->stage, process->key})) {
      to_them.insert({peer.owner, lane.incarnation});
      to_it.insert({peer.owner, peer.incarnation});
    }
  }
  for (const FleetLane& lane : process->lanes) {
    for (const auto& [owner, incarnation] : to_them) {
      if (incarnation == lane.incarnation) SendPeer(Find(owner), *process, lane);
    }
  }
  for (const auto& [owner, incarnation] : to_it) {
    const FleetProcess* peer = Find(owner);
    MR_CHECK(peer != nullptr, "the book names processes that exist");
    for (const FleetLane& lane : peer->lanes) {
      if (lane.incarnation == incarnation) SendPeer(process, *peer, lane);
    }
  }
}

void Fleet::SendPeer(FleetProcess* to, const FleetProcess& of, const FleetLane& lane) {
  MR_CHECK(to != nullptr, "the book names processes that exist");
  ToProcess message;
  Peer* peer = message.mutable_peer();
  LaneName* name = peer->mutable_name();
  name->set_incarnation(lane.incarnation);
  name->set_stage(static_cast<uint32_t>(of.stage));
  name->set_index(of.index);
  name->set_lane(lane.lane);
  peer->set_has_ledger(lane.ledger != nullptr);
  FdList fds = {lane.page, lane.arena, lane.wake};
  if (lane.ledger != nullptr) fds.push_back(lane.ledger);
  Send(to, message, fds);
}

void Fleet::OnHalf(FleetProcess* process, const Half& half, std::vector<Fd> fds) {
  if (fds.size() != 1) {
    process->condemned = "sent a half of a link without its one descriptor";
    return;
  }
  const uint32_t other = book_.OtherEnd(half.producer(), half.consumer(), process->key);
  if (other == 0) return;  // the other end died meanwhile
  const SharedFd fd = Share(std::move(fds[0]));
  process->bytes += SizeOf(fd);
  SlotOf(*process)->bytes = process->bytes;
  ToProcess message;
  message.mutable_peer_half()->set_producer(half.producer());
  message.mutable_peer_half()->set_consumer(half.consumer());
  Send(Find(other), message, {fd});
}

void Fleet::OnCatalogReady(FleetProcess* process, const CatalogReady& ready) {
  if (!desk_.has_catalog() || ready.generation() > desk_.generation()) {
    process->condemned = "took up a catalog that was never sent";
    return;
  }
  if (!ready.error().empty()) {
    catalog_failed_ |= ready.generation() == desk_.generation();
    process->condemned =
        absl::StrCat("cannot take up catalog ", ready.generation(), ": ", ready.error());
    return;
  }
  process->catalog_answered = std::max(process->catalog_answered, ready.generation());
}

void Fleet::OnPublishCatalog(FleetProcess* process, const PublishCatalog& publish,
                             std::vector<Fd> fds) {
  // Said again to each supervisor that adopted it; one that was killed may have left it unread.
  if (process->adopted && desk_.has_catalog() && publish.generation() == desk_.generation()) return;
  FdList shared;
  for (Fd& fd : fds) shared.push_back(Share(std::move(fd)));
  absl::Status status = process->stage == Stage::kRegistry
                            ? desk_.Hold(publish, std::move(shared))
                            : absl::InvalidArgumentError("only the registry publishes");
  if (!status.ok()) {
    process->condemned = absl::StrCat("published a catalog that is refused: ", status.message());
    return;
  }
  if (NextState(process->state, ProcessEvent::kBecomeReady).has_value()) {
    Move(process, ProcessState::kReady);
  }
}

void Fleet::OnDeviceReport(FleetProcess* process, const DeviceReport& report) {
  if (process->stage != Stage::kExecution || process->device.has_value() ||
      report.ByteSizeLong() > kMaxReportBytes) {
    process->condemned = "reported a device out of turn";
    return;
  }
  process->device = report;
}

// Kept for status alone, and only as many as the catalog has models.
void Fleet::OnKernelChoice(FleetProcess* process, const KernelChoice& choice) {
  if (process->stage != Stage::kExecution || choice.ByteSizeLong() > kMaxReportBytes) {
    process->condemned = "reported a choice of kernels that cannot be right";
    return;
  }
  std::set<uint32_t> routes;
  for (const Model& model : desk_.catalog().models()) routes.insert(model.route());
  std::erase_if(process->kernels,
                [&](const auto& known) { return routes.count(known.first) == 0; });
  // One of an older catalog comes late.
  if (routes.count(choice.route()) > 0) process->kernels[choice.route()] = choice;
  CheckSpare(process, choice);
}

void Fleet::OnFault(FleetProcess* process, const Fault& fault) {
  faults_ += 1;
  for (auto& [key, peer] : processes_) {
    for (const FleetLane& lane : peer.lanes) {
      if (lane.incarnation != fault.incarnation() || peer.state == ProcessState::kDying) continue;
      // Only a process that shares memory with a lane can tell of it.
      if (!book_.Linked(process->key, lane.incarnation)) return;
      peer.condemned = absl::StrCat("accused by ", ProcessName(process->stage, process->index),
                                    ": ", fault.reason());
      return;
    }
  }
}

}  // namespace millrace
