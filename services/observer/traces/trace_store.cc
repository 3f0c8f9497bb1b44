#include "services/observer/traces/trace_store.h"

#include <algorithm>
#include <charconv>

#include "ipc/trace_records.h"
#include "services/observer/traces/json_text.h"

namespace millrace {
namespace {

struct WhyRow {
  uint8_t why;
  std::string_view name;
};
constexpr WhyRow kWhys[] = {{kWhySlow, "slow"}, {kWhyFailed, "failed"}, {kWhySampled, "sampled"}};

std::string HexOrEmpty(uint64_t id) { return id == 0 ? "" : HexOf(id); }

void WriteSpan(const KeptTrace& trace, const KeptSpan& span, JsonText* json) {
  json->Open('{');
  json->Key("span_id").String(HexOf(span.id));
  json->Key("parent_span_id").String(HexOrEmpty(span.parent));
  json->Key("name").String(span.name);
  json->Key("start_ns").Number(span.begin_ns - trace.root().begin_ns);
  json->Key("duration_ns").Number(span.end_ns - span.begin_ns);
  json->Key("stage").String(StageName(span.stage));
  json->Key("worker").Number(span.worker);
  json->Key("incarnation").Number(span.incarnation);
  json->Key("attributes").Open('{');
  for (const SpanAttribute& attribute : span.attributes) {
    json->Key(attribute.name);
    if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      json->String(*text);
    } else {
      json->Number(std::get<int64_t>(attribute.value));
    }
  }
  json->Close('}');
  json->Key("links").Open('[');
  for (const SpanLink& link : span.links) {
    json->Open('{').Key("trace_id").String(HexOf(link.trace));
    json->Key("span_id").String(HexOf(link.span)).Close('}');
  }
  json->Close(']').Close('}');
}

void WriteTrace(const KeptTrace& trace, JsonText* json) {
  json->Open('{');
  json->Key("trace_id").String(HexOf(trace.id));
  json->Key("parent_span_id").String(HexOrEmpty(trace.parent));
  json->Key("model").String(trace.model);
  json->Key("version").String(trace.version);
  json->Key("code").String(CodeName(trace.code));
  json->Key("why").Open('[');
  for (const WhyRow& row : kWhys) {
    if ((trace.why & row.why) != 0) json->String(row.name);
  }
  json->Close(']');
  json->Key("start_unix_ns").NumberAsString(trace.root().begin_ns + trace.unix_offset_ns);
  json->Key("duration_ns").Number(trace.root().end_ns - trace.root().begin_ns);
  json->Key("spans").Open('[');
  for (const KeptSpan& span : trace.spans) WriteSpan(trace, span, json);
  json->Close(']').Close('}');
}

}  // namespace

void TraceStore::Add(const std::vector<SharedTrace>& traces) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const SharedTrace& trace : traces) traces_.push_front(trace);
  size_t sampled = 0;
  const auto too_many = std::remove_if(traces_.begin(), traces_.end(), [&](const SharedTrace& one) {
    return one->why == kWhySampled && ++sampled > kSampledTraces;
  });
  traces_.erase(too_many, traces_.end());
  if (traces_.size() > kTraces) traces_.resize(kTraces);
}

std::vector<SharedTrace> TraceStore::Newest(uint8_t why, size_t limit) const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<SharedTrace> newest;
  for (const SharedTrace& trace : traces_) {
    if (newest.size() >= limit) break;
    if (why == 0 || (trace->why & why) != 0) newest.push_back(trace);
  }
  return newest;
}

bool ParseTraceQuery(std::string_view query, TraceQuery* to) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view one = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = std::min(one.find('='), one.size());
    const std::string_view name = one.substr(0, equals);
    const std::string_view value = one.substr(std::min(equals + 1, one.size()));
    if (name == "why") {
      const auto row = std::find_if(std::begin(kWhys), std::end(kWhys),
                                    [&](const WhyRow& known) { return known.name == value; });
      if (row == std::end(kWhys)) return false;
      to->why = row->why;
    } else if (name == "limit") {
      const auto read = std::from_chars(value.data(), value.data() + value.size(), to->limit);
      if (read.ec != std::errc() || read.ptr != value.data() + value.size()) return false;
    }
  }
  return true;
}

std::string TracesJson(const std::vector<SharedTrace>& traces, const TraceTally& tally) {
  JsonText json;
  json.Open('{').Key("kept").Open('[');
  for (const SharedTrace& trace : traces) WriteTrace(*trace, &json);
  json.Close(']');
  json.Key("lost").Number(static_cast<int64_t>(tally.lost));
  json.Key("exported").Number(static_cast<int64_t>(tally.exported));
  json.Key("export_failed").Number(static_cast<int64_t>(tally.export_failed + tally.export_lost));
  json.Close('}');
  return json.Take();
}

}  // namespace millrace
