#include "services/ingress/http/catalog_json.h"

#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/numbers.h"
#include "common/datatype.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

void AppendTensor(const TensorSpec& spec, std::string* json) {
  json->append("{\"name\":");
  AppendJsonString(spec.name(), json);
  Append(json, ",\"datatype\":\"", DataTypeName(static_cast<DataType>(spec.datatype())),
         "\",\"shape\":[-1");
  for (int64_t dim : spec.dims()) Append(json, ",", dim);
  json->append("]}");
}

void AppendProperty(std::string_view key, std::string_view value, std::string* json) {
  if (json->back() != '{') json->push_back(',');
  AppendJsonString(key, json);
  json->push_back(':');
  AppendJsonString(value, json);
}

void AppendView(const FeatureView& view, std::string* json) {
  json->append(",\"properties\":{");
  AppendProperty("feature_view", view.name(), json);
  std::set<std::string_view> told;  // a column may be read by several features
  for (const Feature& feature : view.features()) {
    if (!told.insert(feature.column()).second) continue;
    AppendProperty(Concat("raw_column.", feature.column()),
                   feature.type() == Feature::STRING ? "string" : "number", json);
  }
  json->push_back('}');
}

using Json = nlohmann::ordered_json;

// Protobuf's JSON has numbers of 64 bits as strings.
void MakeNumbers(Json* object, const char* member) {
  const auto list = object->find(member);
  if (list == object->end() || !list->is_array()) return;
  for (Json& element : *list) {
    int64_t number = 0;
    if (!element.is_string()) continue;
    if (absl::SimpleAtoi(Abseil(element.get_ref<const std::string&>()), &number)) element = number;
  }
}

}  // namespace

absl::StatusOr<std::string> ConfigJson(const Model& model) {
  Json config = Json::parse(model.config_json(), nullptr, false);
  if (!config.is_object()) return absl::InternalError("the model's configuration cannot be read");
  for (const char* list : {"input", "output"}) {
    if (!config.contains(list) || !config[list].is_array()) continue;
    const bool input = list == std::string_view("input");
    for (Json& tensor : config[list]) {
      if (!tensor.is_object()) continue;
      MakeNumbers(&tensor, "dims");
      tensor["is_shape_tensor"] = false;
      if (!input) continue;
      tensor["format"] = "FORMAT_NONE";
      tensor["allow_ragged_batch"] = false;
      tensor["optional"] = false;
    }
  }
  if (auto policy = config.find("version_policy"); policy != config.end() && policy->is_object()) {
    if (auto specific = policy->find("specific"); specific != policy->end()) {
      MakeNumbers(&*specific, "versions");
    }
  }
  return config.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string IndexJson(absl::Span<const IndexEntry> index) {
  std::string json = "[";
  for (const IndexEntry& entry : index) {
    if (json.back() != '[') json.push_back(',');
    json.append("{\"name\":");
    AppendJsonString(entry.name, &json);
    json.append(",\"version\":");
    AppendJsonString(entry.version, &json);
    Append(&json, ",\"state\":\"", entry.state, "\"");
    if (!entry.reason.empty()) {
      json.append(",\"reason\":");
      AppendJsonString(entry.reason, &json);
    }
    json.push_back('}');
  }
  return json + "]";
}

std::string ServerJson(std::string_view version, bool shared_memory) {
  std::string json = "{\"name\":\"millrace\",\"version\":";
  AppendJsonString(version, &json);
  json.append(",\"extensions\":[\"binary_tensor_data\"");
  for (std::string_view name : ServedExtensions()) Append(&json, ",\"", name, "\"");
  if (shared_memory) json.append(",\"system_shared_memory\"");
  return json + "]}";
}

std::string ModelsJson(const Catalog* catalog) {
  std::set<std::string_view> names;
  if (catalog != nullptr) {
    for (const Model& model : catalog->models()) names.insert(model.name());
  }
  std::string json = "{\"models\":[";
  for (std::string_view name : names) {
    if (json.back() != '[') json.push_back(',');
    AppendJsonString(name, &json);
  }
  json.append("]}");
  return json;
}

absl::StatusOr<const Model*> FindModel(const Catalog* catalog, std::string_view name,
                                       std::string_view version) {
  if (catalog == nullptr) return absl::UnavailableError("the models are not loaded yet");
  bool known = false;
  for (const Model& model : catalog->models()) {
    if (model.name() != name) continue;
    if (version.empty() ? model.latest() : model.version() == version) return &model;
    known = true;
  }
  for (const FailedModel& failed : catalog->failed()) {
    if (failed.name() != name || (!version.empty() && failed.version() != version)) continue;
    return absl::NotFoundError(Concat("model ", Quoted(name), " version ", Quoted(failed.version()),
                                      " cannot be served; the server's log says why"));
  }
  if (known && !version.empty()) {
    return absl::NotFoundError(Concat("model ", Quoted(name), " has no version ", Quoted(version)));
  }
  return absl::NotFoundError(Concat("model ", Quoted(name), " is not known"));
}

std::string ModelJson(const Catalog& catalog, const Model& model) {
  std::string json = "{\"name\":";
  AppendJsonString(model.name(), &json);
  json.append(",\"versions\":[");
  for (const Model& other : catalog.models()) {
    if (other.name() != model.name()) continue;
    if (json.back() != '[') json.push_back(',');
    AppendJsonString(other.version(), &json);
  }
  json.append("],\"platform\":");
  AppendJsonString(model.platform(), &json);
  json.append(",\"inputs\":[");
  for (const TensorSpec& input : model.inputs()) {
    if (json.back() != '[') json.push_back(',');
    AppendTensor(input, &json);
  }
  json.append("],\"outputs\":[");
  for (const OutputSpec& output : model.outputs()) {
    if (json.back() != '[') json.push_back(',');
    AppendTensor(output.tensor(), &json);
  }
  json.append("]");
  if (model.has_view()) AppendView(model.view(), &json);
  json.append("}");
  return json;
}

}  // namespace millrace::http
