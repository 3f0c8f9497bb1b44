// The ingress lane: requests from their first check to their one answer.
//
// Purpose: implements Frontend on a lane: ledger, admission, routing, replay, deadlines.
// Who may call: the lane's thread; SetCatalog, GoLive and SetRoutes any thread (through
// Lane::Post). Ownership: owns the flights (one for each ledger slot) and their input blocks.
// Invariants:
//   1. Each accepted request is answered exactly once: a result counts only from the last worker of
//      the current attempt's route.
//   2. A request takes its whole route's units before it is sent; without them it waits, bounded by
//      the ledger and its deadline.
//   3. A request whose route names a worker that ended is sent again (attempt + 1). One that was
//      being executed is sent alone; what makes it poison (INTERNAL, told to shared.poisoned) is
//      suspicion.h's to say. Requests of a model that kills worker after worker are refused
//      (model_breakers.h): UNAVAILABLE.
//   4. Units of attempts that did not end by their own answer come back through Quiescence.
//   5. The page's kOldestCatalog is the oldest generation that a request in flight began with; a
//   new
//      one stands there once its golden requests had their verdicts.
//   6. Ready follows from golden requests (golden_probe.h), which are no client's and not counted.
//   7. Overload is answered, not queued: by predicted finish (DEADLINE_EXCEEDED), by a limit that
//      adapts, by the delay of the queue and by the replay budget (UNAVAILABLE, with a hint when to
//      come back). The lowest priority goes first; golden requests and replays are not shed.
//   8. A request sees one route from its first byte to its last (ingress_lane_routes.cc): what
//   Resolve
//      said is what it keeps, also where it falls back. What is sent in its shadow is no client's:
//      it waits for nothing, has the lowest priority, and is counted at the shadow's version alone.
// What fails: a request, with the status of frontend.h.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "common/config.h"
#include "services/ingress/core/concurrency_limit.h"
#include "services/ingress/core/drain_rate.h"
#include "services/ingress/core/golden_probe.h"
#include "services/ingress/core/ingress_faults.h"
#include "services/ingress/core/model_breakers.h"
#include "services/ingress/core/model_counters.h"
#include "services/ingress/core/model_table.h"
#include "services/ingress/core/poison_record.h"
#include "services/ingress/core/queue_delay.h"
#include "services/ingress/core/quiescence.h"
#include "services/ingress/core/replay_budget.h"
#include "services/ingress/core/request_tracer.h"
#include "services/ingress/core/shadow_pairs.h"
#include "services/ingress/core/slot_queue.h"
#include "services/ingress/core/stage_gate.h"
#include "services/ingress/core/suspicion.h"
#include "services/ingress/core/windows.h"
#include "services/ingress/frontend.h"
#include "services/runtime/lane.h"

namespace millrace {

class RoutingTable;
struct CompiledFallback;
struct CompiledShadow;

// What the lanes of a process share; each may be null.
struct IngressShared {
  StatisticsBook* statistics = nullptr;
  // Hands a change on to the supervisor; `done` is called once, by any thread.
  std::function<void(const ModelChange& change, ChangeDone done)> change_model;
  std::function<void(RoutesQuestion question, RoutesDone done)> ask_routes;  // likewise
  // Called on the lane's thread; must not block.
  std::function<void(const PoisonRecord& record)> poisoned;
  std::function<void(const Lane& lane, const BreakerChange& change)> breaker_changed;
};

class IngressLane : public Frontend, public LaneHandler {
 public:
  IngressLane(Lane* lane, Ledger* ledger, const Config& config, IngressShared shared = {});

  // Any thread. A catalog is kept until it goes live; then requests are routed by it.
  void SetCatalog(std::shared_ptr<const Catalog> catalog);
  void GoLive(uint64_t generation);
  void SetStageBreaker(Stage stage, BreakerState state);
  // `taken` is called on the lane's thread: requests go by these routes from now on.
  void SetRoutes(std::shared_ptr<const RoutingTable> routes, std::function<void()> taken);

