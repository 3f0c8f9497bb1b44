// Control: peers, and the links to them.
#include <string>
#include <utility>

#include "common/log.h"
#include "ipc/window.h"
#include "services/runtime/control.h"

namespace millrace {

void Control::Report(uint32_t incarnation, const absl::Status& status) {
  FromProcess message;
  message.mutable_fault()->set_incarnation(incarnation);
  message.mutable_fault()->set_reason(std::string(status.message()));
  outbox_.Send(std::move(message));
}

std::optional<int> Control::OnPeer(const ::millrace::Peer& announced, std::vector<Fd> fds) {
  if (fds.size() != (announced.has_ledger() ? 4u : 3u)) return kExitProtocol;
  const LaneId id = ToLaneId(announced.name());
  for (OwnLane& own : lanes_) {
    auto peer = std::make_shared<PeerLane>();
    peer->id = id;
    absl::StatusOr<Region> page =
        Region::Open(fds[0].get(), kPageType, id.incarnation, sizeof(Page));
    absl::StatusOr<ArenaView> arena =
        ArenaView::Open(fds[1].get(), id.incarnation, Entering::kLater);
    absl::Status opened = page.ok() ? arena.status() : page.status();
    if (opened.ok() && announced.has_ledger()) {
      absl::StatusOr<LedgerView> ledger = LedgerView::Open(fds[3].get(), id.incarnation);
      if (ledger.ok()) peer->ledger = std::make_unique<LedgerView>(std::move(*ledger));
      opened = ledger.status();
    }
    if (opened.ok()) {
      peer->page_region = std::move(*page);
      peer->arena = std::move(*arena);
      peer->waker = Waker(&peer->page().parked, fds[2].Duplicate());
      if (IsEdge(id.stage, stage_)) process_->OnPeerMapped(peer.get());
      peers_.emplace(id.incarnation, peer);
      const uint32_t mine = own.lane->id().incarnation, theirs = id.incarnation;
      if (IsEdge(stage_, id.stage)) {
        opened.Update(MakeHalf(own.lane.get(), peer, {mine, theirs},
                               LinkProducer::Create(mine, theirs, LinkSlots(stage_, id.stage))));
      }
      if (IsEdge(id.stage, stage_)) {
        opened.Update(MakeHalf(own.lane.get(), peer, {theirs, mine},
                               LinkConsumer::Create(theirs, mine, LinkSlots(id.stage, stage_))));
      }
    }
    if (!opened.ok()) Report(id.incarnation, opened);
  }
  return std::nullopt;
}

template <typename End>
absl::Status Control::MakeHalf(Lane* lane, const std::shared_ptr<PeerLane>& peer, LinkName name,
                               absl::StatusOr<End> end) {
  if (!end.ok()) return end.status();
  const int fd = end->fd();
  HalfLink half = {lane, peer, std::move(*end)};
  FromProcess message;
  message.mutable_half()->set_producer(name.first);
  message.mutable_half()->set_consumer(name.second);
  if (!SendNow(message, {fd})) return absl::UnavailableError("the supervisor is gone");
  halves_.insert_or_assign(name, std::move(half));
  return absl::OkStatus();
}

void Control::OnPeerGone(uint32_t gone) {
  std::erase_if(halves_, [&](const auto& entry) {
    return entry.first.first == gone || entry.first.second == gone;
  });
  peers_.erase(gone);
  faults_.erase(gone);
}

void Control::OnPeerHalf(const PeerHalf& half, std::vector<Fd> fds) {
  auto found = halves_.find({half.producer(), half.consumer()});
  if (found == halves_.end() || fds.size() != 1) return;  // the peer ended meanwhile
  HalfLink mine = std::move(found->second);
  halves_.erase(found);
  const absl::Status attached =
      std::visit([&](auto& end) { return end.Attach(fds[0].get()); }, mine.end);
  if (!attached.ok()) return Report(mine.peer->id.incarnation, attached);
  Lane* lane = mine.lane;
  // std::function wants a copyable closure; the link end moves in through a shared pointer.
  auto shared = std::make_shared<HalfLink>(std::move(mine));
  lane->Post([lane, shared] {
    std::visit([&](auto& end) { lane->TakeUp(shared->peer, std::move(end)); }, shared->end);
  });
}

}  // namespace millrace
