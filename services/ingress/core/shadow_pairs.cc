#include "services/ingress/core/shadow_pairs.h"

#include "common/check.h"

namespace millrace {

ShadowPairs::ShadowPairs() : pairs_(kMost), sides_(kMost) {
  for (size_t i = kMost; i-- > 0;) {
    sides_[i].owner = this;
    sides_[i].pair = static_cast<uint8_t>(i);
    free_.push_back(static_cast<uint8_t>(i));
  }
}

uint8_t ShadowPairs::Begin(ModelStatsWords* stats, ScoreScale scale) {
  MR_CHECK(!free_.empty(), "who begins a pair has looked whether there is one");
  const uint8_t at = free_.back();
  free_.pop_back();
  Pair& pair = pairs_[at];
  pair.stats = stats;
  pair.scale = scale;
  pair.client.there = pair.shadow.there = false;
  return at;
}

bool ShadowPairs::Sent(uint8_t at) {
  Pair& pair = pairs_[at];
  if (!pair.shadow.there) {
    pair.stats->Add(StatsSum::kShadowed, 1);
    return true;
  }
  free_.push_back(at);
  return false;
}

void ShadowPairs::Side::Done(const InferAnswer& answer) {
  Keep(&answer, &owner->pairs_[pair].shadow);
  owner->StepPair(pair);
}

void ShadowPairs::ClientSide(uint8_t pair, const InferAnswer* answer) {
  Keep(answer, &pairs_[pair].client);
  StepPair(pair);
}

void ShadowPairs::Keep(const InferAnswer* answer, Kept* kept) {
  MR_CHECK(!kept->there, "each side answers once");
  kept->there = true;
  kept->ok = answer != nullptr && answer->status.ok();
  kept->whole = kept->ok;
  kept->count = 0;
  kept->data.clear();
  if (!kept->ok) return;
  size_t bytes = 0;
  for (const TensorView& output : answer->outputs) bytes += output.raw.size();
  if (bytes > kMostBytes) {
    kept->whole = false;
    return;
  }
  for (const TensorView& output : answer->outputs) {
    if (kept->count == kept->tensors.size()) kept->tensors.emplace_back();
    Kept::Tensor& tensor = kept->tensors[kept->count++];
    tensor.name = output.name;
    tensor.datatype = output.datatype;
    tensor.shape.assign(output.shape.begin(), output.shape.end());
    tensor.offset = kept->data.size();
    tensor.bytes = output.raw.size();
    kept->data.append(output.raw);
  }
}

void ShadowPairs::ViewsOf(const Kept& kept, std::vector<TensorView>* views) {
  views->clear();
  for (size_t i = 0; i < kept.count; ++i) {
    const Kept::Tensor& tensor = kept.tensors[i];
    views->push_back({tensor.name, tensor.datatype, tensor.shape,
                      std::string_view(kept.data).substr(tensor.offset, tensor.bytes)});
  }
}

void ShadowPairs::StepPair(uint8_t at) {
  Pair& pair = pairs_[at];
  if (!pair.client.there || !pair.shadow.there) return;
  if (pair.client.ok && !pair.shadow.ok) pair.stats->Add(StatsSum::kShadowFailed, 1);
  if (pair.client.whole && pair.shadow.whole) {
    ViewsOf(pair.client, &client_views_);
    ViewsOf(pair.shadow, &shadow_views_);
    const Comparison found = CompareOutputs(client_views_, shadow_views_, pair.scale);
    pair.stats->Add(StatsSum::kCompared, found.rows);
    pair.stats->Add(StatsSum::kChanged, found.changed);
    pair.stats->Add(StatsSum::kCosineLossPpm, found.cosine_loss_ppm);
    pair.stats->Add(StatsSum::kRankLossPpm, found.rank_loss_ppm);
    pair.stats->Add(StatsSum::kRanked, found.ranked);
  }
  free_.push_back(at);
}

}  // namespace millrace