  // One duty cycle of lane and requests. The count of what was done.
  size_t Poll();
  // How long the lane may sleep when nothing is there.
  int64_t MaxSleepNs() const;
  size_t in_flight() const { return in_flight_; }
  // Whether clients may be let in: the stages are there, and every golden request had its verdict.
  bool MayOpen() const { return PipelineUp() && probe_.Judged(); }
  // How long new requests may be left unread, now; asked once a turn. 0: not at all.
  int64_t TakeRestNs();
  // Nothing is asked of it any more: no golden requests either.
  void StopProbing() { probe_.Stop(); }

  // Frontend.
  RequestId Infer(const InferRequest& request, Completion* completion) override;
  Routed Resolve(const RouteQuestion& question) const override;
  bool IsRouted(std::string_view model) const override;
  bool NamesPath(std::string_view prefix) const override;
  void Cancel(RequestId id) override;
  std::shared_ptr<const Catalog> catalog() const override;
  bool ServerReady() const override;
  absl::Status ModelReady(std::string_view model, std::string_view version) const override;
  std::vector<ModelStatistic> Statistics(std::string_view model,
                                         std::string_view version) const override;
  void CountQuotaRefusal() override { lane_->page().Add(Counter::kShedQuota); }
  void ChangeModel(const ModelChange& change, ChangeDone done) override;
  void AskRoutes(RoutesQuestion question, RoutesDone done) override;
  bool Traces() const override { return tracer_.on(); }

  // LaneHandler.
  void OnMessage(Inbound& from, const Message& message) override;
  void OnPeer(const std::shared_ptr<PeerLane>& peer) override;
  void OnPeerLost(const std::shared_ptr<PeerLane>& peer) override;
  void OnBlockFree(uint64_t) override {}

 private:
  // How often deadlines are looked at, and how long a lane with something in flight sleeps.
  static constexpr int64_t kSweepNs = kNanosPerMilli;

  static constexpr size_t kMostShadows = 4;  // of a request
  // Below all others: a client's 255 counts as 254.
  static constexpr uint32_t kShadowPriority = 255;
  using ShadowList = std::array<uint8_t, kMostShadows>;  // pairs; ShadowPairs::kNone: none

  enum class FlightState : uint8_t { kFree, kWaiting, kSent };

  // A table and the flights that began with it: counted, since a shared pointer's own count is
  // everybody's, and a request would wait for it twice.
  struct TableUse {
    std::shared_ptr<const ModelTable> table;
    size_t flights = 0;
  };

  struct Flight {
    FlightState state = FlightState::kFree;
    bool alone = false;  // was being executed when a worker died: runs in a batch of its own
    bool cancelled = false;
    bool golden = false;  // of the probe, or a shadow: not a client's
    bool shadow = false;
    bool probe = false;  // decides over a model's breaker
    bool stage_probe = false;
    uint8_t attempt = 0;
    uint8_t priority = 0;
    uint32_t faults = 0;  // of LedgerEntry, as fault_key
    uint64_t fault_key = 0;
    uint64_t client_id_hash = 0;
    Suspicion suspicion;
    uint32_t sequence = 0;
    Completion* completion = nullptr;
    TableUse* table = nullptr;
    std::shared_ptr<const RoutingTable> routes;  // null: it is not routed
    RouteUse use;                                // of its route
    ShadowList pairs = {};
    CheckedRequest request;
    int64_t deadline_ns = 0;
    ModelCounters* counters = nullptr;
    ModelStatsWords* stats = nullptr;  // of its model, in the page
    int64_t accepted_ns = 0;           // when Infer was called
    int64_t stored_ns = 0;             // when its inputs were in the arena
    int64_t submitted_ns = 0;          // when the current attempt was sent
    BlockRef input;
    Route route;  // taken units, in the order of Needs
    uint32_t last_worker = 0;
    FlightTrace trace;
    uint32_t features = 0, aggregation = 0;  // of the last attempt, for its trace
    uint32_t execution[kMaxMembers] = {};
  };

