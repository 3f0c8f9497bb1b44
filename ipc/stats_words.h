// The statistics page: what a lane has counted and timed, by model, as the last part of its page.
//
// Purpose: each lane tells everybody where the time of its requests went. The observer serves it,
// and the
//   supervisor adds it up when the lane's incarnation ends, so that no sum goes back.
// Who writes: the lane that owns the page, through StatsWriter. Who reads: anybody, through
//   ReadModelStats; nothing is waited for.
// Invariants:
//   1. Every word has one writer and is stored relaxed: no lock, no read-modify-write, no
//   allocation.
//   2. Words of counts and sums never go back within an incarnation. A reader may see two words of
//      one request apart; a histogram's count is the sum of its buckets, so those two never
//      disagree.
//   3. A slot is one model's version for the life of the page. Slot 0 is that of every request
//   whose
//      model has none: unknown ones, and those beyond kMaxStatsModels.
//   4. A name is there before its slot is in use (release), and never changes.
//   5. What a reader takes is bounded whatever stands there: slots by kMaxStatsModels, names by
//   their
//      room. A page of another layout is refused when it is opened (kPageType).
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <atomic>
#include <string_view>
#include <type_traits>

#include "common/time_edges.h"

namespace millrace {

// Of one request or one batch, in a slot.
enum class StatsTime : size_t {
  kTotal,      // ingress: an OK answer, from its request's arrival
  kQueue,      // ingress: until it was sent to a worker; workers: from there until it was taken
  kWork,       // workers: features and aggregation of a request, execution of a batch
  kBatchWait,  // execution: from being taken until its batch ran
  kToDevice,   // execution: of a batch, host to device
  kToHost,     // execution: of a batch, device to host
  kWrite,      // ingress: writing an OK answer
  kCount
};

enum class StatsSum : size_t {
  kRows,        // ingress: of OK answers; execution: run
  kExecutions,  // ingress: batches that OK answers came from; execution: batches
  // Ingress, of OK answers: all of it; waiting for workers; input; inference; output.
  kTotalNs,
  kQueueNs,
  kInputNs,
  kInferNs,
  kOutputNs,
  // Ingress, of copies sent to this version in the shadow and compared with the answer that went
  // out.
  kShadowed,       // copies sent
  kShadowFailed,   // not answered OK while the client's was
  kCompared,       // rows
  kChanged,        // rows with another decision
  kCosineLossPpm,  // of rows of two columns and more: (1 - cosine) * 10^6
  kRankLossPpm,    // of batches: (1 - rank correlation) / 2 * 10^6
  kRanked,         // batches with a rank correlation
  kCount
};

inline constexpr size_t kStatsCodes = 17;  // gRPC's
inline constexpr size_t kStatsTimes = static_cast<size_t>(StatsTime::kCount);
inline constexpr size_t kStatsSums = static_cast<size_t>(StatsSum::kCount);
inline constexpr size_t kTimeWords = 1 + kTimeEdges + 1;      // the sum, the buckets
inline constexpr size_t kSizeWords = 1 + kSizeEdgeCount + 1;  // of batches, in rows

// Where things stand among a slot's words: codes, sums, times, sizes of batches.
constexpr size_t StatsCodeAt(size_t code) { return code; }
constexpr size_t StatsSumAt(StatsSum sum) { return kStatsCodes + static_cast<size_t>(sum); }
constexpr size_t StatsTimeAt(StatsTime time) {
  return kStatsCodes + kStatsSums + static_cast<size_t>(time) * kTimeWords;
}
inline constexpr size_t kStatsBatchRowsAt = StatsTimeAt(StatsTime::kCount);
inline constexpr size_t kStatsWords = kStatsBatchRowsAt + kSizeWords;

inline constexpr size_t kMaxStatsModels = 128;
inline constexpr size_t kStatsNameBytes = 112;
inline constexpr size_t kStatsVersionBytes = 24;

struct StatsWord {
  std::atomic<uint64_t> word;

  // relaxed: a statistic; no other word is read by its value.
  uint64_t Get() const { return word.load(std::memory_order_relaxed); }
  void Add(uint64_t n) {
    // relaxed: one writer, a statistic; no read-modify-write is needed.
    word.store(word.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // relaxed: one writer, a statistic.
  void Set(uint64_t value) { word.store(value, std::memory_order_relaxed); }
};

// A text that is written once. What does not fit is cut.
template <size_t kBytes>
struct StatsText {
  static_assert(kBytes % sizeof(uint64_t) == 0);
  StatsWord words[kBytes / sizeof(uint64_t)];
};

struct ModelStatsWords {
  std::atomic<uint64_t> in_use;  // 1 once the name is there
  StatsWord route;               // the newest that it was named with
  StatsText<kStatsNameBytes> name;
  StatsText<kStatsVersionBytes> version;
  StatsWord words[kStatsWords];

  void Code(size_t code) { words[StatsCodeAt(code < kStatsCodes ? code : 2)].Add(1); }
  void Add(StatsSum sum, uint64_t n) { words[StatsSumAt(sum)].Add(n); }
  void Observe(StatsTime time, uint64_t ns) {
    StatsWord* const histogram = words + StatsTimeAt(time);
    histogram[1 + TimeBucket(ns)].Add(1);
    histogram[0].Add(ns);
  }
  void ObserveBatch(uint64_t rows) {
    StatsWord* const histogram = words + kStatsBatchRowsAt;
    histogram[1 + SizeBucket(rows)].Add(1);
    histogram[0].Add(rows);
  }
};

struct StatsWords {
  ModelStatsWords models[kMaxStatsModels];
};

static_assert(std::is_standard_layout_v<StatsWords> &&
              std::is_trivially_destructible_v<StatsWords>);

}  // namespace millrace
