// Models whose answers are a hash of the input and of the model's version, and what they cost.
//
// Purpose: a wrong, stale or foreign answer cannot be right by chance; running a batch takes time
// of
//   the world, in which the lane can be killed.
// Who may call: the simulation's one thread. Ownership: a kernel holds its salt alone.
// Invariants: 1. an answer depends on the salt and the row alone. 2. The hooks are asked before
//   anything is written. What fails: OpenPlan for bytes that are not PlanBytes.
#pragma once

#include <stdint.h>

#include <string>

#include "kernels/kernel.h"

namespace millrace::sim {

// In [0, 1), with 20 bits: sums of two are exact.
float AnswerOf(uint64_t salt, float x);

// A request that is poison has negative inputs: whoever runs it dies.
inline bool IsPoison(float x) { return x < 0; }

std::string PlanBytes(uint64_t salt);

class RunHooks {
 public:
  virtual ~RunHooks() = default;
  // A lane runs a batch of so many rows. `poisoned`: one of them is poison.
  virtual void OnRun(size_t rows, bool poisoned) = 0;
};

class SimBackend : public KernelBackend {
 public:
  explicit SimBackend(RunHooks* hooks) : hooks_(hooks) {}
  std::string_view name() const override { return "simulated"; }
  absl::StatusOr<std::unique_ptr<Kernel>> OpenPlan(absl::Span<const std::byte> plan) const override;

 private:
  RunHooks* const hooks_;
};

}  // namespace millrace::sim
