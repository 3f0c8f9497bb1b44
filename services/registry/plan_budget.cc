#include "services/registry/plan_budget.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace millrace {
namespace {

constexpr size_t kMostPublished = 16;  // kept apart; older ones are taken together
constexpr size_t kMostNamed = 8;       // in a sentence

std::string Megabytes(uint64_t bytes) {
  return absl::StrFormat("%.2f MB", static_cast<double>(bytes) / (1 << 20));
}

std::string Text(const VersionName& name) {
  return absl::StrCat("\"", name.first, "\" version ", name.second);
}

}  // namespace

void PlanBudget::Published(uint64_t generation, std::map<uint32_t, HeldPlan> plans) {
  if (!limited()) return;
  published_.emplace_back(generation, std::move(plans));
  if (published_.size() <= kMostPublished) return;
  published_[1].second.merge(published_[0].second);
  published_.pop_front();
}

void PlanBudget::Settled(uint64_t generation) {
  while (!published_.empty() && published_.front().first < generation) published_.pop_front();
}

BudgetedBuild::BudgetedBuild(PlanBudget* budget) : budget_(budget) { TakeHeld(); }

void BudgetedBuild::TakeHeld() {
  held_.clear();
  for (const auto& [generation, plans] : budget_->published_) {
    held_.insert(plans.begin(), plans.end());
  }
}

uint64_t BudgetedBuild::Held() const {
  uint64_t sum = 0;
  for (const auto& [route, plan] : held_) sum += Evicts(plan.name) ? 0 : plan.bytes;
  for (const auto& [route, plan] : added_) sum += Evicts(plan.name) ? 0 : plan.bytes;
  return sum;
}

absl::Status BudgetedBuild::MayLoad(const VersionName& name, const FileStamp& stamp) {
  kept_.insert(name);
  const auto refused = budget_->refused_.find(name);
  if (!budget_->limited() || refused == budget_->refused_.end()) return absl::OkStatus();
  const auto& [known, bytes] = refused->second;
  if (!(known == stamp) || MakeRoom(name.first, bytes, false)) return absl::OkStatus();
  return Refusal(name, bytes);
}

absl::Status BudgetedBuild::Admit(uint32_t route, const HeldPlan& plan, const FileStamp& stamp) {
  if (!budget_->limited() || held_.count(route) > 0) return absl::OkStatus();
  kept_.insert(plan.name);
  if (!MakeRoom(plan.name.first, plan.bytes, true)) {
    budget_->refused_[plan.name] = {stamp, plan.bytes};
    return Refusal(plan.name, plan.bytes);
  }
  budget_->refused_.erase(plan.name);
  added_[route] = plan;
  return absl::OkStatus();
}

bool BudgetedBuild::MakeRoom(const std::string& model, uint64_t bytes, bool go_on) {
  const BudgetRules& rules = budget_->rules_;
  if (Held() + bytes <= rules.bytes) return true;
  if (!use_.has_value() && budget_->ask_ != nullptr) {
    use_ = budget_->ask_(budget_->newest_generation());
    budget_->Settled(use_->settled_generation);
    TakeHeld();
  }
  if (Held() + bytes <= rules.bytes) return true;
  if (!rules.evict_idle || !use_.has_value()) return false;
  // By version: an older one of the same name may still be held, and goes by itself.
  std::map<VersionName, uint64_t> costs;
  for (const auto& [route, plan] : held_) costs[plan.name] += plan.bytes;
  std::vector<std::pair<int64_t, VersionName>> idle;
  for (const auto& [name, cost] : costs) {
    const auto known = use_->idle_ms.find(name);
    if (known == use_->idle_ms.end() || known->second < rules.evict_after_ms) continue;
    if (name.first == model || use_->needed.count(name) > 0 || kept_.count(name) > 0 ||
        Evicts(name))
      continue;
    idle.emplace_back(-known->second, name);
  }
  std::sort(idle.begin(), idle.end());
  std::set<VersionName> going;
  uint64_t held = Held();
  for (const auto& [negative, name] : idle) {
    if (held + bytes <= rules.bytes) break;
    going.insert(name);
    held -= costs[name];
  }
  if (held + bytes > rules.bytes) return false;
  if (go_on) evicted_.insert(going.begin(), going.end());
  return true;
}

absl::Status BudgetedBuild::Refusal(const VersionName& name, uint64_t bytes) const {
  std::vector<std::pair<uint64_t, VersionName>> holders;
  for (const std::map<uint32_t, HeldPlan>* plans : {&held_, &added_}) {
    for (const auto& [route, plan] : *plans) {
      if (!Evicts(plan.name)) holders.emplace_back(plan.bytes, plan.name);
    }
  }
  std::sort(holders.rbegin(), holders.rend());
  std::string held;
  for (size_t i = 0; i < std::min(holders.size(), kMostNamed); ++i) {
    absl::StrAppend(&held, i == 0 ? ": " : ", ", Text(holders[i].second), " (",
                    Megabytes(holders[i].first), ")");
  }
  if (holders.size() > kMostNamed) {
    absl::StrAppend(&held, " and ", holders.size() - kMostNamed, " more");
  }
  const BudgetRules& rules = budget_->rules_;
  return absl::ResourceExhaustedError(
      absl::StrCat("model ", Text(name), " needs ", Megabytes(bytes),
                   " in each execution worker; of execution.memory_budget_mb, ",
                   Megabytes(rules.bytes), ", ", Megabytes(Held()), " are held", held,
                   rules.evict_idle ? absl::StrCat("; what was idle for ", rules.evict_after_ms,
                                                   " ms and may go is too little")
                                    : ""));
}

}  // namespace millrace