  GoldenProbe::Host ProbeHost();
  bool PipelineUp() const;
  void Count(const Flight& flight, Counter counter) {
    if (!flight.golden) lane_->page().Add(counter);
  }

  struct Probes {
    bool model = false, stage = false;
  };
  // A request that is let in: everything up to the block that holds its inputs; or why it is not.
  struct Entry {
    CheckedRequest checked;
    int64_t deadline_ns = 0;
    Probes probes;
    absl::Status status;
    BlockRef input;  // of an OK status
  };
  // Into `entry`, which is as it was made.
  void Enter(const InferRequest& request, int64_t now, Entry* entry);
  RequestId Begin(const InferRequest& request, int64_t now, const FaultVerdict& fault, Entry* entry,
                  Completion* completion);
  const ModelTable* table() const { return tables_.empty() ? nullptr : tables_.back().table.get(); }

  // ingress_lane_routes.cc
  struct StoredRequest {
    std::vector<std::vector<int64_t>> shapes;
    std::vector<TensorView> inputs;
    std::vector<std::string_view> outputs;
    InferRequest request;
  };
  void EnterAgain(const InferRequest& request, int64_t now, Entry* entry);
  bool EnterElsewhere(InferRequest* request, int64_t now, Entry* entry, Completion* completion);
  bool FallBack(uint16_t slot, const absl::Status& status);
  void MoveFlight(uint16_t slot, const absl::Status& why, Entry* entry);
  bool ReadStored(const Flight& flight, StoredRequest* stored) const;
  static bool HasFallbacks(const RouteUse& use);
  static bool HasShadows(const RouteUse& use);
  static std::string_view FallbackSaid(const RouteUse& use);
  static std::string_view AskedName(const RouteUse& use, const Model& model);
  static const CompiledFallback* ConstantOf(const RouteUse& use, const absl::Status& status);
  static bool AnswerByConstant(const CompiledFallback& constant, const RouteUse& use,
                               absl::Span<const std::string_view> outputs, int64_t rows,
                               Completion* completion);
  static bool AnswerFailed(const RouteUse& use, const absl::Status& status,
                           const CheckedRequest& request, Completion* completion);
  void SendShadows(uint16_t slot, const InferRequest& request);
  uint8_t SendShadow(const CompiledShadow& shadow, const InferRequest& request,
                     int64_t deadline_ns);
  void FailRouted(uint16_t slot, const InferAnswer& answer);
  void TellShadows(const ShadowList& pairs, const InferAnswer* answer);

  PartId IdOf(uint16_t slot) const {
    return {slot, flights_[slot].sequence, flights_[slot].attempt, 0};
  }
  RequestId RequestIdOf(uint16_t slot) const;
  absl::Status Admit(const InferRequest& request, int64_t now, CheckedRequest* checked,
                     int64_t* deadline_ns);
  // ingress_lane_admit.cc: overload.
  absl::Status MakeRoom(uint32_t rank);
  void Shed(Counter reason);
  void LeftQueue(const Flight& flight);
  void StepOverload(int64_t now);
  void CountForLimit(const Flight& flight, int64_t now);
  int64_t RetryAfterMs(const absl::Status& status) const;
  absl::Status Accept(const InferRequest& request, int64_t now, Entry* entry);
  void Refuse(const InferRequest& request, int64_t now, const absl::Status& status,
              Completion* completion);
  // At its model; that model's words in the page.
  ModelStatsWords* CountRefusal(const InferRequest& request, int64_t now,
                                const absl::Status& status);
  absl::Status StoreInput(const InferRequest& request, const CheckedRequest& checked,
                          BlockRef* input);
  static void FindNeeds(const CheckedRequest& request, StageNeeds* needs);

