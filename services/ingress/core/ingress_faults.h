// Faults on purpose in an ingress lane: before a request is admitted, and between that and sending.
//
// Purpose: what services/runtime/fault_plan.h is to a worker. Also gives each request its key and
//   the rules that it asks for, which travel in the ledger. Who may call: the ingress lane.
// Ownership: owns the plan. Invariants: 1. a request that is held is in flight: it can be
// cancelled,
//   expires, and is given to `go` once at the most. 2. No rule holds more than its max_active.
// Nothing fails but what shall.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "services/ingress/frontend.h"
#include "services/runtime/fault_plan.h"

namespace millrace {

struct FaultVerdict {
  uint64_t key = 0;
  uint32_t asked = 0;
  absl::Status status;        // not OK: answer so at once
  int64_t hold_until_ns = 0;  // not 0: send it then; INT64_MAX: never
  uint32_t rule = 0;          // that holds it
};

class IngressFaults {
 public:
  // Null without a plan.
  static std::unique_ptr<IngressFaults> Make(const Config& config);

  FaultVerdict Meet(const InferRequest& request, int64_t now_ns, Page* page);
  void Hold(uint16_t slot, uint32_t sequence, const FaultVerdict& verdict);
  // Calls go(slot) for each that has been held for long enough; is_there(slot, sequence): whether
  // it is still in flight.
  template <typename IsThere, typename Go>
  void Release(int64_t now_ns, IsThere is_there, Go go) {
    for (size_t i = 0; i < held_.size();) {
      const Held held = held_[i];
      const bool there = is_there(held.slot, held.sequence);
      if (there && held.until_ns > now_ns) {
        ++i;
        continue;
      }
      held_[i] = held_.back();
      held_.pop_back();
      --active_[held.rule];
      if (there) go(held.slot);
    }
  }

 private:
  struct Held {
    uint16_t slot;
    uint32_t sequence;
    uint32_t rule;
    int64_t until_ns;
  };
  explicit IngressFaults(std::unique_ptr<FaultPlan> plan);
  // A rule of that kind that befalls it and has room; -1: none.
  int Holder(FaultKind kind, const FaultSubject& subject) const;

  std::unique_ptr<FaultPlan> plan_;
  std::vector<int64_t> active_;  // by rule
  std::vector<Held> held_;
  uint64_t requests_ = 0;  // the key of one without an id
};

}  // namespace millrace
