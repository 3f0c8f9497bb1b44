#include "services/runtime/lane_traces.h"

#include "common/log.h"
#include "ipc/trace_records.h"

namespace millrace {

void LaneTraces::Make(Lane* lane, const std::shared_ptr<const void>& owner, PageEntry* pages) {
  const LaneId& id = lane->id();
  const bool ingress = id.stage == Stage::kIngress;
  absl::StatusOr<TraceWriter> writer =
      ingress ? TraceWriter::Create(id.incarnation, kRequestRecords, kRequestRecordWords)
              : TraceWriter::Create(id.incarnation, kWorkRecords, kWorkRecordWords);
  if (!writer.ok()) {
    Log(LogLevel::kWarning, "no_traces", {{"why", writer.status().ToString()}});
    return;
  }
  rings_.push_back({id, std::make_unique<TraceWriter>(std::move(*writer))});
  TraceWriter* const ring = rings_.back().writer.get();
  pages->Add(owner, &ring->region());
  lane->Post([lane, ring] { lane->set_traces(ring); });
}

FromProcess LaneTraces::Message() const {
  FromProcess message;
  for (const Ring& ring : rings_) {
    LaneName* name = message.mutable_traces()->add_lanes();
    name->set_incarnation(ring.id.incarnation);
    name->set_stage(static_cast<uint32_t>(ring.id.stage));
    name->set_index(ring.id.index);
    name->set_lane(ring.id.lane);
  }
  return message;
}

std::vector<int> LaneTraces::fds() const {
  std::vector<int> fds;
  for (const Ring& ring : rings_) fds.push_back(ring.writer->region().fd().get());
  return fds;
}

}  // namespace millrace
