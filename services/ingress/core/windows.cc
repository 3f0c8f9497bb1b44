#include "services/ingress/core/windows.h"

#include "common/check.h"

namespace millrace {

Windows::Windows(const Lane* lane, const Config& config)
    : lane_(lane), shape_(WorkerArenaShape(config)), window_bytes_(WorkerWindowBytes(config)) {}

bool Windows::Linked() const {
  const RosterEntry* own = lane_->roster().Find(lane_->id().incarnation);
  return own != nullptr && own->state != RosterState::kStarting;
}

const RosterEntry* Windows::Choose(const StageNeed& need, uint64_t bytes) const {
  if (!Linked()) return nullptr;
  const RosterEntry* best = nullptr;
  uint64_t best_load = 0;
  for (const RosterEntry& entry : lane_->roster().lanes()) {
    if (entry.stage != need.stage || entry.state != RosterState::kReady) continue;
    auto used = uses_.find(entry.incarnation);
    const PeerLane* peer = lane_->FindPeer(entry.incarnation);
    if (used == uses_.end() || peer == nullptr) continue;
    if (used->second.units + need.units > kWindowUnits) continue;
    if (used->second.bytes + bytes > window_bytes_) continue;
    const uint64_t load = used->second.units + peer->page().Get(Counter::kQueueDepth);
    if (best == nullptr || load < best_load) {
      best = &entry;
      best_load = load;
    }
  }
  return best;
}

std::optional<Route> Windows::Take(absl::Span<const StageNeed> needs) {
  Route taken;
  for (const StageNeed& need : needs) {
    const uint64_t bytes = uint64_t{BlockBytes(need.block_bytes)} * need.blocks;
    const RosterEntry* worker = bytes == 0 ? nullptr : Choose(need, bytes);
    if (worker == nullptr) {
      for (const WindowUse& use : taken) GiveBack(use);
      return std::nullopt;
    }
    Used& used = uses_[worker->incarnation];
    used.units += need.units;
    used.bytes += bytes;
    taken.push_back({worker->incarnation, need.stage, need.units, bytes});
  }
  return taken;
}

void Windows::GiveBack(const WindowUse& use) {
  auto found = uses_.find(use.worker);
  if (found == uses_.end()) return;
  MR_CHECK(found->second.units >= use.units && found->second.bytes >= use.bytes,
           "more is given back to a window than was taken");
  found->second.units -= use.units;
  found->second.bytes -= use.bytes;
}

uint64_t Windows::QueueDelayNs(Stage stage) const {
  std::optional<uint64_t> least;
  for (const RosterEntry& entry : lane_->roster().lanes()) {
    if (entry.stage != stage || entry.state != RosterState::kReady) continue;
    const PeerLane* peer = lane_->FindPeer(entry.incarnation);
    if (peer == nullptr) continue;
    // The delay is a moving average of the past: it says nothing of a worker without a queue.
    const bool queued = peer->page().Get(Counter::kQueueDepth) > 0;
    const uint64_t delay = queued ? peer->page().Get(Counter::kQueueDelayNs) : 0;
    least = std::min(least.value_or(delay), delay);
  }
  return least.value_or(0);
}

bool Windows::HasReady(Stage stage) const {
  if (!Linked()) return false;
  for (const RosterEntry& entry : lane_->roster().lanes()) {
    if (entry.stage == stage && entry.state == RosterState::kReady &&
        lane_->FindPeer(entry.incarnation) != nullptr) {
      return true;
    }
  }
  return false;
}

}  // namespace millrace
