#include "services/runtime/testing/lane_rig.h"

#include <string.h>
#include <sys/eventfd.h>

#include "common/check.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

constexpr size_t kLedgerSlots = 1024;

Fd MakeWake() { return Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

}  // namespace

void Recorder::OnMessage(Inbound& from, const Message& message) {
  if (on_message) return on_message(from, message);
  messages.push_back(message);
  auto bytes = from.peer->Payload(message);
  texts.emplace_back(bytes ? reinterpret_cast<const char*>(bytes->data()) : "",
                     bytes ? bytes->size() : 0);
  if (hold) {
    held.emplace_back(&from, message);
  } else {
    lane_->Return(from, message);
  }
}

void Recorder::OnPeerLost(const std::shared_ptr<PeerLane>& peer) {
  lost.push_back(peer->id.incarnation);
  messages_when_lost.push_back(messages.size());
}

void Recorder::ReturnHeld() {
  for (auto& [from, message] : held) lane_->Return(*from, message);
  held.clear();
}

TestLane::TestLane(LaneId id, Lane::Memory memory)
    : lane(id, std::move(memory),
           {[this](uint32_t producer, uint32_t consumer) {
              link_ups.emplace_back(producer, consumer);
            },
            [this](uint32_t incarnation, const std::string& reason) {
              faults.emplace_back(incarnation, reason);
            }}) {}

std::string ForBlock(std::string text) {
  text.resize(std::max(text.size(), kInlineBytes + 1), '.');
  return text;
}

BlockRef TestLane::Write(std::string_view text, uint64_t tag) {
  MaybeBlock block = lane.arena().Allocate(text.size(), tag);
  MR_CHECK(block.has_value(), "the test's arena is used up");
  memcpy(lane.arena().At(block->offset), text.data(), text.size());
  return *block;
}

bool TestLane::TakeWake() {
  eventfd_t count;
  return eventfd_read(lane.wake_fd(), &count) == 0;
}

void RawPeer::Publish(uint64_t n, const Message& message) {
  LinkSlot<Hardware>& slot = out()->slots[n % kSlots];
  Hardware::Write(&slot.body, message);
  // release: meets the acquire in ConsumerEnd::Take.
  slot.seq.store(static_cast<uint32_t>(n + 1), std::memory_order_release);
}

LaneRig::LaneRig() : roster_(Must(RosterWriter::Create(0))) {}

LaneId LaneRig::NextId(Stage stage, RosterState state) {
  const LaneId id = {next_incarnation_++, stage, 0, 0};
  entries_.push_back({id.incarnation, stage, 0, 0, state});
  roster_.Publish(entries_);
  return id;
}

TestLane& LaneRig::Add(Stage stage, ArenaShape shape) {
  const LaneId id = NextId(stage);
  if (shape.classes.empty()) shape = {{{256, 600}, {1024, 64}, {65536, 4}}};
  Lane::Memory memory = {Must(Region::Create(kPageType, id.incarnation, sizeof(Page))),
                         Must(Arena::Create(id.incarnation, std::move(shape))), MakeWake(),
                         Must(RosterReader::Open(roster_.fd()))};
  lanes_.push_back(std::make_unique<TestLane>(id, std::move(memory)));
  if (stage == Stage::kIngress) {
    lanes_.back()->ledger =
        std::make_unique<Ledger>(Must(Ledger::Create(id.incarnation, kLedgerSlots)));
  }
  return *lanes_.back();
}

RawPeer& LaneRig::AddRaw(Stage stage) {
  const LaneId id = NextId(stage);
  raws_.push_back(std::make_unique<RawPeer>(RawPeer{
      id, Must(Region::Create(kPageType, id.incarnation, sizeof(Page))),
      Must(Region::Create(kArenaType, id.incarnation, 65536)), MakeWake(), Region(), Region()}));
  return *raws_.back();
}

