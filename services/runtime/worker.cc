#include "services/runtime/worker.h"

#include <string.h>

#include <algorithm>

#include "common/check.h"
#include "common/clock.h"
#include "ipc/tensor_pack.h"
#include "services/runtime/worker_trace.h"

namespace millrace {
namespace {

constexpr size_t kMaxErrorText = 1024;

// Whether the ledger names the sender as the one who hands this part on: a worker that was taken
// over cannot slip a result into another's request.
bool IsOnRoute(const LaneId& sender, const WorkItem& item) {
  switch (sender.stage) {
    case Stage::kIngress:
      return sender.incarnation == item.message.origin;
    case Stage::kFeatures:
      return sender.incarnation == item.entry.features;
    case Stage::kExecution:
      return item.id.member < kMaxMembers &&
             sender.incarnation == item.entry.execution[item.id.member];
    default:
      return false;
  }
}

}  // namespace

Worker::Worker(Lane* lane) : lane_(lane) { lane->set_handler(this); }

size_t Worker::Poll() {
  size_t done = lane_->Poll();
  done += AnswerEpochs();
  page().Set(Counter::kQueueDepth, queue_.size());
  return done;
}

bool Worker::HasWork() const {
  if (lane_->HasWork()) return true;
  for (const Origin& origin : origins_) {
    if (origin.peer == nullptr || origin.peer->lost || !origin.answered) continue;
    // relaxed: the look between the fences of ipc/waiter.h; AnswerEpochs takes the acquire.
    const uint32_t epoch = origin.peer->page().epoch.load(std::memory_order_relaxed);
    if (epoch != origin.seen_epoch) return true;
  }
  return false;
}

void Worker::PutBack(const WorkItem& item) {
  *queue_.Room() = item;
  queue_.Put(PriorityRank(item.entry.priority), item.message.deadline_ns);
}

void Worker::ObserveDelay(uint64_t delay_ns) {
  constexpr uint64_t kWeight = 16;
  const uint64_t before = page().Get(Counter::kQueueDelayNs);
  page().Set(Counter::kQueueDelayNs, before - before / kWeight + delay_ns / kWeight);
}

// Execution times its batches itself.
void Worker::CountAnswer(const WorkItem& item, uint8_t code, int64_t now_ns) {
  ModelStatsWords& stats = StatsOf(item);
  stats.Code(code);
  if (lane_->id().stage == Stage::kExecution) return;
  stats.Observe(StatsTime::kWork,
                static_cast<uint64_t>(std::max<int64_t>(now_ns - item.taken_ns, 0)));
}

StageTimes Worker::TimesOf(const WorkItem& item, int64_t now_ns) const {
  StageTimes times = item.times;
  times.queue_ns += item.waited_ns;
  const uint64_t work_ns = now_ns > item.taken_ns ? now_ns - item.taken_ns : 0;
  switch (lane_->id().stage) {
    case Stage::kFeatures:
      times.input_ns += work_ns;
      break;
    case Stage::kExecution:
      times.infer_ns += work_ns;
      break;
    default:
      times.output_ns += work_ns;
  }
  return times;
}

bool Worker::Wanted(uint32_t origin, PartId id) const {
  id.member = 0;
  for (const Origin& o : origins_) {
    if (o.peer == nullptr || o.peer->id.incarnation != origin) continue;
    return !o.peer->lost && o.peer->ledger->Wants(id);
  }
  return false;
}

bool Worker::Wanted(const WorkItem& item) const {
  const Origin& origin = origins_[item.origin];
  return !origin.peer->lost && origin.peer->ledger->Wants(item.id);
}

bool Worker::Admit(WorkItem* item, int64_t now_ns) {
  item->waited_ns = PublishedAgeNs(item->message.published_ticks, now_ns);
  item->taken_ns = now_ns;
  ObserveDelay(item->waited_ns);
  StatsOf(*item).Observe(StatsTime::kQueue, item->waited_ns);
  if (now_ns <= item->message.deadline_ns && Wanted(*item)) return true;
  const bool late = now_ns > item->message.deadline_ns;
  page().Add(late ? Counter::kExpired : Counter::kStale);
  const auto why = late ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kCancelled;
  TraceWork(lane_->traces(), *item, static_cast<uint8_t>(why), now_ns);
  Finish(*item);
  return false;
}

bool Worker::Idle() const {
  if (!queue_.empty()) return false;
  for (const Origin& origin : origins_) {
    if (origin.held[0] + origin.held[1] > 0) return false;
  }
  return true;
}

void Worker::Executing(absl::Span<const WorkItem> items, int64_t predicted_ns) {
  MR_CHECK(items.size() <= kMaxExecuting, "a batch holds more items than the page can name");
  Predict(predicted_ns);
  for (size_t i = 0; i < items.size(); ++i) Name(i, items[i]);
  NameCount(items.size());
  // Several items are the members of one request.
  if (!items.empty()) Befall(items[0]);
}

FaultSubject Worker::SubjectOf(const WorkItem& item) const {
  // An ensemble's member is struck by its own model's rules and by the ensemble's.
  const uint32_t of_model =
      faults_->OfRoute(item.message.route) | faults_->OfRoute(item.entry.route);
  return {item.entry.fault_key, item.entry.faults, item.id.attempt == 0, of_model};
}

void Worker::BefallNow(const WorkItem& item) {
  size_t rows = 1;
  if (item.message.kind != MessageKind::kError) {
    PackView pack;
    const auto bytes = item.from->peer->Payload(item.message);
    if (bytes.has_value() && PackView::OpenInto(*bytes, &pack).ok()) rows = pack.rows();
  }
  faults_->BeforeWork(SubjectOf(item), rows, &page());
}

void Worker::AlsoExecuting(const WorkItem& item) {
  MR_CHECK(executing_ < kMaxExecuting, "a batch holds more items than the page can name");
  Name(executing_, item);
  NameCount(executing_ + 1);
}

void Worker::NotExecuting() {
  MR_CHECK(executing_ > 0, "nothing is executed that could be taken back");
  NameCount(executing_ - 1);
}

void Worker::Predict(int64_t predicted_ns) {
  // relaxed: read only after this process has ended, or as a hint.
  page().predicted_ns.store(predicted_ns, std::memory_order_relaxed);
}

void Worker::Name(size_t place, const WorkItem& item) {
  // relaxed: published by the release of NameCount.
  page().executing_origin[place].store(item.message.origin, std::memory_order_relaxed);
  page().executing_id[place].store(item.message.id, std::memory_order_relaxed);
}

void Worker::NameCount(size_t count) {
  executing_ = count;
  replies_ = 0;
  // release: meets the acquire in IngressLane::WasExecuting, of a page whose lane died.
  page().executing_count.store(static_cast<uint32_t>(count), std::memory_order_release);
  // seq_cst: meets the acquire in IngressLane::WasExecuting. The processor keeps this thread's
  // stores in order up to its death; the compiler may not read inputs before the naming above.
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void Worker::Done() {
  executing_ = 0;
  // release: meets the acquire in IngressLane::WasExecuting; results were published before.
  page().executing_count.store(0, std::memory_order_release);
  // relaxed: a hint for the supervisor.
  page().predicted_ns.store(0, std::memory_order_relaxed);
}

std::optional<absl::Span<const std::byte>> Worker::Input(const WorkItem& item) {
  auto bytes = item.from->peer->Payload(item.message);
  if (!bytes.has_value()) lane_->Fault(*item.from->peer, "a block lies outside its arena");
  return bytes;
}

absl::Status Worker::ErrorOf(const WorkItem& item) {
  const bool known = item.message.code > 0 && item.message.code <= 16;  // gRPC's codes
  const auto code =
      known ? static_cast<absl::StatusCode>(item.message.code) : absl::StatusCode::kInternal;
  if (item.message.block.length == 0) return absl::Status(code, "an earlier stage failed");
  auto text = Input(item);
  if (!text.has_value()) return absl::InternalError("an earlier stage failed");
  return absl::Status(code, absl::string_view(reinterpret_cast<const char*>(text->data()),
                                              std::min(text->size(), kMaxErrorText)));
}

MaybeBlock Worker::Allocate(const WorkItem& item, size_t bytes) {
  if (faults_ != nullptr && faults_->Befalls(FaultKind::kNoMemory, SubjectOf(item), &page())) {
    return {};
  }
  return TakeBlock(item, bytes);
}

MaybeBlock Worker::TakeBlock(const WorkItem& item, size_t bytes) {
  const uint64_t tag = uint64_t{item.origin} << 1 | item.parity;
  const MaybeBlock block = lane_->arena().Allocate(bytes, tag);
  if (block.has_value()) {
    ++origins_[item.origin].held[item.parity];
  } else {
    page().Add(Counter::kFaults);
  }
  return block;
}

MaybeBlock Worker::ErrorText(const WorkItem& item, const absl::Status& status) {
  const absl::string_view text = status.message().substr(0, kMaxErrorText);
  if (text.empty()) return {};
  const MaybeBlock block = TakeBlock(item, text.size());
  if (block.has_value()) memcpy(At(*block), text.data(), text.size());
  return block;
}

void Worker::Reply(const WorkItem& item, absl::Span<const Hop> hops, const absl::Status& status,
                   const BlockRef& block) {
  if (faults_ == nullptr) return Answer(item, hops, status, block);
  const FaultSubject subject = SubjectOf(item);
  if (faults_->Befalls(FaultKind::kLoss, subject, &page())) {
    lane_->Release(block);
    return Finish(item);
  }
  if (faults_->Befalls(FaultKind::kError, subject, &page())) {
    return Answer(item, hops, absl::UnavailableError("a fault on purpose"), block);
  }
  if (block.length > 0 && faults_->Befalls(FaultKind::kWrongOutput, subject, &page())) {
    FaultPlan::Spoil({At(block), block.length});
  }
  Answer(item, hops, status, block);
}

void Worker::Answer(const WorkItem& item, absl::Span<const Hop> hops, const absl::Status& status,
                    const BlockRef& block) {
  Message reply = item.message;
  reply.kind = status.ok() ? MessageKind::kData : MessageKind::kError;
  reply.code = static_cast<uint8_t>(status.code());
  reply.block = block;
  if (!status.ok()) {
    lane_->Release(block);
    reply.block = *ErrorText(item, status);  // of length 0 without one
  }
  // Replies of a batch follow each other closely: one look at the clock is for some of them.
  if (replies_++ % kRepliesPerLook == 0 || replied_ns_ < item.taken_ns) {
    replied_ns_ = MonotonicNanos();
  }
  const int64_t now_ns = replied_ns_;
  reply.published_ticks = PublishedTicks(now_ns);
  reply.times = TimesOf(item, now_ns).Pack();
  CountAnswer(item, reply.code, now_ns);
  TraceWork(lane_->traces(), item, reply.code, now_ns);
  // The input first: whoever gets the result then knows that it is returned.
  Finish(item);
  PartId id = item.id;
  for (const Hop& hop : hops) {
    id.member = hop.member;
    reply.id = id.Pack();
    reply.route = hop.route;
    lane_->Send(hop.to, reply);
  }
  lane_->Release(reply.block);
  page().Add(status.ok() ? Counter::kAnswered : Counter::kFailed);
}

void Worker::Drop(const WorkItem& item) {
  page().Add(Counter::kStale);
  Finish(item);
}

void Worker::Finish(const WorkItem& item) {
  lane_->Return(*item.from, item.message);
  --origins_[item.origin].held[item.parity];
}

void Worker::OnComing(Inbound& from, const Message& message) {
  if (from.peer->ledger != nullptr) from.peer->ledger->Prefetch(PartId::Unpack(message.id).slot);
}

void Worker::OnMessage(Inbound& from, const Message& message) {
  page().Add(Counter::kTaken);
  for (size_t i = 0; i < kOrigins; ++i) {
    Origin& origin = origins_[i];
    if (origin.peer == nullptr || origin.peer->lost) continue;
    if (origin.peer->id.incarnation != message.origin) continue;
    WorkItem& item = *queue_.Room();
    item.message = message;
    item.id = PartId::Unpack(message.id);
    item.from = &from;
    item.origin = static_cast<uint8_t>(i);
    item.parity = origin.parity;
    item.times = StageTimes();
    item.waited_ns = item.taken_ns = 0;
    item.batch = item.batch_rows = 0;
    if (!origin.peer->ledger->FindInto(item.id, &item.entry)) break;
    if (from.peer->id.stage != Stage::kIngress) {
      // The word is the times' on this hop; the deadline is the ledger's to say.
      item.times = StageTimes::Unpack(message.times);
      item.message.deadline_ns = item.entry.deadline_ns;
    }
    if (!IsOnRoute(from.peer->id, item)) {
      page().Add(Counter::kFaults);
      break;
    }
    ++origin.held[origin.parity];
    queue_.Put(PriorityRank(item.entry.priority), item.message.deadline_ns);
    return;
  }
  // Its ingress lane is gone or has moved on, or the sender has no part in this request.
  page().Add(Counter::kStale);
  lane_->Return(from, message);
}

void Worker::OnPeer(const std::shared_ptr<PeerLane>& peer) {
  if (peer->id.stage != Stage::kIngress) return;
  if (peer->ledger == nullptr) return lane_->Fault(*peer, "an ingress lane without a ledger");
  for (Origin& origin : origins_) {
    if (origin.peer != nullptr) continue;
    origin = Origin{};
    origin.peer = peer;
    return;
  }
  lane_->Fault(*peer, "more ingress lanes than there is room for");
}

void Worker::OnPeerLost(const std::shared_ptr<PeerLane>& peer) {
  // An ingress lane's place is freed once nothing of its requests is held (AnswerEpochs). Its items
  // are found unwanted when they are popped.
  (void)peer;
}

void Worker::OnBlockFree(uint64_t tag) {
  Origin& origin = origins_[tag >> 1];
  MR_CHECK(origin.held[tag & 1] > 0, "a block of an origin that holds none");
  --origin.held[tag & 1];
}

size_t Worker::AnswerEpochs() {
  size_t counting = 0;
  size_t place = 0;
  for (Origin& origin : origins_) {
    if (origin.peer == nullptr) continue;
    if (origin.peer->lost) {
      if (origin.held[0] + origin.held[1] == 0) origin.peer = nullptr;
      continue;
    }
    if (origin.answered) {
      // acquire: meets the release in IngressLane::StepQuiescence.
      const uint32_t epoch = origin.peer->page().epoch.load(std::memory_order_acquire);
      if (epoch != origin.seen_epoch) {
        origin.seen_epoch = epoch;
        origin.polls_left = kPollsToDrain;
        origin.answered = false;
        ++counting;
      }
    } else if (origin.polls_left > 0) {
      if (--origin.polls_left == 0) origin.parity ^= 1;
      ++counting;
    }
    if (!origin.answered && origin.polls_left == 0 && origin.held[origin.parity ^ 1] == 0) {
      origin.answered = true;
    }
    if (origin.answered && place < kMaxIngressLanes) {
      // release: meets the acquire in IngressLane::StepQuiescence.
      page().quiesced[place].store(uint64_t{origin.peer->id.incarnation} << 32 | origin.seen_epoch,
                                   std::memory_order_release);
    }
    ++place;
  }
  return counting;
}

}  // namespace millrace
