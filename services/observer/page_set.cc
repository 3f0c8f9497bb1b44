#include "services/observer/page_set.h"

#include <unistd.h>

#include <algorithm>

#include "common/log.h"
#include "ipc/memfd.h"

namespace millrace {
namespace {

constexpr size_t kMaxSumsBytes = 64 << 20;

std::shared_ptr<const StatsSums> ReadSums(const Fd& fd) {
  auto sums = std::make_shared<StatsSums>();
  const auto map = MapImmutable(fd.get(), kMaxSumsBytes);
  const bool read =
      map.ok() && sums->ParseFromArray(map->get_address(), static_cast<int>(map->get_size()));
  if (read && sums->layout() == kPageType.layout_hash) return sums;
  Log(LogLevel::kError, "sums_refused", {{"why", map.status().ToString()}});
  return nullptr;
}

}  // namespace

void PageSet::Observe(const millrace::Observe& message, const std::vector<Fd>& fds) {
  const auto lanes = static_cast<size_t>(message.lanes_size());
  if (fds.size() != lanes + (message.has_sums() ? 1 : 0)) return;
  const Picture before = Take();
  Picture next = before;
  next.lanes.clear();
  for (size_t i = 0; i < lanes; ++i) {
    const LaneName& name = message.lanes(static_cast<int>(i));
    ObservedLane lane;
    lane.stage = name.stage() < kStageCount ? static_cast<Stage>(name.stage()) : Stage::kNone;
    lane.index = name.index();
    lane.lane = name.lane();
    lane.incarnation = name.incarnation();
    const auto known = std::find_if(
        before.lanes.begin(), before.lanes.end(),
        [&](const ObservedLane& other) { return other.incarnation == lane.incarnation; });
    if (known != before.lanes.end()) {
      lane.region = known->region;
    } else {
      absl::StatusOr<Region> region =
          Region::Open(fds[i].get(), kPageType, lane.incarnation, sizeof(Page));
      if (!region.ok()) {
        ++next.refused;
        Log(LogLevel::kWarning, "page_refused",
            {{"incarnation", lane.incarnation}, {"why", region.status().ToString()}});
        continue;
      }
      lane.region = std::make_shared<const Region>(std::move(*region));
    }
    next.lanes.push_back(std::move(lane));
  }
  if (message.has_sums()) {
    if (auto sums = ReadSums(fds.back())) next.sums = std::move(sums);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  next.view = picture_.view;
  next.view_at_ns = picture_.view_at_ns;
  picture_ = std::move(next);
}

void PageSet::View(const FleetView& view, int64_t now_ns) {
  std::lock_guard<std::mutex> lock(mutex_);
  picture_.view = view;
  picture_.view_at_ns = now_ns;
}

Picture PageSet::Take() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return picture_;
}

std::string OwnIncarnation(const Picture& picture) {
  for (const FleetView::Process& process : picture.view.processes()) {
    if (process.pid() == getpid()) return std::to_string(process.incarnation());
  }
  return "0";
}

}  // namespace millrace
