// Writing a lane's statistics, and reading anybody's.
//
// Purpose: StatsWriter finds the slot of a route; ReadModelStats takes a copy of what a page holds.
// Who may call: StatsWriter its lane's thread; ReadModelStats any thread.
// Ownership: the page outlives the writer. Invariants:
//   1. Of(route) costs one look into a table and never fails: a route without a slot is slot 0's.
//   2. Name and NameRoutes take memory and are for the moment when a catalog is taken up. A version
//      that was named before has its slot again, whatever its route.
//   3. A copy holds each slot in use once; names are text that can be shown (UTF-8 without control
//      characters, else '?'), whatever stands in the page.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipc/stats_words.h"

namespace millrace {

class StatsWriter {
 public:
  explicit StatsWriter(StatsWords* words);

  void Name(uint32_t route, std::string_view model, std::string_view version);
  ModelStatsWords& Of(uint16_t route) { return words_->models[slot_of_route_[route]]; }
  // Of requests for a model that is not served.
  ModelStatsWords& Unknown() { return words_->models[0]; }

 private:
  StatsWords* const words_;
  std::vector<uint8_t> slot_of_route_;  // by route
  std::map<std::pair<std::string, std::string>, uint8_t> slots_;
  size_t used_ = 1;
};

// One slot, copied.
struct ModelStats {
  std::string model, version;  // empty: slot 0
  uint64_t route = 0;
  std::vector<uint64_t> words;  // kStatsWords of them

  uint64_t code(size_t c) const { return words[StatsCodeAt(c)]; }
  uint64_t sum(StatsSum s) const { return words[StatsSumAt(s)]; }
};

// What a slot is named; empty: slot 0, or one that is not in use.
struct ModelName {
  std::string model, version;
};
ModelName ReadModelName(const StatsWords& words, size_t slot);

std::vector<ModelStats> ReadModelStats(const StatsWords& words);

// The text, with '?' for what cannot be shown.
std::string ShownText(std::string_view text);

}  // namespace millrace
