// The page: what a lane tells about itself to everybody.
//
// Purpose: state, beat, exit reason, counters, load, the ids being executed, the parking word, and
//   what was timed by model (ipc/stats_words.h).
// Who writes: the lane that owns the page (its process's main thread the liveness word and state).
// Who reads: the supervisor and every peer, at any time, without a lock; each word alone is
//   consistent, no two words are. Invariants:
//   1. Every word is an atomic with one writer; counters never go back within an incarnation.
//   2. `executing` names an id before the lane touches its input and until its result is published;
//      a dead lane's page therefore names every request that could have killed it.
//   3. `parked` is odd while the lane sleeps or is about to, and never takes the same odd value
//      twice (ipc/waiter.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <atomic>
#include <string_view>
#include <type_traits>

#include "ipc/golden_words.h"
#include "ipc/memfd.h"
#include "ipc/stats_words.h"

namespace millrace {

// Ready and leaving are the roster's to say; the page only says what nobody else can know.
enum class LaneState : uint32_t {
  kAlive = 0,
  kDying = 1,  // a fatal signal was caught, or the device lost: treat as dead, before it has ended
};

// Why a page says kDying, where it is no signal.
inline constexpr uint32_t kReasonDeviceLost = 256;

// Monotonic counters, then gauges. Names stand in kCounterNames (status, later metrics).
enum class Counter : size_t {
  kTaken,     // messages taken off links (ingress: requests accepted)
  kAnswered,  // results published (ingress: OK answers)
  kFailed,    // error results (ingress: answers with an error)
  kExpired,   // dropped because the deadline had passed
  kStale,     // dropped because the ledger had moved on (cancelled, replayed elsewhere)
  kRefused,   // ingress: not admitted
  kReplayed,  // ingress: attempts after a worker's death
  kPoisoned,  // ingress: requests given up after they killed twice
  kBatches,
  kRows,
  kBusyNs,  // time spent working
  kParks,
  kHogs,            // yields that took so long that somebody else computes here (ipc/idler.h)
  kRescues,         // woken by time-out though something was there: must stay 0
  kFaults,          // what a peer wrote and was refused
  kDeviceBatches,   // execution: batches given to the device
  kDeviceHalved,    // of these: run as two, for lack of device memory
  kDeviceFellBack,  // of these: run on the CPU in the end, whole or in part
  kInjected,        // faults on purpose
  kQueueDepth,      // gauge: messages waiting in the private queue
  kQueueDelayNs,    // gauge: moving average of the time from publish to work
  kInFlight,        // gauge, ingress: ledger slots taken
  kBlocksTaken,     // gauge: arena blocks not free
  kLimbo,           // gauge, ingress: window units waiting for quiescence
  kOldestCatalog,   // gauge, ingress: the oldest generation that a request in flight began with
  kWorstTurnNs,     // gauge: the longest of late that the loop neither looked around nor slept
  // Ingress: what was refused or given up, by reason.
  kShedPredicted,  // could not finish by its deadline
  kShedLimit,      // more in flight than deadlines bear
  kShedFull,       // no slot of the ledger, or no memory
  kShedDelay,      // waited too long for a worker
  kShedPriority,   // gave way to a higher priority
  kShedReplays,    // too many were sent again already
  kShedQuota,      // its key's rate or quota is used up
  kShedBreaker,    // its model or a stage is shut out
  kCount
};

// The others only grow within an incarnation.
constexpr bool IsGauge(Counter c) {
  return c >= Counter::kQueueDepth && c <= Counter::kWorstTurnNs;
}

inline constexpr std::array<std::string_view, static_cast<size_t>(Counter::kCount)> kCounterNames =
    {"taken",          "answered",      "failed",
     "expired",        "stale",         "refused",
     "replayed",       "poisoned",      "batches",
     "rows",           "busy_ns",       "parks",
     "hogs",           "rescues",       "faults",
     "device_batches", "device_halved", "device_fell_back",
     "injected",       "queue_depth",   "queue_delay_ns",
     "in_flight",      "blocks_taken",  "limbo",
     "oldest_catalog", "worst_turn_ns", "shed_predicted",
     "shed_limit",     "shed_full",     "shed_delay",
     "shed_priority",  "shed_replays",  "shed_quota",
     "shed_breaker"};

inline constexpr size_t kMaxIngressLanes = 12;
inline constexpr size_t kMaxExecuting = 64;

struct Page {
  RegionHeader header;

  alignas(kLineBytes) std::atomic<uint32_t> liveness;  // robust futex: tid | FUTEX_WAITERS
  std::atomic<uint32_t> state;                         // LaneState
  std::atomic<uint32_t> exit_reason;  // once kDying: a signal's number, or kReasonDeviceLost
  std::atomic<uint32_t> pid;
  std::atomic<uint64_t> start_ns;
  std::atomic<uint64_t> roster_generation;   // the newest the lane has acted on
  std::atomic<uint64_t> catalog_generation;  // the newest the lane serves by

  alignas(kLineBytes) std::atomic<uint64_t> beat;  // one more each duty cycle
  std::atomic<uint64_t> predicted_ns;              // of the work now in hand; 0 when idle

  alignas(kLineBytes) std::atomic<uint64_t> parked;

  // Quiescence (ipc/README.md): ingress counts `epoch` up; each worker answers, for each ingress
  // lane, incarnation << 32 | epoch once all it had from that lane before reading it is finished.
  alignas(kLineBytes) std::atomic<uint32_t> epoch;
  alignas(kLineBytes) std::atomic<uint64_t> quiesced[kMaxIngressLanes];

  alignas(kLineBytes) std::atomic<uint64_t> counters[static_cast<size_t>(Counter::kCount)];

  // origin (ingress incarnation) and id of what is being executed now.
  alignas(kLineBytes) std::atomic<uint32_t> executing_count;
  std::atomic<uint32_t> executing_origin[kMaxExecuting];
  std::atomic<uint64_t> executing_id[kMaxExecuting];

  alignas(kLineBytes) GoldenWords golden;  // of an ingress lane

  alignas(kLineBytes) StatsWords stats;

  uint64_t Get(Counter c) const {
    // relaxed: a statistic; no other word is read by its value.
    return counters[static_cast<size_t>(c)].load(std::memory_order_relaxed);
  }
  void Add(Counter c, uint64_t n = 1) {
    std::atomic<uint64_t>& word = counters[static_cast<size_t>(c)];
    // relaxed: one writer, a statistic; no read-modify-write is needed.
    word.store(word.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Set(Counter c, uint64_t value) {
    // relaxed: one writer, a statistic.
    counters[static_cast<size_t>(c)].store(value, std::memory_order_relaxed);
  }
};

static_assert(std::is_standard_layout_v<Page> && std::is_trivially_destructible_v<Page>);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

inline constexpr RegionType kPageType = {
    RegionKind::kPage,
    LayoutHash({sizeof(Page), offsetof(Page, liveness), offsetof(Page, beat),
                offsetof(Page, parked), offsetof(Page, epoch), offsetof(Page, quiesced),
                offsetof(Page, counters), offsetof(Page, executing_count), offsetof(Page, golden),
                sizeof(GoldenWords), static_cast<uint64_t>(Counter::kCount), kMaxExecuting,
                offsetof(Page, stats), kMaxStatsModels, kStatsWords, kTimeEdges,
                static_cast<uint64_t>(Counter::kQueueDepth)})};

}  // namespace millrace
