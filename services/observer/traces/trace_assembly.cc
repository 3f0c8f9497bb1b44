#include "services/observer/traces/trace_assembly.h"

#include <algorithm>

#include "ipc/page.h"
#include "ipc/stats.h"
#include "services/observer/traces/attribute_names.h"

namespace millrace {
namespace {

namespace names = attribute_names;

// Between a batch's record and those of its parts stand at most its other parts.
constexpr uint64_t kLookBack = 2 * kMaxExecuting;
constexpr size_t kBatchesKept = 4096;
constexpr size_t kLinksABatch = 64;

// What a peer wrote, within its request.
int64_t Within(const KeptTrace& trace, int64_t ns) {
  return std::clamp(ns, trace.root().begin_ns, trace.root().end_ns);
}

int64_t PublishedNs(const KeptTrace& trace, const WorkRecord& work) {
  return Within(trace, work.begin_ns) - (int64_t{work.waited_ticks} << kPublishedShift);
}

// A part that names this one's number, without its member.
bool SamePart(const WorkRecord& work, const RequestRecord& request, uint32_t origin, Stage stage,
              uint8_t member) {
  if (work.kind != WorkKind::kPart || work.origin != origin) return false;
  PartId id = PartId::Unpack(work.id);
  if (stage == Stage::kExecution && id.member != member) return false;
  id.member = 0;
  return id.Pack() == request.id;
}

// The first number in [First, End) whose record ended at or after `end_ns`.
uint64_t LowerBound(const TraceReader& ring, int64_t end_ns) {
  uint64_t low = ring.First(), high = ring.End();
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    WorkRecord work;
    // What is overwritten meanwhile was older.
    const bool before = !ring.Read(middle, &work) || work.end_ns < end_ns;
    before ? low = middle + 1 : high = middle;
  }
  return low;
}

// The latest end of a part of it: one that made an answer ended before. Without this a part that is
// overwritten already costs a look at the whole ring, and just where there are most records.
int64_t LastEndNs(const RequestRecord& request) {
  return request.code == 0 ? request.answered_ns : INT64_MAX;
}

void FindBatch(const TraceReader& ring, uint64_t part_at, const WorkRecord& part,
               std::optional<WorkRecord>* batch, std::vector<WorkRecord>* steps) {
  const uint64_t first = std::max(ring.First(), part_at - std::min(part_at, kLookBack));
  for (uint64_t at = part_at; at-- > first;) {
    WorkRecord work;
    if (!ring.Read(at, &work)) return;
    if (work.kind == WorkKind::kPart) {
      if (batch->has_value()) return;
      continue;
    }
    if (work.batch != part.batch) return;
    if (work.kind == WorkKind::kBatch && !batch->has_value()) *batch = work;
    if (work.kind == WorkKind::kStep) steps->insert(steps->begin(), work);
  }
}

std::string_view PlaceName(uint8_t place) {
  switch (static_cast<BatchPlace>(place)) {
    case BatchPlace::kDevice:
      return "gpu";
    case BatchPlace::kBoth:
      return "gpu+cpu";
    default:
      return "cpu";
  }
}

std::string_view StepName(uint8_t step) {
  switch (static_cast<DeviceStep>(step)) {
    case DeviceStep::kToDevice:
      return span_names::kToDevice;
    case DeviceStep::kLaunch:
      return span_names::kKernel;
    case DeviceStep::kSynchronize:
      return span_names::kSynchronize;
    default:
      return span_names::kToHost;
  }
}

struct MethodRow {
  TraceMethod method;
  std::string_view span, system, name;
};

constexpr MethodRow kMethods[] = {
    {TraceMethod::kGrpcInfer, "grpc ModelInfer", "grpc",
     "inference.GRPCInferenceService/ModelInfer"},
    {TraceMethod::kGrpcStream, "grpc ModelStreamInfer", "grpc",
     "inference.GRPCInferenceService/ModelStreamInfer"},
    {TraceMethod::kHttpInfer, "http infer", "http", "/v2/models/{model}/infer"},
    {TraceMethod::kLocalInfer, "local infer", "local", "infer"},
    {TraceMethod::kUnknown, "infer", "", "_OTHER"},
};

const MethodRow& RowOf(TraceMethod method) {
  for (const MethodRow& row : kMethods) {
    if (row.method == method) return row;
  }
  return kMethods[std::size(kMethods) - 1];
}

std::string Worker(Stage stage, uint32_t index) {
  return std::string(StageName(stage)) + std::to_string(index);
}

}  // namespace

