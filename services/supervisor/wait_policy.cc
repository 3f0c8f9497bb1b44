#include "services/supervisor/wait_policy.h"

#include <algorithm>

#include "common/check.h"
#include "common/config_schema.h"

namespace millrace {
namespace {

bool Meet(const CpuList& a, const CpuList& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](int cpu) { return std::binary_search(b.begin(), b.end(), cpu); });
}

// Whether it has a CPU for each lane that no other process may use.
bool OwnsCpus(const WaitProcess& process, const std::vector<WaitProcess>& all) {
  if (process.cpus.size() < process.lanes) return false;
  for (const WaitProcess& other : all) {
    if (&other != &process && Meet(other.cpus, process.cpus)) return false;
  }
  return true;
}

}  // namespace

std::optional<WaitMode> ForcedWait(std::string_view choice) {
  for (size_t i = 0; i < kWaitModeCount; ++i) {
    if (kWaitChoices[i + 1] == choice) return static_cast<WaitMode>(i);
  }
  return std::nullopt;
}

std::string_view WaitModeName(WaitMode mode) { return kWaitChoices[static_cast<size_t>(mode) + 1]; }

CpuList ShareOf(const CpuList& list, size_t index, size_t count) {
  MR_CHECK(index < count, "a worker is one of those counted");
  if (list.size() < count) return list;
  return CpuList(list.begin() + static_cast<ptrdiff_t>(index * list.size() / count),
                 list.begin() + static_cast<ptrdiff_t>((index + 1) * list.size() / count));
}

WaitPolicy::WaitPolicy(std::optional<WaitMode> forced, double cores)
    : forced_(forced), cores_(cores), modes_(AllWait(forced.value_or(WaitMode::kYield))) {}

bool WaitPolicy::Steady::Take(bool holds, int to_enter, int to_leave) {
  run = holds == on ? 0 : run + 1;
  if (run >= (on ? to_leave : to_enter)) {
    on = !on;
    run = 0;
  }
  return on;
}

WaitModes WaitPolicy::Decide(const LoadLook& look, const std::vector<WaitProcess>& processes) {
  if (forced_.has_value()) return modes_;
  const double share = look.foreign_cores / cores_;
  const bool hog = hog_.Take(share >= (hog_.on ? kNoHogShare : kHogShare), kSoon, kLate);
  bool shares[kStageCount] = {};
  size_t lanes = 0;
  double left = cores_ - look.foreign_cores;
  for (const WaitProcess& process : processes) {
    if (OwnsCpus(process, processes)) {
      left -= static_cast<double>(process.cpus.size());
    } else {
      shares[static_cast<size_t>(process.stage)] = true;
      lanes += process.lanes;
    }
  }
  const bool room = room_.Take(static_cast<double>(lanes + 1) <= left, kLate, kSoon);
  const WaitMode others = hog ? WaitMode::kPark : (room ? WaitMode::kSpin : WaitMode::kYield);
  modes_ = AllWait(others);
  for (const WaitProcess& process : processes) {
    const auto stage = static_cast<size_t>(process.stage);
    if (!shares[stage]) modes_[stage] = WaitMode::kSpin;
  }
  return modes_;
}

}  // namespace millrace
