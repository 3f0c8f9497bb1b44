// Breakers against models that kill workers: a storm of deaths is ended for its model alone.
//
// Purpose: a death whose page named requests of a model is that model's. After `intensity` of them
//   within `period` without an answer of the model in between, its breaker opens: requests for it,
//   and for ensembles it is a member of, are refused, and everything else goes on. After `rest` one
//   request is let through, alone; its answer closes the breaker, a death opens it again.
// Who may call: the ingress lane; time is handed in. Ownership: names are copied.
// Invariants:
//   1. A model that answers between deaths is never shut out: those deaths end other incarnations
//      than ones that died before they answered.
//   2. One death counts once for a model, however many of its requests were executed.
//   3. Half open, one request at a time is a probe; whoever was admitted as one ends it with
//      Answered, Died or GaveUp. A golden request is as good a probe as a client's.
//   4. `troubled` is false as long as nothing is counted or open: the path of requests looks at
//      nothing else.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "services/ingress/core/model_table.h"

namespace millrace {

enum class BreakerState : uint8_t { kClosed, kOpen, kHalfOpen };

struct BreakerPolicy {
  size_t intensity = 5;  // deaths
  int64_t period_ns = 0;
  int64_t rest_ns = 0;  // from opening to the probe
};

struct BreakerChange {
  std::string model;
  std::string version;
  BreakerState state = BreakerState::kClosed;
  size_t deaths = 0;  // that count now
};

class ModelBreakers {
 public:
  struct Verdict {
    bool admitted = true;
    bool probe = false;          // it decides over the breaker: send it alone
    int64_t retry_after_ns = 0;  // where it is not admitted
  };

  explicit ModelBreakers(BreakerPolicy policy,
                         std::function<void(const BreakerChange&)> changed = nullptr)
      : policy_(policy), changed_(std::move(changed)) {}

  bool troubled() const { return !breakers_.empty(); }

  Verdict Admit(const ServedModel& model, int64_t now_ns);
  // Whether Admit would refuse it now.
  bool IsOpen(const ServedModel& model, int64_t now_ns) const;
  void Answered(const ServedModel& model);
  // True where the breaker opened: what waits for the model shall not be sent.
  bool Died(const ServedModel& culprit, int64_t now_ns);
  // A probe ended and proved nothing (cancelled, expired, refused).
  void GaveUp(const ServedModel& model);

 private:
  using Name = std::pair<std::string, std::string>;  // model, version
  struct Breaker {
    BreakerState state = BreakerState::kClosed;
    std::deque<int64_t> deaths;  // at most `intensity`
    int64_t half_open_at_ns = 0;
    bool probing = false;
  };
  // The breakers that a request for it would meet: of the model, and of its members.
  absl::InlinedVector<std::map<Name, Breaker>::iterator, 2> Of(const ServedModel& model);
  static Name NameOf(const ServedModel& model);
  void Tell(const Name& name, const Breaker& breaker);

  const BreakerPolicy policy_;
  const std::function<void(const BreakerChange&)> changed_;
  std::map<Name, Breaker> breakers_;  // of models in trouble
};

}  // namespace millrace