  // Sends a waiting flight if its route can be had now.
  bool Dispatch(uint16_t slot, int64_t now);
  void Submit(uint16_t slot, const LedgerEntry& entry, int64_t now);
  void Wait(uint16_t slot);
  void DispatchWaiting();
  void SendHeld(int64_t now);
  void Replay(uint16_t slot, const PeerLane& dead);
  bool WasExecuting(const PeerLane& dead, uint16_t slot) const;
  // ingress_lane_poison.cc: models and requests that kill.
  absl::Status PassBreakers(const CheckedRequest& request, int64_t now, Probes* probes);
  bool CountModelDeaths(const PeerLane& dead);
  void FailWaitingOfOpenModels();
  bool Suspect(Flight& flight, const PeerLane& dead);
  void TellPoisoned(const Flight& flight) const;
  // Gives up the current attempt: its units wait for quiescence.
  void Abandon(Flight& flight);

  // Both free the slot, then call the completion.
  void Fail(uint16_t slot, const absl::Status& status);
  void Succeed(uint16_t slot, PeerLane& from, const Message& message);
  Completion* Retire(uint16_t slot);

  // ingress_lane_trace.cc. The record of a request that ends, if it is kept; `result`: of an OK
  // answer. Written once the protocol has its answer.
  using KeptTrace = std::optional<RequestRecord>;
  KeptTrace KeepTrace(uint16_t slot, absl::StatusCode code, int64_t now, const Message* result);
  KeptTrace KeepRefused(const FlightTrace& trace, absl::StatusCode code, int64_t now,
                        const ModelStatsWords* stats);
  void WriteTrace(KeptTrace* kept);
  uint8_t SlotOf(const ModelStatsWords* stats) const;

  // When that was.
  int64_t CountSuccess(const Flight& flight, const Message& message);
  void PublishOldestCatalog();

  void ExpireAndCancel(int64_t now);
  void StepQuiescence();

  Lane* lane_;
  Ledger* ledger_;
  Config config_;
  Windows windows_;
  ModelBreakers breakers_;
  StageGate gate_;
  Quiescence quiescence_;
  const IngressShared shared_;
  const std::unique_ptr<IngressFaults> faults_;  // null: no plan
  StatisticsBook own_statistics_;                // where none is shared
  StatisticsBook* const statistics_;
  std::vector<ModelCounters*> counters_;  // of the live table's models, by place
  std::deque<TableUse> tables_;           // the last one is live; requests may still use the others
  std::vector<std::shared_ptr<const ModelTable>> coming_;  // not live yet
  std::vector<Flight> flights_;
  std::vector<uint16_t> free_slots_;
  SlotQueue waiting_;
  ConcurrencyLimit limit_;
  QueueDelay queue_delay_;
  DrainRate drain_;
  ReplayBudget replays_{kWindowUnits};
  int64_t next_shed_ns_ = 0;
  RequestTracer tracer_;
  GoldenProbe probe_;
  std::shared_ptr<const RoutingTable> routes_;  // null: none came yet
  mutable uint64_t routed_nobody_ = 0;          // requests that named no client
  ShadowPairs pairs_;
  bool sending_golden_ = false;  // Infer is called by the probe, or for a shadow
  bool sending_shadow_ = false;
  uint64_t judged_generation_ = 0;  // the newest whose golden requests had their verdicts
  size_t in_flight_ = 0;
  size_t golden_in_flight_ = 0;
  bool dispatch_again_ = false;  // something changed that a waiting flight may need
  bool any_cancelled_ = false;
  bool shed_now_ = false;  // a new request was refused for want of room, this turn
  int64_t next_sweep_ns_ = 0;
  int64_t ended_ns_ = 0;               // when this turn's last answer was told; 0: none was
  uint64_t wall_ms_ = 0;               // since the epoch, at the turn's begin
  std::vector<WindowUse> freed_;       // scratch
  std::vector<WorkerAnswer> answers_;  // scratch
};

}  // namespace millrace
