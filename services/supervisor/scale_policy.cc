#include "services/supervisor/scale_policy.h"

#include "absl/strings/str_cat.h"
#include "ipc/roster.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr uint64_t kIncarnations = 2;

uint64_t Megabytes(uint64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

}  // namespace

absl::Status CheckScale(const ScaleLook& look) {
  const StageRow& row = RowOf(look.stage);
  const std::string name(StageName(look.stage));
  if (!row.scalable) {
    return absl::InvalidArgumentError(
        "stage: only ingress, features, execution and aggregation "
        "can be scaled");
  }
  if (look.wanted < 1 || look.wanted > look.most) {
    return absl::InvalidArgumentError(absl::StrCat(
        "count: ", name, " has from 1 to ", look.most, " processes",
        look.most < row.max_processes ? " (ingress.max_workers)" : "", ", not ", look.wanted));
  }
  if (look.wanted <= look.now) return absl::OkStatus();
  const uint64_t added = look.wanted - look.now;
  const uint64_t lanes = look.lanes_of_all + added * look.lanes_each;
  if (lanes > kMaxLanes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("count: ", lanes, " lanes, and the roster holds ", kMaxLanes));
  }
  const uint64_t bytes =
      kIncarnations * (look.bytes_of_all + added * look.bytes_each) + look.plan_bytes;
  if (bytes > look.budget_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("count: needs ", Megabytes(bytes),
                     " MB of shared memory (two incarnations of each "
                     "process), and supervisor.memory_budget_mb is ",
                     Megabytes(look.budget_bytes)));
  }
  return absl::OkStatus();
}

}  // namespace millrace