std::shared_ptr<PeerLane> LaneRig::MakeView(uint32_t lane, const LaneId& peer, const Region& page,
                                            const Region& arena, const Ledger* ledger,
                                            const Fd& wake) {
  std::shared_ptr<PeerLane>& view = views_[{lane, peer.incarnation}];
  if (view != nullptr) return view;
  view = std::make_shared<PeerLane>();
  view->id = peer;
  view->page_region =
      Must(Region::Open(page.fd().get(), kPageType, peer.incarnation, sizeof(Page)));
  view->arena = Must(ArenaView::Open(arena.fd().get(), peer.incarnation));
  if (ledger != nullptr) {
    view->ledger = std::make_unique<LedgerView>(
        Must(LedgerView::Open(ledger->region().fd().get(), peer.incarnation)));
  }
  view->waker = Waker(&view->page().parked, wake.Duplicate());
  return view;
}

std::shared_ptr<PeerLane> LaneRig::View(TestLane& lane, TestLane& peer) {
  const Lane::Memory& memory = peer.lane.memory();
  return MakeView(lane.incarnation(), peer.lane.id(), memory.page, memory.arena.region(),
                  peer.ledger.get(), memory.wake);
}

std::shared_ptr<PeerLane> LaneRig::View(TestLane& lane, RawPeer& peer) {
  return MakeView(lane.incarnation(), peer.id, peer.page, peer.arena, nullptr, peer.wake);
}

namespace {

template <typename End>
void Give(TestLane& to, std::shared_ptr<PeerLane> peer, End end) {
  auto shared = std::make_shared<End>(std::move(end));
  to.lane.Post([&to, peer = std::move(peer), shared] { to.lane.TakeUp(peer, std::move(*shared)); });
}

}  // namespace

void LaneRig::Link(TestLane& producer, TestLane& consumer) {
  const uint32_t from = producer.incarnation(), to = consumer.incarnation();
  LinkProducer out = Must(LinkProducer::Create(from, to));
  LinkConsumer in = Must(LinkConsumer::Create(from, to));
  MustOk(out.Attach(in.fd()));
  MustOk(in.Attach(out.fd()));
  Give(producer, View(producer, consumer), std::move(out));
  Give(consumer, View(consumer, producer), std::move(in));
}

void LaneRig::Link(RawPeer& producer, TestLane& consumer) {
  const uint32_t from = producer.id.incarnation, to = consumer.incarnation();
  producer.slots = Must(Region::Create(kSlotsType, from, SlotsRegionBytes(kSlots)));
  producer.out()->consumer = to;
  producer.out()->slot_count = kSlots;
  LinkConsumer in = Must(LinkConsumer::Create(from, to));
  MustOk(in.Attach(producer.slots.fd().get()));
  Give(consumer, View(consumer, producer), std::move(in));
}

void LaneRig::Link(TestLane& producer, RawPeer& consumer) {
  const uint32_t from = producer.incarnation(), to = consumer.id.incarnation;
  consumer.returns = Must(Region::Create(kReturnsType, to, ReturnsRegionBytes(kSlots)));
  consumer.back()->producer = from;
  consumer.back()->slot_count = kSlots;
  LinkProducer out = Must(LinkProducer::Create(from, to));
  MustOk(out.Attach(consumer.returns.fd().get()));
  Give(producer, View(producer, consumer), std::move(out));
}

void LaneRig::Leave(uint32_t incarnation) {
  std::erase_if(entries_, [&](const RosterEntry& e) { return e.incarnation == incarnation; });
  roster_.Publish(entries_);
}

void LaneRig::SetState(uint32_t incarnation, RosterState state) {
  for (RosterEntry& e : entries_) {
    if (e.incarnation == incarnation) e.state = state;
  }
  roster_.Publish(entries_);
}

void LaneRig::SetWait(uint32_t incarnation, WaitMode wait) {
  for (RosterEntry& e : entries_) {
    if (e.incarnation == incarnation) e.wait = wait;
  }
  roster_.Publish(entries_);
}

}  // namespace millrace
