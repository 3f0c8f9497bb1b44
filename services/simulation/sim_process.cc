#include "services/simulation/sim_process.h"

#include <algorithm>

#include "common/check.h"
#include "ipc/testing/must.h"
#include "ipc/window.h"
#include "services/aggregation/aggregation_stage.h"
#include "services/execution/execution_stage.h"
#include "services/features/features_stage.h"
#include "services/simulation/doorbells.h"
#include "services/simulation/virtual_time.h"
#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

LaneId ToLaneId(const LaneName& name) {
  return {name.incarnation(), static_cast<Stage>(name.stage()), static_cast<uint8_t>(name.index()),
          static_cast<uint8_t>(name.lane())};
}

}  // namespace

SimProcess::SimProcess(World* world, uint32_t key, Stage stage, uint32_t index)
    : world_(world), key_(key), stage_(stage), index_(index) {
  // From fork to the first message: a program is loaded.
  last_in_ns_ = VirtualTime::now_ns() + world->random().Between(300'000, 3'000'000);
}

void SimProcess::Deliver(const ToProcess& message, FdList fds) {
  inbox_.emplace_back(message, std::move(fds));
  const int64_t comes_ns = VirtualTime::now_ns() + world_->random().Between(5'000, 150'000);
  last_in_ns_ = std::max(last_in_ns_ + 1'000, comes_ns);
  world_->scheduler().At(last_in_ns_, [world = world_, key = key_] {
    if (SimProcess* process = world->Find(key)) process->HandleNext();
  });
}

void SimProcess::Tell(FromProcess message, std::vector<Fd> fds) {
  const int64_t comes_ns = VirtualTime::now_ns() + world_->random().Between(5'000, 100'000);
  last_out_ns_ = std::max(last_out_ns_ + 1, comes_ns);
  world_->supervisor().Hear(key_, last_out_ns_, std::move(message), std::move(fds));
}

void SimProcess::HandleNext() {
  if (dying_) return;
  if (paused_until_ns_ > VirtualTime::now_ns()) {
    world_->scheduler().At(paused_until_ns_ + 1'000, [world = world_, key = key_] {
      if (SimProcess* process = world->Find(key)) process->HandleNext();
    });
    return;
  }
  if (inbox_.empty()) return;
  const auto [message, fds] = std::move(inbox_.front());
  inbox_.pop_front();
  Handle(message, fds);
}

void SimProcess::Handle(const ToProcess& message, const FdList& fds) {
  world_->history().Note("told", key_, static_cast<uint64_t>(message.message_case()));
  switch (message.message_case()) {
    case ToProcess::kConfigure:
      return OnConfigure(message.configure(), fds);
    case ToProcess::kPeer:
      return OnPeer(message.peer(), fds);
    case ToProcess::kPeerHalf:
      return OnPeerHalf(message.peer_half(), fds);
    case ToProcess::kPeerGone:
      return OnPeerGone(message.peer_gone().incarnation());
    case ToProcess::kCatalog:
      return OnCatalog(message.catalog(), fds);
    case ToProcess::kCatalogLive:
      if (stage_ != Stage::kIngress) return;  // old plans stay: a world ends soon
      live_ = true;
      for (const auto& lane : lanes_) lane->ingress()->GoLive(message.catalog_live().generation());
      return;
    case ToProcess::kDrain:
      return OnDrain();
    case ToProcess::kAdopted:
      return OnAdopted(fds);
    case ToProcess::kStop:
      return world_->EndLater(key_, 0);
    default:
      return;  // what a world has no use for
  }
}

void SimProcess::MakeStage(bool without_device, const Config& config) {
  if (stage_ == Stage::kFeatures) work_ = std::make_unique<FeaturesStage>();
  if (stage_ == Stage::kExecution) work_ = std::make_unique<ExecutionStage>(world_->backend());
  if (stage_ == Stage::kAggregation) work_ = std::make_unique<AggregationStage>();
  if (work_ == nullptr) return;
  MustOk(work_->Start({lanes_[0]->MakeWorker(), config, without_device,
                       [this](FromProcess message) { Tell(std::move(message)); }}));
}

void SimProcess::OnConfigure(const Configure& configure, const FdList& fds) {
  for (const LaneName& name : configure.lanes()) {
    lanes_.push_back(std::make_unique<SimLane>(world_, this, ToLaneId(name), fds[0]->get()));
    world_->AddLane(lanes_.back().get());
  }
  MakeStage(configure.without_device(), world_->config());
  FromProcess message;
  std::vector<Fd> sent;
  for (const auto& lane : lanes_) {
    const Lane::Memory& memory = lane->lane().memory();
    sent.push_back(memory.page.fd().Duplicate());
    sent.push_back(memory.arena.region().fd().Duplicate());
    sent.push_back(memory.wake.Duplicate());
    Doorbells::Register(sent.back().get(), lane->incarnation());
    if (lane->ledger() != nullptr) sent.push_back(lane->ledger()->region().fd().Duplicate());
    message.mutable_announce()->add_has_ledger(lane->ledger() != nullptr);
  }
  *message.mutable_announce()->mutable_lanes() = configure.lanes();
  Tell(std::move(message), std::move(sent));
  for (const auto& lane : lanes_) lane->Begin(work_.get());
}

void SimProcess::OnPeer(const Peer& announced, const FdList& fds) {
  const LaneId id = ToLaneId(announced.name());
  for (const auto& own : lanes_) {
    auto peer = std::make_shared<PeerLane>();
    peer->id = id;
    peer->page_region = Must(Region::Open(fds[0]->get(), kPageType, id.incarnation, sizeof(Page)));
    peer->arena = Must(ArenaView::Open(fds[1]->get(), id.incarnation));
    if (announced.has_ledger()) {
      peer->ledger =
          std::make_unique<LedgerView>(Must(LedgerView::Open(fds[3]->get(), id.incarnation)));
    }
    Fd wake = fds[2]->Duplicate();
    Doorbells::Register(wake.get(), id.incarnation);
    peer->waker = Waker(&peer->page().parked, std::move(wake));
    if (work_ != nullptr && IsEdge(id.stage, stage_)) work_->OnPeerMapped(peer.get());
    peers_.emplace(id.incarnation, peer);
    const uint32_t mine = own->incarnation(), theirs = id.incarnation;
    if (IsEdge(stage_, id.stage)) {
      MakeHalf(own.get(), peer, {mine, theirs},
               Must(LinkProducer::Create(mine, theirs, LinkSlots(stage_, id.stage))));
    }
    if (IsEdge(id.stage, stage_)) {
      MakeHalf(own.get(), peer, {theirs, mine},
               Must(LinkConsumer::Create(theirs, mine, LinkSlots(id.stage, stage_))));
    }
  }
}

template <typename End>
void SimProcess::MakeHalf(SimLane* lane, const std::shared_ptr<PeerLane>& peer, LinkName name,
                          End end) {
  std::vector<Fd> sent;
  sent.emplace_back(fcntl(end.fd(), F_DUPFD_CLOEXEC, 0));
  FromProcess message;
  message.mutable_half()->set_producer(name.first);
  message.mutable_half()->set_consumer(name.second);
  Tell(std::move(message), std::move(sent));
  halves_.insert_or_assign(name, HalfLink{lane, peer, std::move(end)});
}

void SimProcess::OnPeerHalf(const PeerHalf& half, const FdList& fds) {
  auto found = halves_.find({half.producer(), half.consumer()});
  if (found == halves_.end()) return;  // the peer ended meanwhile
  auto mine = std::make_shared<HalfLink>(std::move(found->second));
  halves_.erase(found);
  MustOk(std::visit([&](auto& end) { return end.Attach(fds[0]->get()); }, mine->end));
  Lane* lane = &mine->lane->lane();
  lane->Post([lane, mine] {
    std::visit([&](auto& end) { lane->TakeUp(mine->peer, std::move(end)); }, mine->end);
  });
}

void SimProcess::OnPeerGone(uint32_t gone) {
  std::erase_if(halves_, [&](const auto& entry) {
    return entry.first.first == gone || entry.first.second == gone;
  });
  peers_.erase(gone);
}

void SimProcess::OnCatalog(const CatalogUpdate& update, const FdList& fds) {
  const uint64_t generation = update.generation();
  const std::shared_ptr<const Catalog>& catalog = world_->catalogs().Get(generation);
  FromProcess ready;
  ready.mutable_catalog_ready()->set_generation(generation);
  if (generation <= catalog_seen_) {
    // Sent again by a supervisor that took over: what is under way is answered when it is done.
    if (catalog_taken_ >= generation) Tell(std::move(ready));
    return;
  }
  catalog_seen_ = generation;
  if (stage_ == Stage::kIngress) {
    for (const auto& lane : lanes_) lane->ingress()->SetCatalog(catalog);
    catalog_taken_ = generation;
    return Tell(std::move(ready));
  }
  if (world_->TakeRefusal()) {
    ready.mutable_catalog_ready()->set_error("it does not fit");
    return Tell(std::move(ready));
  }
  CatalogWithPlans with_plans;
  with_plans.catalog = catalog;
  for (int i = 0; i < update.plan_routes_size(); ++i) {
    with_plans.plans.emplace(update.plan_routes(i), fds[1 + i]->Duplicate());
  }
  std::function<void()> use = Must(work_->Prepare(std::move(with_plans)));
  // Plans are warmed; meanwhile the next message waits.
  const int64_t most_ns = (world_->random().OneIn(6) ? 200 : 2) * kNanosPerMilli;
  const int64_t warm_ns = VirtualTime::now_ns() + world_->random().Between(50'000, most_ns);
  last_in_ns_ = std::max(last_in_ns_ + 1'000, warm_ns);  // one after the other
  auto take_up = [this, generation, use = std::move(use), ready = std::move(ready)] {
    use();
    catalog_taken_ = generation;
    // relaxed: a statistic, read alone.
    lanes_[0]->lane().page().catalog_generation.store(generation, std::memory_order_relaxed);
    Tell(ready);
  };
  world_->scheduler().At(last_in_ns_, [world = world_, key = key_, take_up = std::move(take_up)] {
    SimProcess* process = world->Find(key);
    if (process != nullptr && !process->dying()) process->lanes()[0]->lane().Post(take_up);
  });
}

void SimProcess::OnAdopted(const FdList& fds) {
  for (const auto& own : lanes_) {
    auto reader = std::make_shared<RosterReader>(Must(RosterReader::Open(fds[0]->get())));
    own->lane().Post([lane = &own->lane(), reader] { lane->ReadRoster(std::move(*reader)); });
  }
}

void SimProcess::OnDrain() {
  // Said again by a supervisor that took over.
  if (drained_) {
    FromProcess again;
    again.mutable_drained();
    return Tell(std::move(again));
  }
  if (std::exchange(leaving_, true)) return;
  auto left = std::make_shared<size_t>(lanes_.size());
  for (const auto& lane : lanes_) {
    lane->Drain([this, left] {
      if (--*left > 0) return;
      drained_ = true;
      FromProcess drained;
      drained.mutable_drained();
      Tell(std::move(drained));
    });
  }
}

}  // namespace millrace::sim
