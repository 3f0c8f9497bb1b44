// What models may take of each execution worker's memory, and what has to go for what comes.
//
// Purpose: `execution.memory_budget_mb`: whether a plan fits beside those that workers hold, and
//   under `evict_idle` which versions make room for it.
// Who may call: the thread that builds. Ownership: copies what it is told.
// Words: a version *costs* its plan and what each worker makes of it (the compiler's report).
// Workers
//   hold the plans of every catalog since the one that is settled: that no request in flight began
//   before it. So while a version takes another's place both count.
// Invariants:
//   1. Nothing is admitted that would make a worker hold more than the budget at any time of the
//      switch to it. A plan that they hold already costs nothing.
//   2. Evicted is only what was idle for so long, and what nobody needs (PlanUse), and no version
//   of
//      the model that comes: that one serves until then. What is idle longest goes first, and
//      nothing where it would not be enough.
//   3. Who else knows is asked only when something does not fit.
// What fails: Admit and MayLoad, RESOURCE_EXHAUSTED, with a sentence that names the version, its
//   need, the budget and who holds it.
#pragma once

#include <stdint.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace millrace {

using VersionName = std::pair<std::string, std::string>;  // model, version

struct BudgetRules {
  uint64_t bytes = 0;  // 0: no limit
  bool evict_idle = false;
  int64_t evict_after_ms = 0;
};

struct HeldPlan {
  VersionName name;
  uint64_t bytes = 0;
};

// What is known of versions outside of the builder.
struct PlanUse {
  uint64_t settled_generation = 0;
  std::map<VersionName, int64_t> idle_ms;  // those left out are not known to be idle
  std::set<VersionName> needed;            // routes, rollbacks and rollouts name them
};

// A file as it lies there; two that are equal hold the same.
struct FileStamp {
  uint64_t device = 0, inode = 0;
  int64_t size = 0, changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

class PlanBudget {
 public:
  // As it is now; waits, not for long, until this generation is settled.
  using AskUse = std::function<PlanUse(uint64_t generation)>;

  PlanBudget() = default;
  PlanBudget(BudgetRules rules, AskUse ask) : rules_(rules), ask_(std::move(ask)) {}

  const BudgetRules& rules() const { return rules_; }
  bool limited() const { return rules_.bytes > 0; }
  // The plans of a catalog that workers are sent, by route.
  void Published(uint64_t generation, std::map<uint32_t, HeldPlan> plans);
  // Workers hold nothing that only older ones have.
  void Settled(uint64_t generation);
  uint64_t newest_generation() const { return published_.empty() ? 0 : published_.back().first; }

 private:
  friend class BudgetedBuild;

  BudgetRules rules_;
  AskUse ask_;
  std::deque<std::pair<uint64_t, std::map<uint32_t, HeldPlan>>> published_;
  // What did not fit, and its cost: it is not compiled again only to be refused again.
  std::map<VersionName, std::pair<FileStamp, uint64_t>> refused_;
};

// The budget over one build of a catalog.
class BudgetedBuild {
 public:
  explicit BudgetedBuild(PlanBudget* budget);

  // Before anything is done for it: whether it can fit, as far as its cost is known.
  absl::Status MayLoad(const VersionName& name, const FileStamp& stamp);
  absl::Status Admit(uint32_t route, const HeldPlan& plan, const FileStamp& stamp);
  // Whether it was chosen to make room; it may be in no catalog from this one on.
  bool Evicts(const VersionName& name) const { return evicted_.count(name) > 0; }
  const std::set<VersionName>& evicted() const { return evicted_; }

 private:
  uint64_t Held() const;
  void TakeHeld();
  // Whether there is room for a version of `model`, or can be made; `go_on`: it is made, too.
  bool MakeRoom(const std::string& model, uint64_t bytes, bool go_on);
  absl::Status Refusal(const VersionName& name, uint64_t bytes) const;

  PlanBudget* const budget_;
  std::map<uint32_t, HeldPlan> held_;     // by workers, before this build
  std::map<uint32_t, HeldPlan> added_;    // by it
  std::optional<PlanUse> use_;            // once it was asked for
  std::set<VersionName> evicted_, kept_;  // kept: this build reads them
};

}  // namespace millrace