void TraceAssembly::FindPart(const KeptRequest& request, const std::vector<TraceSource>& sources,
                             uint32_t incarnation, Stage stage, uint8_t member,
                             std::vector<Part>* to, bool* whole) const {
  if (incarnation == 0) return;
  for (const TraceSource& source : sources) {
    if (source.incarnation != incarnation || source.stage != stage) continue;
    const TraceReader& ring = *source.ring;
    const uint64_t first = LowerBound(ring, request.record.submitted_ns);
    for (uint64_t at = first; at - first < ring.slots() && at < ring.End(); ++at) {
      Part part;
      if (!ring.Read(at, &part.work)) continue;
      if (part.work.end_ns > LastEndNs(request.record)) break;
      if (!SamePart(part.work, request.record, request.source.incarnation, stage, member)) continue;
      part.source = &source;
      if (part.work.batch != 0) FindBatch(ring, at, part.work, &part.batch, &part.steps);
      to->push_back(std::move(part));
      return;
    }
  }
  *whole = false;
}

TraceAssembly::Found TraceAssembly::Find(const KeptRequest& request,
                                         const std::vector<TraceSource>& sources) const {
  const RequestRecord& record = request.record;
  Found found;
  if (record.submitted_ns == 0) return found;
  FindPart(request, sources, record.features, Stage::kFeatures, 0, &found.features, &found.whole);
  const size_t members = std::min<size_t>(record.members, kMaxMembers);
  for (size_t m = 0; m < members; ++m) {
    FindPart(request, sources, record.execution[m], Stage::kExecution, static_cast<uint8_t>(m),
             &found.execution, &found.whole);
  }
  FindPart(request, sources, record.aggregation, Stage::kAggregation, 0, &found.aggregation,
           &found.whole);
  return found;
}

void TraceAssembly::Remember(const Found& found, const RequestRecord& record) {
  for (const Part& part : found.execution) {
    if (part.work.batch == 0) continue;
    const BatchKey key = {part.source->incarnation, part.work.batch};
    auto [place, added] = batches_.try_emplace(key);
    if (added) batch_order_.push_back(key);
    const SpanLink link = {record.trace, record.span};
    std::vector<SpanLink>& links = place->second;
    const bool known = std::find(links.begin(), links.end(), link) != links.end();
    if (!known && links.size() < kLinksABatch) links.push_back(link);
  }
  while (batch_order_.size() > kBatchesKept) {
    batches_.erase(batch_order_.front());
    batch_order_.pop_front();
  }
}

KeptSpan* TraceAssembly::Add(KeptTrace* trace, uint64_t parent, std::string_view name,
                             int64_t begin_ns, int64_t end_ns, const TraceSource& source) {
  const KeptSpan* within = &trace->spans.front();
  for (const KeptSpan& span : trace->spans) {
    if (span.id == parent) within = &span;
  }
  KeptSpan span;
  span.id = ids_.Span();
  span.parent = parent;
  span.name = name;
  span.begin_ns = std::clamp(begin_ns, within->begin_ns, within->end_ns);
  span.end_ns = std::clamp(end_ns, span.begin_ns, within->end_ns);
  span.stage = source.stage;
  span.worker = source.index;
  span.incarnation = source.incarnation;
  trace->spans.push_back(std::move(span));
  return &trace->spans.back();
}

KeptSpan TraceAssembly::Root(const KeptRequest& request, const KeptTrace& trace) const {
  const RequestRecord& record = request.record;
  const MethodRow& method = RowOf(record.method);
  KeptSpan root;
  root.id = record.span;
  root.parent = record.parent;
  root.name = method.span;
  root.begin_ns = record.entered_ns;
  root.end_ns = std::max(record.entered_ns, record.written_ns);
  root.stage = Stage::kIngress;
  root.worker = request.source.index;
  root.incarnation = request.source.incarnation;
  auto& attributes = root.attributes;
  if (record.method == TraceMethod::kHttpInfer) {
    attributes.push_back({names::kHttpMethod, "POST"});
    attributes.push_back({names::kHttpRoute, std::string(method.name)});
  } else {
    if (!method.system.empty())
      attributes.push_back({names::kRpcSystem, std::string(method.system)});
    attributes.push_back({names::kRpcMethod, std::string(method.name)});
    attributes.push_back({names::kRpcCode, CodeName(record.code)});
  }
  attributes.push_back({names::kModel, trace.model});
  attributes.push_back({names::kVersion, trace.version});
  attributes.push_back({names::kCode, CodeName(record.code)});
  attributes.push_back({names::kRows, int64_t{record.rows}});
  attributes.push_back({names::kAttempts, int64_t{PartId::Unpack(record.id).attempt} + 1});
  if (!trace.whole) attributes.push_back({names::kWhole, "false"});
  return root;
}

void TraceAssembly::AddIngress(const KeptRequest& request, KeptTrace* trace) {
  const RequestRecord& r = request.record;
  const auto add = [&](std::string_view name, int64_t from, int64_t to) {
    if (from != 0 && to != 0) Add(trace, r.span, name, from, to, request.source);
  };
  add(span_names::kDecode, r.entered_ns, r.accepted_ns);
  add(span_names::kAdmit, r.accepted_ns, r.stored_ns != 0 ? r.stored_ns : r.answered_ns);
  // One that was never sent waited to its end; of one that was sent again, all attempts before.
  add(span_names::kWait, r.stored_ns, r.submitted_ns != 0 ? r.submitted_ns : r.answered_ns);
  add(span_names::kRespond, r.answered_ns, r.written_ns);
}

