#include "services/observer/traces/otlp.h"

#include "common/version.h"
#include "ipc/trace_records.h"
#include "services/observer/traces/attribute_names.h"
#include "services/observer/traces/json_text.h"

namespace millrace {
namespace {

constexpr int kInternal = 1, kServer = 2, kError = 2;
constexpr uint32_t kSampledFlag = 1, kRemoteIsKnown = 0x100, kRemote = 0x200;

// Ids stand with their most significant byte first.
std::string Bytes(uint64_t id) {
  std::string bytes(8, '\0');
  for (size_t i = bytes.size(); i-- > 0; id >>= 8) bytes[i] = static_cast<char>(id & 0xff);
  return bytes;
}
std::string Bytes(const TraceId& id) { return Bytes(id.high) + Bytes(id.low); }

std::string Hex(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

void Set(std::string_view name, const std::variant<std::string, int64_t>& value,
         otlp::KeyValue* to) {
  to->set_key(std::string(name));
  if (const auto* text = std::get_if<std::string>(&value)) {
    to->mutable_value()->set_string_value(*text);
  } else {
    to->mutable_value()->set_int_value(std::get<int64_t>(value));
  }
}

void AddSpan(const KeptTrace& trace, const KeptSpan& span, otlp::ScopeSpans* to) {
  const bool root = &span == &trace.root();
  otlp::Span* out = to->add_spans();
  out->set_trace_id(Bytes(trace.id));
  out->set_span_id(Bytes(span.id));
  if (span.parent != 0) out->set_parent_span_id(Bytes(span.parent));
  out->set_trace_state(trace.state);
  out->set_name(span.name);
  out->set_kind(root ? kServer : kInternal);
  out->set_start_time_unix_nano(static_cast<uint64_t>(span.begin_ns + trace.unix_offset_ns));
  out->set_end_time_unix_nano(static_cast<uint64_t>(span.end_ns + trace.unix_offset_ns));
  for (const SpanAttribute& attribute : span.attributes) {
    Set(attribute.name, attribute.value, out->add_attributes());
  }
  for (const SpanLink& link : span.links) {
    otlp::Span::Link* one = out->add_links();
    one->set_trace_id(Bytes(link.trace));
    one->set_span_id(Bytes(link.span));
  }
  if (root && IsServerFault(trace.code)) {
    out->mutable_status()->set_code(kError);
    out->mutable_status()->set_message(CodeName(trace.code));
  }
  const bool sampled = (trace.why & kWhySampled) != 0;
  out->set_flags((sampled ? kSampledFlag : 0) | kRemoteIsKnown |
                 (root && span.parent != 0 ? kRemote : 0));
}

void Write(const google::protobuf::RepeatedPtrField<otlp::KeyValue>& attributes, JsonText* json) {
  json->Key("attributes").Open('[');
  for (const otlp::KeyValue& one : attributes) {
    json->Open('{').Key("key").String(one.key()).Key("value").Open('{');
    if (one.value().has_string_value()) {
      json->Key("stringValue").String(one.value().string_value());
    } else {
      json->Key("intValue").NumberAsString(one.value().int_value());
    }
    json->Close('}').Close('}');
  }
  json->Close(']');
}

void Write(const otlp::Span& span, JsonText* json) {
  json->Open('{');
  json->Key("traceId").String(Hex(span.trace_id()));
  json->Key("spanId").String(Hex(span.span_id()));
  if (!span.parent_span_id().empty()) json->Key("parentSpanId").String(Hex(span.parent_span_id()));
  if (!span.trace_state().empty()) json->Key("traceState").String(span.trace_state());
  json->Key("flags").Number(span.flags());
  json->Key("name").String(span.name());
  json->Key("kind").Number(span.kind());
  json->Key("startTimeUnixNano").NumberAsString(static_cast<int64_t>(span.start_time_unix_nano()));
  json->Key("endTimeUnixNano").NumberAsString(static_cast<int64_t>(span.end_time_unix_nano()));
  Write(span.attributes(), json);
  if (span.links_size() > 0) {
    json->Key("links").Open('[');
    for (const otlp::Span::Link& link : span.links()) {
      json->Open('{').Key("traceId").String(Hex(link.trace_id()));
      json->Key("spanId").String(Hex(link.span_id())).Close('}');
    }
    json->Close(']');
  }
  json->Key("status").Open('{');
  if (span.status().code() != 0) {
    json->Key("code").Number(span.status().code());
    json->Key("message").String(span.status().message());
  }
  json->Close('}').Close('}');
}

}  // namespace

otlp::ExportRequest ToOtlp(const std::vector<SharedTrace>& traces) {
  namespace names = attribute_names;
  otlp::ExportRequest request;
  otlp::ResourceSpans* all = request.add_resource_spans();
  Set(names::kServiceName, "millrace", all->mutable_resource()->add_attributes());
  Set(names::kServiceVersion, std::string(kVersion), all->mutable_resource()->add_attributes());
  otlp::ScopeSpans* scope = all->add_scope_spans();
  scope->mutable_scope()->set_name("millrace");
  scope->mutable_scope()->set_version(std::string(kVersion));
  for (const SharedTrace& trace : traces) {
    for (const KeptSpan& span : trace->spans) AddSpan(*trace, span, scope);
  }
  return request;
}

std::string OtlpJson(const otlp::ExportRequest& request) {
  JsonText json;
  json.Open('{').Key("resourceSpans").Open('[');
  for (const otlp::ResourceSpans& all : request.resource_spans()) {
    json.Open('{').Key("resource").Open('{');
    Write(all.resource().attributes(), &json);
    json.Close('}').Key("scopeSpans").Open('[');
    for (const otlp::ScopeSpans& scope : all.scope_spans()) {
      json.Open('{').Key("scope").Open('{');
      json.Key("name").String(scope.scope().name());
      json.Key("version").String(scope.scope().version()).Close('}');
      json.Key("spans").Open('[');
      for (const otlp::Span& span : scope.spans()) Write(span, &json);
      json.Close(']').Close('}');
    }
    json.Close(']').Close('}');
  }
  json.Close(']').Close('}');
  return json.Take();
}

}  // namespace millrace
