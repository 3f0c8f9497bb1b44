// Fleet: warm spares. A spare is a process like any other, in a place behind the last that its
// stage can have; promoted, it changes places with what stands in the place that needs it.
#include <algorithm>
#include <set>
#include <utility>

#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr Stage kSpared = Stage::kExecution;
// From a promotion to the start of the next spare: first those are answered who had to wait.
constexpr int64_t kBehindNs = 100 * kNanosPerMilli;

bool Serves(const FleetProcess& process) {
  return process.state == ProcessState::kReady && process.condemned.empty();
}

}  // namespace

void Fleet::AddSpareSlots() {
  for (uint32_t i = 0; i < setup_.config.execution_spare; ++i) {
    // Nobody waits for it at the start.
    slots_[{kSpared, SpareIndex(kSpared, i)}].tried = true;
  }
}

// A spare is started when everything else serves: it takes no time from a start or a successor.
bool Fleet::SpareMayStart(Stage stage) const {
  if (!Ready()) return false;
  return std::all_of(slots_.begin(), slots_.end(), [&](const auto& entry) {
    const auto& [name, slot] = entry;
    if (name.first != stage || IsSpare(stage, name.second) || slot.leaving) return true;
    const auto found = processes_.find(slot.key);
    return found != processes_.end() && Serves(found->second);
  });
}

// Every link of its lanes is up, but for those with spares: nobody waits for one of these to serve.
bool Fleet::Linked(const FleetProcess& process) const {
  std::set<uint32_t> spares;
  for (const auto& [key, other] : processes_) {
    if (key != process.key && IsSpare(other.stage, other.index)) spares.insert(key);
  }
  return std::all_of(process.lanes.begin(), process.lanes.end(), [&](const FleetLane& lane) {
    return book_.Connected(lane.incarnation, spares);
  });
}

// One that can serve now: linked with those, too, who came after it, and able to answer what goes
// by the live catalog.
FleetProcess* Fleet::WarmSpare(Stage stage) {
  for (auto& [key, process] : processes_) {
    if (process.stage != stage || !IsSpare(stage, process.index) || !Serves(process)) continue;
    if (process.catalog_answered < live_generation_) continue;
    if (Linked(process)) return &process;
  }
  return nullptr;
}

// A spare that is wrong where another process is right is no spare. Where all are wrong it is the
// model's golden row that is, or the model, and ingress tells of it.
void Fleet::CheckSpare(FleetProcess* process, const KernelChoice& choice) {
  constexpr uint32_t kRight = 1, kWrong = 2;
  if (choice.golden() != kWrong || !IsSpare(process->stage, process->index)) return;
  for (const auto& [key, other] : processes_) {
    const auto known = other.kernels.find(choice.route());
    if (other.stage != process->stage || known == other.kernels.end()) continue;
    if (known->second.golden() == kRight) {
      process->condemned = "answers a golden row wrong that another process answers right";
    }
  }
}

// Each place of the stage that nobody serves from gets a warm spare, while there is one. What was
// there, if anything, is on its way up and becomes the spare.
void Fleet::PromoteSpares() {
  if (setup_.config.execution_spare == 0 || phase_ == FleetPhase::kStopping) return;
  for (auto& [name, slot] : slots_) {
    if (name.first != kSpared || IsSpare(kSpared, name.second) || slot.leaving) continue;
    FleetProcess* const there = Find(slot.key);
    if (there != nullptr && (Serves(*there) || there->told_to_end)) continue;
    if (there != nullptr && !there->condemned.empty()) continue;  // its death is counted here first
    FleetProcess* const spare = WarmSpare(kSpared);
    if (spare == nullptr) return;
    FleetSlot* const from = SlotOf(*spare);
    if (there != nullptr) there->index = spare->index;
    spare->index = name.second;
    std::swap(slot.key, from->key);
    std::swap(slot.bytes, from->bytes);
    slot.tried = true;
    // The next spare comes in the dead one's stead, as late and on the same device.
    from->start_at_ns = std::max(hands_->NowNs() + kBehindNs, slot.start_at_ns);
    from->device_losses = slot.device_losses;
    promotions_ += 1;
    Log(LogLevel::kInfo, "spare_promoted",
        {{"name", ProcessName(name.first, name.second)}, {"incarnation", spare->key}});
  }
}

}  // namespace millrace
