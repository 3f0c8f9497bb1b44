#include "services/ingress/http/stats_json.h"

#include <variant>

#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/text.h"
#include "services/ingress/verbs.h"

namespace millrace::http {
namespace {

// "name":{"count":1,"ns":2}, with a comma before it unless it is an object's first.
void AppendSum(std::string_view name, const CountAndNs& sum, std::string* json) {
  if (json->back() != '{') json->push_back(',');
  Append(json, "\"", name, "\":{\"count\":", sum.count, ",\"ns\":", sum.ns, "}");
}

void AppendModel(const ModelStatistic& one, uint64_t plan_bytes, std::string* json) {
  json->append("{\"name\":");
  AppendJsonString(one.name, json);
  json->append(",\"version\":");
  AppendJsonString(one.version, json);
  Append(json, ",\"last_inference\":", one.last_inference_ms,
         ",\"inference_count\":", one.inference_count, ",\"execution_count\":", one.execution_count,
         ",\"inference_stats\":{");
  AppendSum("success", one.success, json);
  AppendSum("fail", one.fail, json);
  AppendSum("queue", one.queue, json);
  AppendSum("compute_input", one.compute_input, json);
  AppendSum("compute_infer", one.compute_infer, json);
  AppendSum("compute_output", one.compute_output, json);
  AppendSum("cache_hit", {}, json);
  AppendSum("cache_miss", {}, json);
  json->append("},\"response_stats\":{},\"batch_stats\":[");
  for (const BatchStatistic& batch : one.batches) {
    if (json->back() != '[') json->push_back(',');
    Append(json, "{\"batch_size\":", batch.batch_size);
    AppendSum("compute_input", batch.compute_input, json);
    AppendSum("compute_infer", batch.compute_infer, json);
    AppendSum("compute_output", batch.compute_output, json);
    json->push_back('}');
  }
  json->append("],\"memory_usage\":[");
  if (plan_bytes > 0) Append(json, "{\"type\":\"CPU\",\"id\":0,\"byte_size\":", plan_bytes, "}");
  json->push_back(']');
  if (one.golden_age_ms.has_value()) Append(json, ",\"golden_age_ms\":", *one.golden_age_ms);
  json->push_back('}');
}

}  // namespace

std::string StatisticsJson(absl::Span<const ModelStatistic> statistics, const Catalog* catalog) {
  std::string json = "{\"model_stats\":[";
  for (const ModelStatistic& one : statistics) {
    if (json.back() != '[') json.push_back(',');
    AppendModel(one, PlanBytesOf(catalog, one), &json);
  }
  return json + "]}";
}

std::string TraceJson() { return Concat("{\"", kTraceLevel, "\":[\"", kTraceOff, "\"]}"); }

std::string LogJson() {
  std::string json = "{";
  for (const LogSetting& setting : LogSettingsNow()) {
    if (json.back() != '{') json.push_back(',');
    Append(&json, "\"", setting.name, "\":");
    if (const bool* flag = std::get_if<bool>(&setting.value)) {
      json.append(*flag ? "true" : "false");
    } else if (const uint32_t* number = std::get_if<uint32_t>(&setting.value)) {
      AppendJsonNumber(uint64_t{*number}, &json);
    } else {
      AppendJsonString(std::get<std::string_view>(setting.value), &json);
    }
  }
  return json + "}";
}

}  // namespace millrace::http
