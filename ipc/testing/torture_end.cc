#include "ipc/testing/torture_end.h"

#include <poll.h>
#include <string.h>

#include "ipc/testing/must.h"

namespace millrace {
namespace {

constexpr size_t kMostBytes = 4096;
constexpr int kTurnsPerControl = 64;
constexpr uint64_t kMostPerTurn = 16;

ArenaShape Shape() { return {{{256, 40}, {1024, 24}, {4096, 12}}}; }

void Fill(absl::Span<std::byte> bytes, uint64_t seed) {
  std::mt19937_64::result_type word = seed;
  for (size_t i = 0; i < bytes.size(); i += sizeof word) {
    word = word * 6364136223846793005ull + 1442695040888963407ull;
    memcpy(&bytes[i], &word, std::min(sizeof word, bytes.size() - i));
  }
}

uint64_t DigestOf(absl::Span<const std::byte> bytes) {
  uint64_t digest = bytes.size();
  for (size_t i = 0; i < bytes.size(); i += sizeof digest) {
    uint64_t word = 0;
    memcpy(&word, &bytes[i], std::min(sizeof word, bytes.size() - i));
    digest = (digest ^ word) * 0x9e3779b97f4a7c15ull;
    digest ^= digest >> 32;
  }
  return digest;
}

}  // namespace

TortureEnd::TortureEnd(const TortureSetup& setup, ControlChannel channel, Journal* journal)
    : setup_(setup),
      arena_(Must(Arena::Create(setup.incarnation, Shape()))),
      journal_(journal),
      channel_(std::move(channel)),
      page_(Must(Region::Create(kPageType, setup.incarnation, sizeof(Page)))),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      waiter_(&page_.as<Page>()->parked, wake_.Duplicate()),
      random_(setup.seed),
      spins_(random_() % 3 == 0 ? 0 : random_() % 300) {}

void TortureEnd::Run() {
  FromProcess announce;
  announce.mutable_announce();
  MustOk(channel_.Send(announce, {page_.fd().get(), arena_.region().fd().get(), wake_.get()}));
  uint64_t idle = 0;
  for (int turn = 0;; ++turn) {
    if (turn % kTurnsPerControl == 0) Control();
    if (Step() > 0) {
      idle = 0;
    } else if (finishing_ && Quiet() && (peer_ == nullptr || peer_->out.lent() == 0)) {
      break;
    } else if (++idle > spins_) {
      Park();
      Control();
    } else {
      __builtin_ia32_pause();
    }
  }
  Log(What::kQuiet, 0, {.value = arena_.taken()});
}

size_t TortureEnd::Step() {
  size_t done = 0;
  if (peer_ != nullptr && peer_->halves == 2) {
    done += CollectReturns() + Receive();
    if (setup_.planted == Planted::kTakeBackEarly && Random(64) == 0) TakeBackAll();
  }
  done += Work();
  Flush();
  return done;
}

size_t TortureEnd::CollectReturns() {
  std::vector<uint32_t> offsets;
  const LinkResult result = peer_->out.CollectReturns(&offsets);
  for (uint32_t offset : offsets) {
    Log(What::kBack, peer_->incarnation, {.offset = offset});
    OnBlockBack(offset);
  }
  CheckFault(result, peer_->out.fault());
  return offsets.size();
}

size_t TortureEnd::Receive() {
  Held held = {peer_, {}};
  LinkConsumer& in = peer_->in;
  const uint64_t limit = 1 + Random(kMostPerTurn);
  size_t count = 0;
  while (count < limit) {
    const LinkResult result = in.Take(&held.message);
    CheckFault(result, in.fault());
    if (result == LinkResult::kEmpty) break;
    ++count;
    ++peer_->taken;
    Log(What::kTook, held);
    OnMessage(held);
  }
  in.PublishCredits();
  return count;
}

void TortureEnd::CheckFault(LinkResult result, LinkFault fault) {
  if (result != LinkResult::kFault) return;
  Log(What::kFault, peer_->incarnation, {.value = static_cast<uint64_t>(fault)});
  FromProcess report;
  report.mutable_fault()->set_incarnation(peer_->incarnation);
  report.mutable_fault()->set_reason(FaultSentence(fault));
  channel_.Send(report).IgnoreError();
  _exit(1);
}

std::optional<TortureEnd::Item> TortureEnd::MakeItem(uint64_t entry, uint8_t attempt) {
  Item item = {entry, attempt, random_(), 0, {}};
  const bool is_inline = Random(2) == 0;
  const size_t most = is_inline ? kInlineBytes : size_t{1} << (1 + Random(12));
  item.length = static_cast<uint16_t>(1 + Random(std::min(most, kMostBytes)));
  if (is_inline) return item;
  const MaybeBlock block = arena_.Allocate(item.length);
  if (!block.has_value()) return std::nullopt;
  item.block = *block;
  if (setup_.planted != Planted::kPublishFirst) {
    Fill({arena_.At(block->offset), item.length}, item.seed);
  }
  return item;
}

bool TortureEnd::CanOffer() {
  return peer_ != nullptr && peer_->halves == 2 && peer_->out.CanSubmit();
}

void TortureEnd::Offer(const Item& item) {
  std::byte bytes[kMostBytes];
  Fill({bytes, item.length}, item.seed);
  Message message;
  message.id = PartId{0, static_cast<uint32_t>(item.entry), item.attempt, 0}.Pack();
  message.origin = static_cast<uint32_t>(item.entry >> 32);
  if (item.block.length == 0) {
    message.kind = MessageKind::kInline;
    message.code = static_cast<uint8_t>(item.length);
    memcpy(message.payload, bytes, item.length);
  } else {
    message.block = item.block;
  }
  const Event event = {.entry = item.entry,
                       .digest = DigestOf({bytes, item.length}),
                       .offset = item.block.offset,
                       .length = item.length,
                       .attempt = item.attempt};
  Log(What::kOffer, peer_->incarnation, event);
  peer_->out.Submit(message);
  if (setup_.planted == Planted::kPublishFirst && item.block.length > 0) {
    memcpy(arena_.At(item.block.offset), bytes, item.length);
  }
  Log(What::kOffered, peer_->incarnation, event);
  peer_->wake_pending = true;
}

void TortureEnd::Flush() {
  if (peer_ == nullptr || !peer_->wake_pending) return;
  peer_->wake_pending = false;
  if (setup_.planted != Planted::kWakeSeldom || Random(4) != 0) peer_->waker.Wake();
  Log(What::kWoke, peer_->incarnation);
}

void TortureEnd::Finish(const Held& held) {
  Log(What::kFinished, held);
  if (held.from->ended || !held.message.HasBlock()) return;
  held.from->in.Return(held.message.block.offset);
  held.from->wake_pending = true;  // it may wait for a block
}

void TortureEnd::Park() {
  waiter_.Arm();
  // The second look: a whole turn, since an end waits for messages, blocks and room.
  if (Step() > 0) return waiter_.Unpark();
  pollfd waits[2] = {{waiter_.fd(), POLLIN, 0}, {channel_.fd(), POLLIN, 0}};
  poll(waits, 2, Waiter::kMaxSleepMs);
  Log(What::kSlept, 0);
  const int64_t now_ns = MonotonicNanos();
  const bool linked = peer_ != nullptr && peer_->halves == 2;
  if (waits[0].revents == 0 && linked && peer_->in.HasNext() && !waiter_.Sleep(0)) {
    Log(What::kRescue, peer_->incarnation, {.time_ns = now_ns, .value = peer_->taken});
  }
  waiter_.Unpark();
}

bool TortureEnd::Control() {
  ToProcess message;
  std::vector<Fd> fds;
  bool any = false;
  while (Must(channel_.Receive(&message, &fds))) {
    any = true;
    if (message.has_peer()) Meet(message.peer().name().incarnation(), fds);
    if (message.has_peer_half()) Attach(message.peer_half(), fds.at(0));
    if (message.has_peer_gone()) End(message.peer_gone().incarnation());
    if (message.has_drain()) finishing_ = true;
  }
  return any;
}

void TortureEnd::Meet(uint32_t them, const std::vector<Fd>& fds) {
  const uint32_t us = setup_.incarnation;
  peer_ = std::make_shared<Peer>(Peer{
      .incarnation = them,
      .page = Must(Region::Open(fds.at(0).get(), kPageType, them, sizeof(Page))),
      .arena = Must(ArenaView::Open(fds.at(1).get(), them)),
      .waker = {},
      .out = Must(LinkProducer::Create(us, them, setup_.slots)),
      .in = Must(LinkConsumer::Create(them, us, setup_.slots)),
  });
  peer_->waker = Waker(&peer_->page.as<const Page>()->parked, fds.at(2).Duplicate());
  for (const bool as_producer : {true, false}) {
    FromProcess message;
    message.mutable_half()->set_producer(as_producer ? us : them);
    message.mutable_half()->set_consumer(as_producer ? them : us);
    MustOk(channel_.Send(message, {as_producer ? peer_->out.fd() : peer_->in.fd()}));
  }
}

void TortureEnd::Attach(const PeerHalf& half, const Fd& fd) {
  const uint32_t them = half.producer() == setup_.incarnation ? half.consumer() : half.producer();
  if (peer_ == nullptr || peer_->incarnation != them) return;  // it died meanwhile
  const bool as_producer = half.producer() == setup_.incarnation;
  MustOk(as_producer ? peer_->out.Attach(fd.get()) : peer_->in.Attach(fd.get()));
  if (++peer_->halves < 2) return;
  FromProcess message;
  message.mutable_link_up()->set_producer(setup_.incarnation);
  message.mutable_link_up()->set_consumer(them);
  MustOk(channel_.Send(message));
}

void TortureEnd::End(uint32_t incarnation) {
  if (peer_ == nullptr || peer_->incarnation != incarnation) return;
  const std::shared_ptr<Peer> peer = peer_;
  Log(What::kDeath, incarnation);
  if (peer->halves == 2) {
    if (setup_.planted != Planted::kDrainNothing) {
      while (Receive() > 0) continue;
    }
    CollectReturns();
  }
  peer->ended = true;
  if (setup_.planted != Planted::kForgetBlocks) TakeBackAll();
  peer_.reset();
  OnEnd(peer);
  // A link that was never taken up had nothing to end.
  if (peer->halves == 2) Log(What::kEnded, incarnation, {.value = arena_.taken()});
}

void TortureEnd::TakeBackAll() {
  for (uint32_t offset : peer_->out.TakeBackAll()) {
    Log(What::kTakenBack, peer_->incarnation, {.offset = offset});
    OnBlockBack(offset);
  }
}

void TortureEnd::Log(What what, uint32_t peer, Event event) {
  event.what = what;
  event.peer = peer;
  journal_->Write(event);
}

void TortureEnd::Log(What what, const Held& held) {
  const Message& message = held.message;
  absl::Span<const std::byte> bytes(message.payload, message.code);
  if (message.HasBlock()) bytes = held.from->arena.Get(message.block).value_or(bytes.first(0));
  Log(what, held.from->incarnation,
      {.entry = EntryOf(message),
       .digest = DigestOf(bytes),
       .offset = message.HasBlock() ? message.block.offset : 0,
       .length = static_cast<uint16_t>(bytes.size()),
       .attempt = PartId::Unpack(message.id).attempt});
}

}  // namespace millrace
