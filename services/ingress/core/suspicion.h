// What a request is suspected of: the deaths of workers that were executing it.
//
// Purpose: tells a request that kills from one that was merely there. Who may call: the ingress
//   lane. Invariants:
//   1. The first death at a stage makes it a suspect there, no more: it is run alone from then on.
//   2. It is poison once a stage of which it is a suspect dies again while it executes nothing
//      else: by a fatal signal once, without one (killed from outside, which may be chance) twice.
//   3. Deaths at different stages are not added up: they have no cause in common but chance.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <array>

#include "absl/container/inlined_vector.h"
#include "ipc/topology.h"

namespace millrace {

struct WorkerDeath {
  Stage stage = Stage::kNone;
  uint32_t incarnation = 0;
  uint32_t reason = 0;  // a fatal signal, or kReasonDeviceLost; 0: killed from outside
};

class Suspicion {
 public:
  // A new request.
  void Clear() {
    deaths_.clear();
    alone_deaths_ = {};
    suspect_at_ = 0;
  }
  bool suspect() const { return suspect_at_ != 0; }
  const absl::InlinedVector<WorkerDeath, 4>& deaths() const { return deaths_; }

  // A worker died while it executed the request; `alone`: and no other. True: it is poison.
  bool Died(const WorkerDeath& death, bool alone) {
    const auto stage = static_cast<size_t>(death.stage) % kStageCount;
    deaths_.push_back(death);
    const bool again = (suspect_at_ >> stage & 1) != 0;
    suspect_at_ |= 1u << stage;
    if (!again || !alone) return false;
    return ++alone_deaths_[stage] >= (death.reason != 0 ? 1 : 2);
  }

 private:
  absl::InlinedVector<WorkerDeath, 4> deaths_;
  std::array<uint8_t, kStageCount> alone_deaths_ = {};
  uint32_t suspect_at_ = 0;  // 1 << stage
};

}  // namespace millrace