void TraceAssembly::AddPart(const Part& part, std::string_view work_name, int64_t from_ns,
                            KeptTrace* trace) {
  const WorkRecord& work = part.work;
  const uint64_t root = trace->root().id;
  const int64_t published_ns = PublishedNs(*trace, work);
  Add(trace, root, span_names::kQueue, std::max(from_ns, published_ns), work.begin_ns,
      *part.source);
  KeptSpan* const span = Add(trace, root, work_name, work.begin_ns, work.end_ns, *part.source);
  if (work.code != 0) span->attributes.push_back({names::kCode, CodeName(work.code)});
}

void TraceAssembly::AddExecution(const Part& part, int64_t from_ns, KeptTrace* trace) {
  const WorkRecord& work = part.work;
  if (!part.batch.has_value()) return AddPart(part, span_names::kExecute, from_ns, trace);
  const WorkRecord& batch = *part.batch;
  const uint64_t root = trace->root().id;
  const TraceSource& source = *part.source;
  const ModelName model = names_.of_route(source.incarnation, work.route);
  const int64_t published_ns = PublishedNs(*trace, work);
  Add(trace, root, span_names::kQueue, std::max(from_ns, published_ns), work.begin_ns, source);
  Add(trace, root, span_names::kBatch, work.begin_ns, batch.begin_ns, source);
  KeptSpan* span = Add(trace, root, span_names::kExecute, batch.begin_ns, batch.end_ns, source);
  span->attributes = {{names::kModel, model.model},
                      {names::kVersion, model.version},
                      {names::kDevice, std::string(PlaceName(batch.code))},
                      {names::kBatchSize, int64_t{batch.rows}},
                      {names::kBatchRequests, static_cast<int64_t>(batch.id & 0xffff)},
                      {names::kBatchNumber, int64_t{batch.batch}}};
  if (work.code != 0) span->attributes.push_back({names::kCode, CodeName(work.code)});
  const auto links = batches_.find({source.incarnation, work.batch});
  if (links != batches_.end()) span->links = links->second;
  const uint64_t execute = span->id;
  for (const WorkRecord& step : part.steps) {
    KeptSpan* const one =
        Add(trace, execute, StepName(step.code), step.begin_ns, step.end_ns, source);
    one->attributes = {{names::kDevice, "gpu"}, {names::kBatchSize, int64_t{batch.rows}}};
  }
}

SharedTrace TraceAssembly::Make(const KeptRequest& request, const Found& found,
                                int64_t unix_offset_ns) {
  const RequestRecord& record = request.record;
  auto trace = std::make_shared<KeptTrace>();
  trace->id = record.trace;
  trace->parent = record.parent;
  const size_t state = std::min<size_t>(record.state_bytes, kMaxTraceState);
  trace->state = ShownText({record.state, state});
  const ModelName model = names_.of_slot(request.source.incarnation, record.model);
  trace->model = model.model;
  trace->version = model.version;
  trace->code = record.code <= 16 ? record.code : 2;  // gRPC's
  trace->why = record.why;
  trace->whole = found.whole;
  trace->unix_offset_ns = unix_offset_ns;
  trace->spans.push_back(Root(request, *trace));
  AddIngress(request, trace.get());
  int64_t from_ns = record.submitted_ns;
  for (const Part& part : found.features) {
    AddPart(part, span_names::kFeatures, from_ns, trace.get());
    from_ns = std::max(from_ns, Within(*trace, part.work.end_ns));
  }
  int64_t executed_ns = from_ns;
  for (const Part& part : found.execution) {
    AddExecution(part, from_ns, trace.get());
    executed_ns = std::max(executed_ns, Within(*trace, part.work.end_ns));
  }
  for (const Part& part : found.aggregation) {
    AddPart(part, span_names::kAggregate, executed_ns, trace.get());
  }
  for (KeptSpan& span : trace->spans) {
    span.attributes.push_back({names::kStage, std::string(StageName(span.stage))});
    span.attributes.push_back({names::kWorker, Worker(span.stage, span.worker)});
    span.attributes.push_back({names::kIncarnation, int64_t{span.incarnation}});
  }
  std::stable_sort(trace->spans.begin() + 1, trace->spans.end(),
                   [](const KeptSpan& a, const KeptSpan& b) { return a.begin_ns < b.begin_ns; });
  return trace;
}

std::vector<SharedTrace> TraceAssembly::Assemble(const std::vector<KeptRequest>& requests,
                                                 const std::vector<TraceSource>& sources,
                                                 int64_t unix_offset_ns) {
  std::vector<Found> found;
  for (const KeptRequest& request : requests) {
    found.push_back(Find(request, sources));
    Remember(found.back(), request.record);
  }
  std::vector<SharedTrace> traces;
  for (size_t i = 0; i < requests.size(); ++i) {
    traces.push_back(Make(requests[i], found[i], unix_offset_ns));
  }
  return traces;
}

}  // namespace millrace
