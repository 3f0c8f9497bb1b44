// Finds the byte columns that a forest needs, and what each node asks of its column.
//
// Purpose: the step of ImageBuilder that turns thresholds and sets into edges, columns and tests.
//   See format.h for what a column's byte means.
// Who may call: one thread, in this order: an Add for every inner node, CloseEdges(), a Test for
//   every inner node, Finish(); then the sections and Resolve() may be read.
// Invariants:
//   1. Columns are shared: nodes with the same feature, treatment of the missing, and window of
//      edges (or set) ask the same column.
//   2. Edges of a feature are its distinct thresholds in rising order; 0.0 and -0.0 are one.
// Fails: Finish() is false beyond kMaxColumns.
#pragma once

#include <stdint.h>

#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "kernels/plan/format.h"

namespace millrace {

class ColumnBuilder {
 public:
  explicit ColumnBuilder(TreeFamily family) : family_(family) {}

  void AddNumeric(uint32_t feature, double threshold);
  // Categories of the set, a bit each; trailing zero words mean nothing.
  void AddSet(uint32_t feature, std::span<const uint32_t> words, bool default_left);

  // After the last Add and before the first Test.
  void CloseEdges();
  // What a node asks: a key that Resolve() turns into the column's number after Finish().
  struct Test {
    uint32_t column_key;
    uint8_t edge;
  };
  Test NumericTest(uint32_t feature, double threshold, Missing missing, bool default_left);
  Test SetTest(uint32_t feature, std::span<const uint32_t> words, bool default_left);

  bool Finish();
  uint32_t Resolve(uint32_t column_key) const { return final_[column_key]; }

  std::vector<PlanFeature> features;
  std::vector<PlanColumn> columns;
  std::vector<float> edges32;
  std::vector<double> edges64;
  std::vector<PlanWordRow> word_rows;
  std::vector<uint32_t> words;

 private:
  struct Set {
    std::vector<uint32_t> words;
    bool default_left;
    auto operator<=>(const Set&) const = default;
  };
  // feature, kind, first edge or number of the set, missing, default left
  using Key = std::tuple<uint32_t, uint8_t, uint32_t, uint8_t, bool>;

  Set MakeSet(std::span<const uint32_t> words, bool default_left) const;
  Missing SetMissing() const {
    return family_ == TreeFamily::kXgboost ? Missing::kNan : Missing::kNone;
  }
  uint32_t KeyOf(const Key& key);
  void LayOutSets(uint32_t feature, PlanFeature* out, const std::vector<uint32_t>& keys);
  void AppendEdges(uint32_t feature, PlanFeature* out);

  const TreeFamily family_;
  std::map<uint32_t, std::vector<double>> thresholds_;
  std::map<uint32_t, std::map<Set, uint32_t>> sets_;  // to its number
  std::map<Key, uint32_t> keys_;
  std::vector<uint32_t> final_;  // by column key
};

}  // namespace millrace
