// Fleet: memory of models: when workers may let go of older ones, and what the registry goes by.
#include <algorithm>

#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr int kTicksAUse = 20;  // once a second

}  // namespace

// Workers hold two catalogs only as long as somebody may ask by the older one.
void Fleet::TellSettled() {
  if (live_generation_ <= settled_generation_ || !Settled()) return TellWorkersSettled();
  settled_generation_ = live_generation_;
  TellWorkersSettled();
  TellUse();
}

void Fleet::TellWorkersSettled() {
  if (settled_generation_ != desk_.generation()) return;
  for (auto& [key, process] : processes_) {
    if (process.stage != Stage::kExecution || !RowOf(process.state).links) continue;
    if (process.told_live >= settled_generation_) continue;
    if (process.catalog_answered < settled_generation_) continue;
    process.told_live = settled_generation_;
    ToProcess message;
    message.mutable_catalog_live()->set_generation(settled_generation_);
    Send(&process, message);
  }
}

void Fleet::LookAtUse() {
  if (setup_.config.execution_budget_mb == 0 || ++ticks_of_use_ % kTicksAUse != 0) return;
  if (setup_.config.over_budget == "evict_idle") {
    idle_.Look(desk_.catalog(), carry_, IngressPages(), hands_->NowNs());
  }
  TellUse();
}

void Fleet::TellUse() {
  if (setup_.config.execution_budget_mb == 0) return;
  ToProcess message;
  ModelUse* const use = message.mutable_model_use();
  use->set_settled_generation(settled_generation_);
  idle_.AddTo(use, hands_->NowNs());
  for (auto& [key, process] : processes_) {
    if (process.stage == Stage::kRegistry && process.state == ProcessState::kReady) {
      Send(&process, message);
    }
  }
}

std::vector<const Page*> Fleet::IngressPages() const {
  std::vector<const Page*> pages;
  for (const auto& [key, process] : processes_) {
    if (process.stage != Stage::kIngress) continue;
    for (const FleetLane& lane : process.lanes) {
      if (const Page* page = hands_->PageOf(lane.incarnation)) pages.push_back(page);
    }
  }
  return pages;
}

ModelMemory Fleet::memory() const {
  ModelMemory memory;
  memory.budget_bytes = static_cast<uint64_t>(setup_.config.execution_budget_mb) << 20;
  memory.device_budget_bytes = static_cast<uint64_t>(setup_.config.execution_device_budget_mb)
                               << 20;
  for (const Model& model : desk_.catalog().models()) {
    memory.bytes += model.plan_bytes() + model.worker_bytes();
  }
  for (const auto& [key, process] : processes_) {
    uint64_t device = 0;
    for (const auto& [route, choice] : process.kernels) device += choice.device_bytes();
    memory.device_bytes = std::max(memory.device_bytes, device);
  }
  memory.evicted = static_cast<uint32_t>(desk_.catalog().evicted_size());
  return memory;
}

}  // namespace millrace
