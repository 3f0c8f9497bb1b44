#include "services/observer/traces/trace_sources.h"

#include <algorithm>

#include "common/log.h"
#include "ipc/trace_records.h"

namespace millrace {
namespace {

std::shared_ptr<const TraceReader> OpenRing(const Fd& fd, const TraceSource& source) {
  const size_t words = source.stage == Stage::kIngress ? kRequestRecordWords : kWorkRecordWords;
  absl::StatusOr<TraceReader> ring = TraceReader::Open(fd.get(), source.incarnation, words);
  if (ring.ok()) return std::make_shared<const TraceReader>(std::move(*ring));
  Log(LogLevel::kWarning, "traces_refused",
      {{"incarnation", source.incarnation}, {"why", ring.status().ToString()}});
  return nullptr;
}

}  // namespace

void TraceSources::Observe(const ObserveTraces& message, const std::vector<Fd>& fds,
                           int64_t now_ns) {
  if (fds.size() != static_cast<size_t>(message.lanes_size())) return;
  std::lock_guard<std::mutex> lock(mutex_);
  for (TraceSource& source : sources_) {
    if (source.gone_ns == 0) source.gone_ns = now_ns;
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    const LaneName& name = message.lanes(static_cast<int>(i));
    const auto known = std::find_if(
        sources_.begin(), sources_.end(),
        [&](const TraceSource& source) { return source.incarnation == name.incarnation(); });
    if (known != sources_.end()) {
      known->gone_ns = 0;
      continue;
    }
    TraceSource source;
    source.stage = name.stage() < kStageCount ? static_cast<Stage>(name.stage()) : Stage::kNone;
    source.index = name.index();
    source.lane = name.lane();
    source.incarnation = name.incarnation();
    source.ring = OpenRing(fds[i], source);
    if (source.ring != nullptr) sources_.push_back(std::move(source));
  }
}

std::vector<TraceSource> TraceSources::Take(int64_t now_ns) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(sources_, [&](const TraceSource& source) {
    return source.gone_ns != 0 && now_ns - source.gone_ns > kKeepNs;
  });
  return sources_;
}

}  // namespace millrace
