#include "kernels/plan/column_builder.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/check.h"

namespace millrace {
namespace {

// The greatest float that is not above x: for a float row, y <= x exactly when y <= this.
float RoundDown(double x) {
  const auto rounded = static_cast<float>(x);
  if (static_cast<double>(rounded) <= x) return rounded;
  return std::nextafter(rounded, -std::numeric_limits<float>::infinity());
}

}  // namespace

void ColumnBuilder::AddNumeric(uint32_t feature, double threshold) {
  thresholds_[feature].push_back(threshold);
}

ColumnBuilder::Set ColumnBuilder::MakeSet(std::span<const uint32_t> words,
                                          bool default_left) const {
  while (!words.empty() && words.back() == 0) words = words.first(words.size() - 1);
  // LightGBM's sets know nothing of the missing: it is in none of them.
  return {.words = {words.begin(), words.end()},
          .default_left = family_ == TreeFamily::kXgboost && default_left};
}

void ColumnBuilder::AddSet(uint32_t feature, std::span<const uint32_t> words, bool default_left) {
  auto& sets = sets_[feature];
  sets.try_emplace(MakeSet(words, default_left), static_cast<uint32_t>(sets.size()));
}

void ColumnBuilder::CloseEdges() {
  for (auto& [feature, values] : thresholds_) {
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
  }
}

uint32_t ColumnBuilder::KeyOf(const Key& key) {
  return keys_.try_emplace(key, static_cast<uint32_t>(keys_.size())).first->second;
}

ColumnBuilder::Test ColumnBuilder::NumericTest(uint32_t feature, double threshold, Missing missing,
                                               bool default_left) {
  const std::vector<double>& edges = thresholds_[feature];
  const auto at = std::lower_bound(edges.begin(), edges.end(), threshold);
  MR_CHECK(at != edges.end() && *at == threshold, "every threshold was added");
  const auto edge = static_cast<uint32_t>(at - edges.begin());
  const uint32_t first = edge - edge % kEdgesInColumn;
  // Where nothing is missing, there is no side for it.
  const bool left = missing != Missing::kNone && default_left;
  return {.column_key = KeyOf({feature, static_cast<uint8_t>(ColumnKind::kNumeric), first,
                               static_cast<uint8_t>(missing), left}),
          .edge = static_cast<uint8_t>(edge - first)};
}

ColumnBuilder::Test ColumnBuilder::SetTest(uint32_t feature, std::span<const uint32_t> words,
                                           bool default_left) {
  const auto& sets = sets_[feature];
  const auto at = sets.find(MakeSet(words, default_left));
  MR_CHECK(at != sets.end(), "every set was added");
  return {.column_key = KeyOf({feature, static_cast<uint8_t>(ColumnKind::kSet), at->second,
                               static_cast<uint8_t>(SetMissing()), at->first.default_left}),
          .edge = 0};
}

void ColumnBuilder::AppendEdges(uint32_t feature, PlanFeature* out) {
  const auto at = thresholds_.find(feature);
  out->first_edge = static_cast<uint32_t>(edges32.size());
  if (at == thresholds_.end()) return;
  out->edge_count = static_cast<uint32_t>(at->second.size());
  for (const double edge : at->second) {
    edges32.push_back(RoundDown(edge));
    if (family_ == TreeFamily::kLightgbm) edges64.push_back(edge);
  }
}

// Columns and words of the feature's sets; `keys` are the columns' keys by number of the set.
void ColumnBuilder::LayOutSets(uint32_t feature, PlanFeature* out,
                               const std::vector<uint32_t>& keys) {
  out->first_row = static_cast<uint32_t>(word_rows.size());
  out->set_columns = static_cast<uint32_t>(keys.size());
  if (keys.empty()) return;
  std::vector<std::pair<const Set*, uint32_t>> order;  // with the key
  for (const auto& [set, number] : sets_[feature]) order.emplace_back(&set, keys[number]);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.first->words.size() > b.first->words.size();
  });
  uint32_t number = 0;
  for (const auto& [set, key] : order) {
    final_[key] = static_cast<uint32_t>(columns.size());
    columns.push_back({.entry = static_cast<uint32_t>(features.size()),
                       .first = number++,
                       .kind = ColumnKind::kSet,
                       .missing = SetMissing(),
                       .default_left = set->default_left,
                       .reserved = 0});
  }
  out->row_count = static_cast<uint32_t>(order.front().first->words.size());
  for (size_t w = 0; w < out->row_count; ++w) {
    PlanWordRow row = {.first_word = static_cast<uint32_t>(words.size()), .count = 0};
    for (; row.count < order.size() && order[row.count].first->words.size() > w; ++row.count) {
      words.push_back(order[row.count].first->words[w]);
    }
    word_rows.push_back(row);
  }
}

bool ColumnBuilder::Finish() {
  if (keys_.size() > kMaxColumns) return false;
  final_.resize(keys_.size());
  // keys_ is ordered by feature, then numeric columns before sets.
  for (auto at = keys_.begin(); at != keys_.end();) {
    PlanFeature feature = {};
    feature.feature = std::get<0>(at->first);
    feature.first_column = static_cast<uint32_t>(columns.size());
    AppendEdges(feature.feature, &feature);
    std::vector<uint32_t> set_keys;
    for (; at != keys_.end() && std::get<0>(at->first) == feature.feature; ++at) {
      const auto& [f, kind, first, missing, left] = at->first;
      if (kind == static_cast<uint8_t>(ColumnKind::kSet)) {
        set_keys.push_back(at->second);  // in the order of their numbers
        continue;
      }
      final_[at->second] = static_cast<uint32_t>(columns.size());
      columns.push_back({.entry = static_cast<uint32_t>(features.size()),
                         .first = feature.first_edge + first,
                         .kind = ColumnKind::kNumeric,
                         .missing = static_cast<Missing>(missing),
                         .default_left = left,
                         .reserved = 0});
      ++feature.numeric_columns;
    }
    LayOutSets(feature.feature, &feature, set_keys);
    features.push_back(feature);
  }
  return true;
}

}  // namespace millrace
