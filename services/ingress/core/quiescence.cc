#include "services/ingress/core/quiescence.h"

#include <algorithm>

namespace millrace {

std::optional<uint32_t> Quiescence::Step(absl::Span<const WorkerAnswer> workers,
                                         std::vector<WindowUse>* freed) {
  if (stage_at_ == kOrder.size()) {
    if (next_.empty()) return std::nullopt;
    round_.swap(next_);
    stage_at_ = 0;
    return ++epoch_;
  }
  const Stage stage = kOrder[stage_at_];
  for (const WorkerAnswer& worker : workers) {
    // Epochs are compared by distance, so that they may wrap.
    if (worker.stage == stage && static_cast<int32_t>(worker.epoch - epoch_) < 0) {
      return std::nullopt;
    }
  }
  std::erase_if(round_, [&](const WindowUse& use) {
    if (use.stage != stage) return false;
    freed->push_back(use);
    return true;
  });
  ++stage_at_;
  if (stage_at_ == kOrder.size()) return std::nullopt;
  return ++epoch_;
}

}  // namespace millrace
