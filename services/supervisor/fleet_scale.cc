// Fleet: how many processes a stage has, by hand and by policy.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/cpu_list.h"
#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/scale_policy.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr uint64_t kUnknownBytes = 64 << 20;  // of a stage nobody has announced for

// A look back in time, or over the life of another process, says nothing.
uint64_t Since(uint64_t before, uint64_t now) { return now > before ? now - before : 0; }

}  // namespace

void Fleet::MakeGovernors() {
  const Config& config = setup_.config;
  for (const StageRow& row : kStageRows) {
    if (row.most == nullptr || config.*row.most == 0) continue;
    size_t most = config.*row.most;
    if (config.scale_beyond_cpus != "true") {
      const absl::StatusOr<CpuList> own = ParseCpuList(config.*row.cpus);
      const size_t cpus = own.ok() && !own->empty() ? own->size() : setup_.cpus.size();
      const size_t least = config.*row.least;
      most = std::clamp(cpus, least, std::max(most, least));
    }
    ScaleBounds bounds;
    bounds.min = static_cast<uint32_t>(config.*row.least);
    bounds.max = static_cast<uint32_t>(most);
    bounds.target_ns = config.*row.queue_delay_us * kNanosPerMicro;
    bounds.up_after_ns = config.scale_up_after_ms * kNanosPerMilli;
    bounds.down_after_ns = config.scale_down_after_ms * kNanosPerMilli;
    scaling_.emplace(row.stage, Scaling{ScaleGovernor(bounds), false, {}, 0});
  }
}

// While something else moves, what the pages say is not what the stage will be like.
bool Fleet::HoldsScaling(Stage stage) const {
  if (!Ready() || live_generation_ != desk_.generation()) return true;
  if (storms_.states()[static_cast<size_t>(stage)] != StageBreaker::kClosed) return true;
  for (const auto& [key, process] : processes_) {
    if (process.stage != stage || IsSpare(stage, process.index)) continue;
    if (process.state != ProcessState::kReady) return true;
  }
  return std::any_of(slots_.begin(), slots_.end(), [&](const auto& entry) {
    return entry.first.first == stage && !IsSpare(stage, entry.first.second) &&
           (entry.second.key == 0 || entry.second.leaving);
  });
}

StageLoad Fleet::LoadOf(Stage stage) {
  Scaling& scaling = scaling_.at(stage);
  const int64_t now = hands_->NowNs();
  const int64_t elapsed = now - scaling.seen_ns;
  StageLoad load;
  load.processes = 0;
  double weights = 0, delays = 0;
  std::map<uint32_t, PageLook> seen;
  for (const auto& [key, process] : processes_) {
    if (process.stage != stage || IsSpare(stage, process.index)) continue;
    if (process.state != ProcessState::kReady) continue;
    load.processes += 1;
    for (const FleetLane& lane : process.lanes) {
      const std::optional<PageLook> look = hands_->Look(lane.incarnation);
      if (!look.has_value()) continue;
      seen[lane.incarnation] = *look;
      const auto before = scaling.seen.find(lane.incarnation);
      if (before == scaling.seen.end() || elapsed <= 0) continue;
      // The average is one of the past: it counts where something was taken, or waits, since.
      const auto weight =
          static_cast<double>(Since(before->second.taken, look->taken) + look->queue_depth);
      weights += weight;
      delays += weight * static_cast<double>(look->queue_delay_ns);
      load.busy += static_cast<double>(Since(before->second.busy_ns, look->busy_ns)) /
                   static_cast<double>(elapsed);
    }
  }
  load.delay_ns = weights > 0 ? static_cast<int64_t>(delays / weights) : 0;
  scaling.seen = std::move(seen);
  scaling.seen_ns = now;
  return load;
}

void Fleet::StepScaling() {
  for (auto& [stage, scaling] : scaling_) {
    StageLoad load = LoadOf(stage);
    load.held = scaling.pinned || HoldsScaling(stage);
    const uint32_t wanted = scaling.governor.Decide(load, hands_->NowNs());
    if (load.held || wanted == load.processes) continue;
    const absl::Status scaled = ScaleTo(stage, wanted, "policy");
    if (scaled.ok()) continue;
    Log(LogLevel::kWarning, "not_scaled",
        {{"stage", StageName(stage)}, {"to", wanted}, {"why", scaled.ToString()}});
  }
}

absl::Status Fleet::Scale(Stage stage, int64_t count) {
  const absl::Status scaled = ScaleTo(stage, count, "hand");
  const auto policy = scaling_.find(stage);
  if (!scaled.ok() || policy == scaling_.end()) return scaled;
  policy->second.pinned = true;
  StoreState();
  return scaled;
}

absl::Status Fleet::ScaleByPolicy(Stage stage) {
  const auto policy = scaling_.find(stage);
  if (policy == scaling_.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("stage: ", std::string(StageName(stage)),
                     " has no policy (max_workers of the configuration)"));
  }
  policy->second.pinned = false;
  StoreState();
  return absl::OkStatus();
}

absl::Status Fleet::ScaleTo(Stage stage, int64_t count, const char* by) {
  if (phase_ != FleetPhase::kRunning) return absl::UnavailableError("the server is stopping");
  ScaleLook look;
  look.stage = stage;
  look.wanted = count;
  look.most = MostProcesses(setup_.config, stage);
  look.lanes_each = static_cast<uint32_t>(LanesOf(stage).size());
  look.plan_bytes = desk_.plan_bytes();
  look.budget_bytes = static_cast<uint64_t>(setup_.config.memory_budget_mb) << 20;
  for (const auto& [name, slot] : slots_) {
    if (HasLanes(name.first)) look.lanes_of_all += LanesOf(name.first).size();
    look.bytes_of_all += slot.bytes;
    if (name.first != stage || IsSpare(stage, name.second)) continue;
    look.bytes_each = std::max(look.bytes_each, slot.bytes);
    look.now += slot.leaving ? 0 : 1;
    if (slot.leaving && name.second < count) {
      return absl::UnavailableError("count: a process of this stage is still leaving; try again");
    }
  }
  if (look.bytes_each == 0) look.bytes_each = kUnknownBytes;
  if (absl::Status s = CheckScale(look); !s.ok()) return s;
  for (int64_t i = look.now; i < count; ++i) {
    FleetSlot& slot = slots_[{stage, static_cast<uint32_t>(i)}];
    slot.bytes = look.bytes_each;
    slot.tried = true;
  }
  for (int64_t i = count; i < look.now; ++i) {
    const SlotName name = {stage, static_cast<uint32_t>(i)};
    FleetSlot& slot = slots_[name];
    slot.leaving = true;
    if (slot.key == 0) {
      slots_.erase(name);
    } else {
      BeginDrain(Find(slot.key));
    }
  }
  Log(LogLevel::kInfo, "scaled",
      {{"stage", StageName(stage)}, {"from", look.now}, {"to", count}, {"by", by}});
  Settle();
  return absl::OkStatus();
}

}  // namespace millrace
