#include "services/ingress/core/model_breakers.h"

#include <algorithm>

namespace millrace {

ModelBreakers::Name ModelBreakers::NameOf(const ServedModel& model) {
  return {model.model->name(), model.model->version()};
}

absl::InlinedVector<std::map<ModelBreakers::Name, ModelBreakers::Breaker>::iterator, 2>
ModelBreakers::Of(const ServedModel& model) {
  absl::InlinedVector<std::map<Name, Breaker>::iterator, 2> found;
  const auto add = [&](const ServedModel& one) {
    const auto breaker = breakers_.find(NameOf(one));
    if (breaker != breakers_.end()) found.push_back(breaker);
  };
  add(model);
  for (const ServedModel* member : model.members) {
    if (member != &model) add(*member);
  }
  return found;
}

void ModelBreakers::Tell(const Name& name, const Breaker& breaker) {
  if (changed_) changed_({name.first, name.second, breaker.state, breaker.deaths.size()});
}

ModelBreakers::Verdict ModelBreakers::Admit(const ServedModel& model, int64_t now_ns) {
  Verdict verdict;
  const auto breakers = Of(model);
  for (const auto& at : breakers) {
    const Breaker& breaker = at->second;
    if (breaker.state == BreakerState::kClosed) continue;
    if (now_ns >= breaker.half_open_at_ns && !breaker.probing) continue;
    verdict.admitted = false;
    verdict.retry_after_ns =
        std::max({verdict.retry_after_ns, breaker.half_open_at_ns - now_ns, policy_.rest_ns / 10});
  }
  if (!verdict.admitted) return verdict;
  for (const auto& at : breakers) {
    Breaker& breaker = at->second;
    if (breaker.state == BreakerState::kClosed) continue;
    verdict.probe = breaker.probing = true;
    if (breaker.state == BreakerState::kHalfOpen) continue;
    breaker.state = BreakerState::kHalfOpen;
    Tell(at->first, breaker);
  }
  return verdict;
}

bool ModelBreakers::IsOpen(const ServedModel& model, int64_t now_ns) const {
  const auto open = [&](const ServedModel& one) {
    const auto breaker = breakers_.find(NameOf(one));
    return breaker != breakers_.end() && breaker->second.state != BreakerState::kClosed &&
           (breaker->second.probing || now_ns < breaker->second.half_open_at_ns);
  };
  return open(model) || std::any_of(model.members.begin(), model.members.end(),
                                    [&](const ServedModel* member) { return open(*member); });
}

void ModelBreakers::Answered(const ServedModel& model) {
  for (const auto& at : Of(model)) {
    Breaker& breaker = at->second;
    // An answer of before the storm proves nothing while the breaker rests.
    if (breaker.state == BreakerState::kOpen) continue;
    const bool told = breaker.state != BreakerState::kClosed;
    breaker.state = BreakerState::kClosed;
    breaker.deaths.clear();
    if (told) Tell(at->first, breaker);
    breakers_.erase(at);
  }
}

bool ModelBreakers::Died(const ServedModel& culprit, int64_t now_ns) {
  const auto [at, is_new] = breakers_.try_emplace(NameOf(culprit));
  Breaker& breaker = at->second;
  if (breaker.deaths.size() == policy_.intensity) breaker.deaths.pop_front();
  breaker.deaths.push_back(now_ns);
  while (breaker.deaths.front() < now_ns - policy_.period_ns) breaker.deaths.pop_front();
  const bool storm =
      breaker.deaths.size() >= policy_.intensity || breaker.state == BreakerState::kHalfOpen;
  if (!storm) return false;
  breaker.probing = false;
  const bool opened = breaker.state != BreakerState::kOpen;
  breaker.state = BreakerState::kOpen;
  breaker.half_open_at_ns = now_ns + policy_.rest_ns;
  if (opened) Tell(at->first, breaker);
  return true;
}

void ModelBreakers::GaveUp(const ServedModel& model) {
  for (const auto& at : Of(model)) at->second.probing = false;
}

}  // namespace millrace
