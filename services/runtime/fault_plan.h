// Faults on purpose, as one stage meets them: the rules of the configuration at work.
//
// Purpose: the one place where a fault is made: delay, loss, error, crash, hang, no memory, wrong
//   output, lost device. Stages and ingress hold a pointer that is null without a plan, so that a
//   server without one pays a test of a pointer.
// Who may call: Make and Match any thread; the rest the lane's thread.
// Invariants:
//   1. Whether a rule befalls a request follows from seed, rule and the request's key alone: a run
//      with the same requests has the same faults, on whichever worker they land.
//   2. A rule with a header befalls only requests that asked for its name (FaultSubject::asked).
//   3. Each fault is counted (Counter::kInjected) before it does its work.
// What fails: nothing of its own; what it does is the fault.
#pragma once

#include <stdint.h>

#include <memory>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "common/config.h"
#include "common/fault_rule.h"
#include "ipc/catalog.pb.h"
#include "ipc/page.h"
#include "ipc/topology.h"
#include "services/runtime/route_table.h"

namespace millrace {

// What a rule is matched against.
struct FaultSubject {
  uint64_t key = 0;       // of the request, the same at every stage and attempt
  uint32_t asked = 0;     // FaultPlan::Asked of the name that it came with
  bool first = true;      // attempt
  uint32_t of_model = 0;  // rules whose model, if they name one, is this request's: OfRoute, OfName
};

class FaultPlan {
 public:
  // Null where there are no rules; for a worker also where none is of its stage.
  // `without_device`: device_lost has nothing to lose.
  static std::unique_ptr<FaultPlan> Make(const Config& config, Stage stage,
                                         bool without_device = false);

  // Sets of rules, a bit each.
  uint32_t Asked(std::string_view header) const;
  uint32_t OfName(std::string_view model) const;  // without those of one version
  uint32_t OfRoute(uint16_t route) const;

  // A new catalog: Match anywhere, Use on the lane's thread.
  using Models = RouteTable<const uint32_t>::Routes;
  Models Match(const Catalog& catalog) const;
  void Use(Models models) { models_.Use(std::move(models)); }

  // The rules of that kind, of this stage, that befall it.
  uint32_t Befalling(FaultKind kind, const FaultSubject& subject) const;
  bool Befalls(FaultKind kind, const FaultSubject& subject, Page* page) const;

  // Delay, crash, hang, lost device: whichever befall it, in this order.
  void BeforeWork(const FaultSubject& subject, size_t rows, Page* page) const;
  // Crash and hang alone, for a lane that makes its own delays.
  void CrashOrHang(const FaultSubject& subject, Page* page) const;
  // Turns over bits of the result in that pack of ours.
  static void Spoil(absl::Span<std::byte> pack);

  const FaultRule& rule(size_t i) const { return rules_[i]; }
  size_t size() const { return rules_.size(); }

 private:
  FaultPlan(std::vector<FaultRule> rules, uint64_t seed, Stage stage, bool without_device);
  uint32_t OfModel(const Model& model) const;
  bool Chosen(size_t rule, const FaultSubject& subject) const;
  void Delay(const FaultRule& rule, size_t rows) const;

  const std::vector<FaultRule> rules_;
  const uint64_t seed_;
  uint32_t here_ = 0;       // rules of this stage
  uint32_t any_model_ = 0;  // rules that name none
  RouteTable<const uint32_t> models_;
};

}  // namespace millrace
