// What a picture's sums and pages say together, added up: what /metrics and the console begin with.
//
// Purpose: one addition for all who show numbers. Who may call: any thread; pure.
// Invariants:
//   1. A counter is the sum of what the carried sums and all living pages say of its labels; an
//      incarnation counts once.
//   2. Words of a model are kStatsWords. Names are text. There are never more of them than slots.
//   3. Ages are not negative, whatever a page says.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "services/observer/page_set.h"

namespace millrace {

inline constexpr size_t kCounters = static_cast<size_t>(Counter::kCount);

using Words = std::vector<uint64_t>;                           // of a slot (ipc/stats_words.h)
using ModelKey = std::tuple<Stage, std::string, std::string>;  // stage, model, version

// Everything of one place of a stage.
struct OfWorker {
  uint64_t counters[kCounters] = {};
  bool lives = false;
  uint64_t ends = 0;
};

struct Totals {
  std::map<ModelKey, Words> models;
  std::map<std::pair<Stage, uint32_t>, OfWorker> workers;
  std::map<uint64_t, std::pair<std::string, std::string>> names;  // by route
};

Totals AddAll(const Picture& picture);

// Of one model: what its golden requests have shown, by the lane that waits longest.
struct GoldenState {
  bool ready = true;
  std::optional<int64_t> age_ns;  // of the last right answer; none: there was none
};

struct GoldenStates {
  bool ready = false;                                                 // of every lane of ingress
  std::map<std::pair<std::string, std::string>, GoldenState> models;  // by name and version
};

GoldenStates ReadGolden(const Picture& picture, const Totals& totals, int64_t now_ns);

// Codes that are the server's to answer for: not the request's own faults, nor the client's going.
bool CountsForObjective(size_t code);

// Of the buckets behind a histogram's sum.
uint64_t CountOf(const uint64_t* histogram, size_t buckets);

Stage StageOf(uint32_t number);
std::string WorkerName(Stage stage, uint32_t index);

}  // namespace millrace
