// Fleet: on which CPUs a process runs, and how its lanes wait.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {

void Fleet::TakeLoad() {
  ticks_to_load_ = kTicksALoad;
  const std::optional<LoadLook> look = hands_->SampleLoad();
  if (!look.has_value()) return;
  load_ = look;
  std::vector<WaitProcess> processes;
  for (const auto& [key, process] : processes_) {
    if (!HasLanes(process.stage) || process.state == ProcessState::kDying) continue;
    if (IsSpare(process.stage, process.index)) continue;  // it sleeps
    processes.push_back(
        {process.stage, process.lanes.size(), process.cpus.empty() ? setup_.cpus : process.cpus});
  }
  const WaitModes before = wait_.modes();
  const WaitModes now = wait_.Decide(*look, processes);
  for (const StageRow& row : kStageRows) {
    const auto stage = static_cast<size_t>(row.stage);
    if (!HasLanes(row.stage) || now[stage] == before[stage]) continue;
    Log(LogLevel::kInfo, "wait_mode",
        {{"stage", StageName(row.stage)},
         {"mode", WaitModeName(now[stage])},
         {"foreign_cores", absl::StrCat(look->foreign_cores)}});
  }
}

CpuList Fleet::CpusFor(Stage stage, uint32_t index) const {
  std::string Config::*const field = RowOf(stage).cpus;
  if (field == nullptr) return {};
  const absl::StatusOr<CpuList> list = ParseCpuList(setup_.config.*field);
  MR_CHECK(list.ok(), "the configuration was checked");
  if (IsSpare(stage, index)) return *list;  // whose place it takes is not known
  size_t count = index + 1;
  for (const auto& [name, slot] : slots_) {
    if (name.first == stage && !IsSpare(stage, name.second))
      count = std::max<size_t>(count, name.second + 1);
  }
  return ShareOf(*list, index, count);
}

}  // namespace millrace
