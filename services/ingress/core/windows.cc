#include "services/ingress/core/windows.h"

#include <algorithm>

#include "common/check.h"

namespace millrace {

Windows::Windows(const Lane* lane, const Config& config)
    : lane_(lane), shape_(WorkerArenaShape(config)), window_bytes_(WorkerWindowBytes(config)) {}

bool Windows::Linked() const {
  const RosterEntry* own = lane_->roster().Find(lane_->id().incarnation);
  return own != nullptr && own->state != RosterState::kStarting;
}

Windows::Used* Windows::Find(uint32_t worker) {
  const auto found = std::find_if(uses_.begin(), uses_.end(),
                                  [worker](const Used& used) { return used.worker == worker; });
  return found == uses_.end() ? nullptr : &*found;
}

void Windows::WorkerUp(uint32_t incarnation) {
  if (Find(incarnation) == nullptr) uses_.push_back({incarnation});
}

void Windows::WorkerLost(uint32_t incarnation) {
  std::erase_if(uses_, [incarnation](const Used& used) { return used.worker == incarnation; });
}

Windows::Used* Windows::Choose(const StageNeed& need, uint64_t bytes) {
  if (!Linked()) return nullptr;
  Used* best = nullptr;
  uint64_t best_load = 0;
  for (const RosterEntry& entry : lane_->roster().lanes()) {
    if (entry.stage != need.stage || entry.state != RosterState::kReady) continue;
    Used* const used = Find(entry.incarnation);
    const PeerLane* peer = lane_->FindPeer(entry.incarnation);
    if (used == nullptr || peer == nullptr) continue;
    if (used->units + need.units > kWindowUnits) continue;
    if (used->bytes + bytes > window_bytes_) continue;
    const uint64_t load = used->units + peer->page().Get(Counter::kQueueDepth);
    if (best == nullptr || load < best_load) {
      best = used;
      best_load = load;
    }
  }
  return best;
}

bool Windows::Take(absl::Span<const StageNeed> needs, Route* route) {
  route->clear();
  for (const StageNeed& need : needs) {
    const uint64_t bytes = uint64_t{BlockBytes(need.block_bytes)} * need.blocks;
    Used* const used = bytes == 0 ? nullptr : Choose(need, bytes);
    if (used == nullptr) {
      for (const WindowUse& use : *route) GiveBack(use);
      route->clear();
      return false;
    }
    used->units += need.units;
    used->bytes += bytes;
    // In its place, not by a copy (ipc/copy_pieces.h).
    WindowUse& use = route->emplace_back();
    use.worker = used->worker;
    use.stage = need.stage;
    use.units = need.units;
    use.bytes = bytes;
  }
  return true;
}

void Windows::GiveBack(const WindowUse& use) {
  Used* const used = Find(use.worker);
  if (used == nullptr) return;
  MR_CHECK(used->units >= use.units && used->bytes >= use.bytes,
           "more is given back to a window than was taken");
  used->units -= use.units;
  used->bytes -= use.bytes;
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
