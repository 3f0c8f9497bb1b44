#include "services/supervisor/stats_carry.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr size_t kCounters = static_cast<size_t>(Counter::kCount);

template <typename From>
void AddUp(const From& from, size_t most, std::vector<uint64_t>* to) {
  if (to->size() < most) to->resize(most);
  const size_t count = std::min(most, static_cast<size_t>(from.size()));
  for (size_t i = 0; i < count; ++i) (*to)[i] += from[static_cast<int>(i)];
}

}  // namespace

std::vector<uint64_t>& StatsCarry::WordsOf(uint32_t stage, const std::string& model,
                                           const std::string& version) {
  const Model key = {stage, model, version};
  const bool room = models_.size() < kMaxModels || models_.count(key) > 0;
  std::vector<uint64_t>& words = models_[room ? key : Model(stage, "", "")];
  words.resize(kStatsWords);
  return words;
}

bool StatsCarry::Add(Stage stage, uint32_t index, uint32_t incarnation, const Page& page) {
  if (std::find(added_.begin(), added_.end(), incarnation) != added_.end()) return false;
  if (added_.size() == kMostRemembered) added_.pop_front();
  added_.push_back(incarnation);
  const auto number = static_cast<uint32_t>(stage);
  std::vector<uint64_t>& counters = processes_[{number, index}].counters;
  counters.resize(kCounters);
  for (size_t i = 0; i < kCounters; ++i) {
    if (!IsGauge(static_cast<Counter>(i))) counters[i] += page.Get(static_cast<Counter>(i));
  }
  for (const ModelStats& model : ReadModelStats(page.stats)) {
    AddUp(model.words, kStatsWords, &WordsOf(number, model.model, model.version));
  }
  ++version_;
  return true;
}

void StatsCarry::CountEnd(Stage stage, uint32_t index) {
  processes_[{static_cast<uint32_t>(stage), index}].ends += 1;
  ++version_;
}

const std::vector<uint64_t>* StatsCarry::Find(Stage stage, const std::string& model,
                                              const std::string& version) const {
  const auto found = models_.find({static_cast<uint32_t>(stage), model, version});
  return found == models_.end() ? nullptr : &found->second;
}

StatsSums StatsCarry::Snapshot() const {
  StatsSums sums;
  sums.set_layout(kPageType.layout_hash);
  for (const auto& [place, process] : processes_) {
    ProcessSums* one = sums.add_processes();
    one->set_stage(place.first);
    one->set_index(place.second);
    one->mutable_counters()->Add(process.counters.begin(), process.counters.end());
    one->set_ends(process.ends);
  }
  for (const auto& [key, words] : models_) {
    ModelSums* one = sums.add_models();
    one->set_stage(std::get<0>(key));
    one->set_model(std::get<1>(key));
    one->set_version(std::get<2>(key));
    one->mutable_words()->Add(words.begin(), words.end());
  }
  sums.mutable_incarnations()->Add(added_.begin(), added_.end());
  return sums;
}

void StatsCarry::GoOnFrom(const StatsSums& sums) {
  if (sums.layout() != kPageType.layout_hash) return;
  for (const ProcessSums& one : sums.processes()) {
    OfProcess& process = processes_[{one.stage(), one.index()}];
    AddUp(one.counters(), kCounters, &process.counters);
    process.ends += one.ends();
  }
  for (const ModelSums& one : sums.models()) {
    AddUp(one.words(), kStatsWords, &WordsOf(one.stage(), one.model(), one.version()));
  }
  added_.assign(sums.incarnations().begin(), sums.incarnations().end());
  ++version_;
}

}  // namespace millrace
