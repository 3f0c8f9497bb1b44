#include "services/runtime/lane.h"

#include <string.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "ipc/copy_pieces.h"

namespace millrace {

std::optional<absl::Span<const std::byte>> PeerLane::Payload(const Message& message) const {
  if (message.kind != MessageKind::kInline) return arena.Get(message.block);
  return absl::Span<const std::byte>(message.payload, message.code);
}

Lane::Lane(LaneId id, Memory memory, LaneReports reports)
    : id_(id),
      memory_(std::move(memory)),
      reports_(std::move(reports)),
      waiter_(&page().parked, memory_.wake.Duplicate()),
      stats_(&page().stats) {
  MR_CHECK(waiter_.fd() >= 0, "no descriptor left for a lane");
  returned_.reserve(kSlots);
}

void Lane::Post(std::function<void()> action) {
  {
    std::lock_guard<std::mutex> lock(posted_mutex_);
    posted_.push_back(std::move(action));
    // release: meets the acquire in RunPosted and HasWork.
    has_posted_.store(true, std::memory_order_release);
  }
  eventfd_write(memory_.wake.get(), 1);
}

size_t Lane::RunPosted() {
  // acquire: meets the release in Post.
  if (!has_posted_.load(std::memory_order_acquire)) return 0;
  std::vector<std::function<void()>> actions;
  {
    std::lock_guard<std::mutex> lock(posted_mutex_);
    actions.swap(posted_);
    // relaxed: under the mutex, which orders it with Post.
    has_posted_.store(false, std::memory_order_relaxed);
  }
  for (auto& action : actions) action();
  return actions.size();
}

bool Lane::IsLive(const PeerLane& peer) {
  return !peer.lost && roster_.Find(peer.id.incarnation) != nullptr;
}

size_t Lane::CheckRoster() {
  if (memory_.roster.generation() == roster_.generation) return 0;
  absl::StatusOr<RosterSnapshot> snapshot = memory_.roster.Read();
  MR_CHECK(snapshot.ok(), "the supervisor's roster cannot be read");
  roster_ = *snapshot;
  const RosterEntry* own = roster_.Find(id_.incarnation);
  wait_mode_ = own == nullptr ? WaitMode::kYield : own->wait;
  // relaxed: a statistic, read alone.
  page().roster_generation.store(roster_.generation, std::memory_order_relaxed);
  std::vector<std::shared_ptr<PeerLane>> lost;
  for (const auto& peer : peers_) {
    if (!IsLive(*peer)) lost.push_back(peer);
  }
  for (const auto& peer : lost) End(peer);
  return 1;
}

void Lane::AddPeer(const std::shared_ptr<PeerLane>& peer) {
  for (const auto& known : peers_) {
    if (known == peer) return;
  }
  peers_.push_back(peer);
  handler_->OnPeer(peer);
}

void Lane::TakeUp(std::shared_ptr<PeerLane> peer, LinkConsumer link) {
  CheckRoster();
  if (!IsLive(*peer)) return;
  AddPeer(peer);
  if (peer->lost) return;  // the handler refused it
  reports_.link_up(peer->id.incarnation, id_.incarnation);
  inbound_.push_back(std::make_unique<Inbound>(Inbound{std::move(peer), std::move(link)}));
}

void Lane::TakeUp(std::shared_ptr<PeerLane> peer, LinkProducer link) {
  CheckRoster();
  if (!IsLive(*peer)) return;
  AddPeer(peer);
  if (peer->lost) return;  // the handler refused it
  reports_.link_up(id_.incarnation, peer->id.incarnation);
  outbound_.push_back(std::make_unique<Outbound>(Outbound{std::move(peer), std::move(link)}));
}

size_t Lane::Poll() {
  // relaxed: the supervisor compares it with what it saw before, no more.
  page().beat.store(page().beat.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  size_t done = RunPosted();
  done += CheckRoster();
  // By index: a handler may end a peer, which removes links behind the current place only by
  // marking them; they are swept below.
  for (size_t i = 0; i < inbound_.size(); ++i) done += Drain(*inbound_[i], kDrain);
  // Behind the messages: what they were sent after is then seen as returned, and a window that was
  // used again finds its block free.
  for (size_t i = 0; i < outbound_.size(); ++i) done += CollectReturns(*outbound_[i]);
  std::erase_if(inbound_, [](const auto& in) { return in->ended && in->held == 0; });
  std::erase_if(outbound_, [](const auto& out) { return out->peer->lost; });
  page().Set(Counter::kBlocksTaken, arena().taken());
  return done;
}

size_t Lane::CollectReturns(Outbound& out) {
  if (out.peer->lost) return 0;
  returned_.clear();
  const LinkResult result = out.link.CollectReturns(&returned_);
  for (uint32_t offset : returned_) Release({offset, 1});
  if (result == LinkResult::kFault) Fault(*out.peer, FaultSentence(out.link.fault()));
  return returned_.size();
}

size_t Lane::Drain(Inbound& in, int limit) {
  if (in.ended) return 0;
  size_t count = 0;
  MessageRoom<kAhead> ahead;
  LinkResult result = LinkResult::kOk;
  // The handler may find a fault of this peer, which ends the link.
  while (result == LinkResult::kOk && limit > 0 && !in.ended) {
    const size_t most = std::min<size_t>(limit, kAhead);
    size_t taken = 0;
    while (taken < most && (result = in.link.Take(&ahead[taken])) == LinkResult::kOk) {
      if (ahead[taken].HasBlock()) in.peer->arena.Prefetch(ahead[taken].block);
      handler_->OnComing(in, ahead[taken++]);
    }
    limit -= static_cast<int>(taken);
    for (size_t i = 0; i < taken && !in.ended; ++i) {
      if (in.held >= in.link.slots()) {
        Fault(*in.peer, "more messages than all windows together");
        break;
      }
      ++count;
      ++in.held;
      handler_->OnMessage(in, ahead[i]);
    }
  }
  if (result == LinkResult::kFault && !in.ended) Fault(*in.peer, FaultSentence(in.link.fault()));
  if (count > 0) in.link.PublishCredits();
  return count;
}

void Lane::End(const std::shared_ptr<PeerLane>& peer) {
  if (peer->lost) return;
  // What it published before it died is taken; nothing can come behind it.
  for (auto& in : inbound_) {
    if (in->peer != peer || in->ended) continue;
    Drain(*in, static_cast<int>(in->link.slots()));
    in->ended = true;
  }
  if (peer->lost) return;  // its last words were a fault, which ended it
  peer->lost = true;
  for (auto& out : outbound_) {
    if (out->peer != peer) continue;
    CollectReturns(*out);
    for (uint32_t offset : out->link.TakeBackAll()) Release({offset, 1});
  }
  std::erase(peers_, peer);
  handler_->OnPeerLost(peer);
}

void Lane::Fault(PeerLane& peer, const std::string& reason) {
  page().Add(Counter::kFaults);
  if (peer.lost) return;
  reports_.fault(peer.id.incarnation, reason);
  // Held alive by this copy: End drops it from peers_.
  std::shared_ptr<PeerLane> kept;
  for (const auto& p : peers_) {
    if (p.get() == &peer) kept = p;
  }
  MR_CHECK(kept != nullptr, "a fault of a peer that is not known");
  for (auto& in : inbound_) {
    if (in->peer == kept) in->ended = true;  // nothing more is read from it
  }
  End(kept);
}

PeerLane* Lane::FindPeer(uint32_t incarnation) const {
  for (const auto& peer : peers_) {
    if (peer->id.incarnation == incarnation) return peer.get();
  }
  return nullptr;
}

bool Lane::CanSend(uint32_t incarnation) const {
  for (const auto& out : outbound_) {
    if (out->peer->id.incarnation == incarnation) return !out->peer->lost && out->link.CanSubmit();
  }
  return false;
}

const Message& Lane::Lend(const Message& message, Message* whole) {
  if (message.kind == MessageKind::kData && message.block.length - 1 < kInlineBytes) {
    whole->kind = MessageKind::kInline;
    whole->flags = message.flags;
    whole->code = static_cast<uint8_t>(message.block.length);
    whole->route = message.route;
    whole->id = message.id;
    whole->deadline_ns = message.deadline_ns;
    whole->origin = message.origin;
    whole->published_ticks = message.published_ticks;
    // The last word may be whole where the pack is not: the smallest block has room.
    const size_t words = (message.block.length + sizeof(uint32_t) - 1) / sizeof(uint32_t);
    CopyPieces(whole->payload, arena().At(message.block.offset), words);
    return *whole;
  }
  if (message.HasBlock()) arena().AddReference(message.block.offset);
  return message;
}

bool Lane::Send(uint32_t incarnation, const Message& message) {
  for (auto& out : outbound_) {
    if (out->peer->id.incarnation != incarnation || out->peer->lost) continue;
    // Credits may lie there uncollected since the start of this cycle. Without them the peer has
    // answered what it says it never took, since past admission a link is not full.
    if (!out->link.CanSubmit()) CollectReturns(*out);
    if (!out->peer->lost && !out->link.CanSubmit()) {
      Fault(*out->peer, "does not take what was sent within its window");
    }
    if (out->peer->lost) return false;
    Message whole;
    out->link.Submit(Lend(message, &whole));
    out->peer->wake_pending = true;
    return true;
  }
  return false;
}

void Lane::Return(Inbound& from, const Message& message) {
  MR_CHECK(from.held > 0, "a message was returned twice");
  --from.held;
  // To a dead producer nothing is returned: it took back everything by dying.
  if (!from.ended && message.HasBlock()) from.link.Return(message.block.offset);
}

void Lane::Release(const BlockRef& block) {
  if (block.length == 0) return;
  uint64_t tag;
  if (arena().Release(block.offset, &tag)) handler_->OnBlockFree(tag);
}

void Lane::Flush() {
  for (auto& peer : peers_) {
    if (!peer->wake_pending) continue;
    peer->wake_pending = false;
    peer->waker.Wake();
  }
}

void Lane::WakeAll() {
  for (auto& peer : peers_) peer->waker.Wake();
}

bool Lane::InACrowd() {
  if (wait_mode_ != WaitMode::kYield) return false;
  uint64_t in_flight = memory_.page.as<const Page>()->Get(Counter::kInFlight);
  for (const auto& peer : peers_) in_flight += peer->page().Get(Counter::kInFlight);
  if (in_flight >= kCrowd) {
    crowd_until_ns_ = MonotonicNanos() + kCrowdNs;
  } else if (crowd_until_ns_ != 0 && MonotonicNanos() >= crowd_until_ns_) {
    crowd_until_ns_ = 0;
  }
  return crowd_until_ns_ != 0;
}

void Lane::Arm() {
  page().Add(Counter::kParks);
  waiter_.Arm();
}

bool Lane::HasWork() const {
  // acquire: meets the release in Post.
  if (has_posted_.load(std::memory_order_acquire)) return true;
  if (memory_.roster.generation() != roster_.generation) return true;
  for (const auto& in : inbound_) {
    if (!in->ended && in->link.HasNext()) return true;
  }
  return false;
}

}  // namespace millrace
