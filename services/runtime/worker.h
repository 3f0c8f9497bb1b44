// What features, execution and aggregation do alike around their work.
//
// Purpose: a private queue ordered by priority, then deadline; looking whether work is still wanted
//   before it costs anything; naming what is executed; answering the ingress lanes' epochs.
// Who may call: the lane's thread. Ownership: a Worker owns items from OnMessage to Finish.
// Invariants:
//   1. Every item taken is finished exactly once; finishing returns its block to the sender.
//   2. An item stands in the page's `executing` before its input is touched, until Done.
//   3. An epoch of an ingress lane is answered only when everything taken from its requests before
//      is finished and every block made for them is free (quiescence; ipc/README.md).
// What fails: nothing; what a peer sends and cannot be right is a Fault of that peer.
#pragma once

#include <stdint.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/clock.h"
#include "ipc/message.h"
#include "ipc/stage_times.h"
#include "services/runtime/fault_plan.h"
#include "services/runtime/lane.h"
#include "services/runtime/work_queue.h"

namespace millrace {

struct WorkItem {
  Message message;
  PartId id;
  LedgerEntry entry;
  Inbound* from = nullptr;
  uint8_t origin = 0;  // its place among the worker's origins
  uint8_t parity = 0;
  StageTimes times;        // of the stages before this one
  uint64_t waited_ns = 0;  // for this stage
  int64_t taken_ns = 0;    // when its work began
  uint32_t batch = 0;      // execution: number of the batch it ran in, and the rows of that
  uint32_t batch_rows = 0;
};

// Where a result goes: a lane, as which member's part, by which route.
struct Hop {
  uint32_t to = 0;
  uint8_t member = 0;
  uint16_t route = 0;
};

class Worker : public LaneHandler {
 public:
  explicit Worker(Lane* lane);

  // One duty cycle: the lane's, then epochs. The count of what was done.
  size_t Poll();

  // The next item that is still wanted, in order of priority, then deadline, if `take` says yes to
  // it (else it stays where it is). The caller finishes it: Reply, Finish or Drop.
  template <typename Predicate>
  std::optional<WorkItem> PopIf(Predicate take);
  // The same into `item`, which holds nothing sensible where this is false; its work begins now.
  template <typename Predicate>
  bool PopInto(Predicate take, int64_t now_ns, WorkItem* item);
  std::optional<WorkItem> Pop() {
    return PopIf([](const WorkItem&) { return true; });
  }
  bool Empty() const { return queue_.empty(); }
  // The lane's look before parking, and whether an ingress lane asks for a new epoch.
  bool HasWork() const;
  // Nothing queued, nothing held, every block free.
  bool Idle() const;

  // Names items as being executed, before their input is touched; and that they no longer are.
  void Executing(absl::Span<const WorkItem> items, int64_t predicted_ns);
  void Done();
  // One by one, for a batch that is found by looking at inputs: one more is named, beside those
  // that are; the one named last is not executed after all; how long they will take.
  void AlsoExecuting(const WorkItem& item);
  void NotExecuting();
  void Predict(int64_t predicted_ns);
  // Back into the queue, behind those of its deadline. Its input may have been read.
  void PutBack(const WorkItem& item);

  // The input's bytes, or nothing (then the sender was reported).
  std::optional<absl::Span<const std::byte>> Input(const WorkItem& item);
  // The error that an earlier stage sent instead of data.
  absl::Status ErrorOf(const WorkItem& item);
  // A block for the result; nothing where the window was passed (counted as a fault of ours).
  MaybeBlock Allocate(const WorkItem& item, size_t bytes);
  std::byte* At(const BlockRef& block) { return lane_->arena().At(block.offset); }

  // Returns the input, then sends the result on: `block`, which is ours and given up here, or where
  // `status` is not OK its code and sentence.
  void Reply(const WorkItem& item, absl::Span<const Hop> hops, const absl::Status& status,
             const BlockRef& block);
  // Returns the input without a result.
  void Finish(const WorkItem& item);
  // The same, for what nobody wants any more.
  void Drop(const WorkItem& item);
  // Whether the ingress lane's ledger still wants this id (its member does not matter).
  bool Wanted(uint32_t origin, PartId id) const;
  // Likewise of an item that is held: its ingress lane keeps its place meanwhile.
  bool Wanted(const WorkItem& item) const;

  // A plan of faults (fault_plan.h), which outlives the worker; null: none.
  void set_faults(FaultPlan* faults) { faults_ = faults; }
  // Once an item is named, before it is worked on: what the plan has for it.
  void Befall(const WorkItem& item) {
    if (faults_ != nullptr) BefallNow(item);
  }

  Lane& lane() { return *lane_; }
  Page& page() { return lane_->page(); }
  // The statistics of an item's model; in aggregation an ensemble's, not its member's.
  ModelStatsWords& StatsOf(const WorkItem& item) {
    const bool whole = lane_->id().stage == Stage::kAggregation;
    return lane_->stats().Of(whole ? item.entry.route : item.message.route);
  }

  // LaneHandler.
  void OnMessage(Inbound& from, const Message& message) override;
  void OnComing(Inbound& from, const Message& message) override;
  void OnPeer(const std::shared_ptr<PeerLane>& peer) override;
  void OnPeerLost(const std::shared_ptr<PeerLane>& peer) override;
  void OnBlockFree(uint64_t tag) override;

 private:
  // Room for the dead while their last blocks come home.
  static constexpr size_t kOrigins = 2 * kMaxIngressLanes;
  // Polls after which everything that was published before the first of them was taken.
  static constexpr int kPollsToDrain = kSlots / Lane::kDrain + 2;  // a full ring, and two more

  struct Origin {
    std::shared_ptr<PeerLane> peer;  // null: free
    size_t held[2] = {0, 0};         // items and result blocks, by parity
    uint8_t parity = 0;
    uint32_t seen_epoch = 0;  // being answered, or answered
    int polls_left = 0;       // until the parity turns
    bool answered = true;
  };

  MaybeBlock TakeBlock(const WorkItem& item, size_t bytes);
  void BefallNow(const WorkItem& item);
  FaultSubject SubjectOf(const WorkItem& item) const;
  void Answer(const WorkItem& item, absl::Span<const Hop> hops, const absl::Status& status,
              const BlockRef& block);
  MaybeBlock ErrorText(const WorkItem& item, const absl::Status& status);
  // The count of epochs whose polls are being counted: the lane must not park meanwhile.
  size_t AnswerEpochs();
  void Name(size_t place, const WorkItem& item);
  void NameCount(size_t count);
  // Whether to work on it; if not, it is finished here.
  bool Admit(WorkItem* item, int64_t now_ns);
  void ObserveDelay(uint64_t delay_ns);
  void CountAnswer(const WorkItem& item, uint8_t code, int64_t now_ns);
  // The item's times with those of this stage, which ends at `now_ns`.
  StageTimes TimesOf(const WorkItem& item, int64_t now_ns) const;

  FaultPlan* faults_ = nullptr;
  size_t executing_ = 0;  // named now
  static constexpr uint32_t kRepliesPerLook = 8;
  uint32_t replies_ = 0;  // since something was named
  int64_t replied_ns_ = 0;
  Lane* lane_;
  std::array<Origin, kOrigins> origins_;
  WorkQueue<WorkItem> queue_{kSlots * kMaxIngressLanes};
};

template <typename Predicate>
bool Worker::PopInto(Predicate take, int64_t now_ns, WorkItem* item) {
  while (!queue_.empty() && take(queue_.top())) {
    queue_.PopInto(item);
    if (Admit(item, now_ns)) return true;
  }
  return false;
}

template <typename Predicate>
std::optional<WorkItem> Worker::PopIf(Predicate take) {
  std::optional<WorkItem> item{std::in_place};
  if (!PopInto(take, MonotonicNanos(), &*item)) item.reset();
  return item;
}

}  // namespace millrace
