#include "tools/load/http_json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/datatype.h"
#include "tools/load/element.h"

namespace millrace {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using inference::ModelMetadataResponse;
using nlohmann::json;

template <typename T>
T Number(std::string_view bytes) {
  T value;
  memcpy(&value, bytes.data(), sizeof value);
  return value;
}

absl::StatusOr<json> RealJson(double value) {
  if (std::isnan(value)) return json();
  if (std::isinf(value)) return absl::InvalidArgumentError("JSON has no infinity: use gRPC");
  return json(value);
}

absl::StatusOr<json> ElementJson(const std::string& datatype, std::string_view bytes) {
  switch (ParseDataType(datatype).value_or(DataType::kInvalid)) {
    case DataType::kFp32:
      return RealJson(Number<float>(bytes));
    case DataType::kFp64:
      return RealJson(Number<double>(bytes));
    case DataType::kBytes:
      return json(std::string(bytes.substr(sizeof(uint32_t))));
    case DataType::kBool:
      return json(bytes[0] != 0);
    case DataType::kInt8:
      return json(Number<int8_t>(bytes));
    case DataType::kInt16:
      return json(Number<int16_t>(bytes));
    case DataType::kInt32:
      return json(Number<int32_t>(bytes));
    case DataType::kInt64:
      return json(Number<int64_t>(bytes));
    case DataType::kUint8:
      return json(Number<uint8_t>(bytes));
    case DataType::kUint16:
      return json(Number<uint16_t>(bytes));
    case DataType::kUint32:
      return json(Number<uint32_t>(bytes));
    case DataType::kUint64:
      return json(Number<uint64_t>(bytes));
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("JSON has no way to carry datatype ", datatype, ": use gRPC"));
  }
}

absl::StatusOr<json> InputJson(const ModelInferRequest& request, int index) {
  const auto& input = request.inputs(index);
  json data = json::array();
  std::string_view raw = request.raw_input_contents(index);
  while (!raw.empty()) {
    const absl::StatusOr<std::string_view> bytes = TakeElementBytes(input.datatype(), &raw);
    if (!bytes.ok()) return bytes.status();
    absl::StatusOr<json> element = ElementJson(input.datatype(), *bytes);
    if (!element.ok()) return element.status();
    data.push_back(std::move(*element));
  }
  return json{{"name", input.name()},
              {"datatype", input.datatype()},
              {"shape", input.shape()},
              {"data", std::move(data)}};
}

// Throws what nlohmann-json throws; its callers catch it.
void AppendJsonElement(const json& value, const std::string& datatype, std::string* raw) {
  const auto append = [raw](auto number) {
    raw->append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  switch (ParseDataType(datatype).value_or(DataType::kInvalid)) {
    case DataType::kFp32:
      return append(static_cast<float>(value.is_null() ? nan : value.get<double>()));
    case DataType::kFp64:
      return append(value.is_null() ? nan : value.get<double>());
    case DataType::kBool:
      return append(
          static_cast<uint8_t>(value.is_boolean() ? value.get<bool>() : value.get<int64_t>() != 0));
    case DataType::kInt8:
    case DataType::kUint8:
      return append(static_cast<uint8_t>(value.get<int64_t>()));
    case DataType::kInt16:
    case DataType::kUint16:
      return append(static_cast<uint16_t>(value.get<int64_t>()));
    case DataType::kInt32:
    case DataType::kUint32:
      return append(static_cast<uint32_t>(value.get<int64_t>()));
    case DataType::kInt64:
      return append(value.get<int64_t>());
    case DataType::kUint64:
      return append(value.get<uint64_t>());
    default:
      break;
  }
  const auto& text = value.get_ref<const std::string&>();
  append(static_cast<uint32_t>(text.size()));
  raw->append(text);
}

absl::Status BadAnswer(const char* why) {
  return absl::InternalError(absl::StrCat("the answer is not the protocol's JSON: ", why));
}

template <typename Tensor>
void ParseTensorHead(const json& tensor, Tensor* out) {
  out->set_name(tensor.at("name").get<std::string>());
  out->set_datatype(tensor.at("datatype").get<std::string>());
  for (const json& dim : tensor.at("shape")) out->add_shape(dim.get<int64_t>());
}

}  // namespace

absl::StatusOr<std::string> InferRequestJson(const ModelInferRequest& request) {
  json body = {{"inputs", json::array()}};
  if (!request.id().empty()) body["id"] = request.id();
  for (int i = 0; i < request.inputs_size(); ++i) {
    absl::StatusOr<json> input = InputJson(request, i);
    if (!input.ok()) return input.status();
    body["inputs"].push_back(std::move(*input));
  }
  for (const auto& output : request.outputs()) body["outputs"].push_back({{"name", output.name()}});
  try {
    return body.dump();
  } catch (const json::exception&) {
    return absl::InvalidArgumentError("a text is not UTF-8, which JSON needs: use gRPC");
  }
}

absl::StatusOr<ModelInferResponse> ParseInferAnswer(const std::string& body) {
  ModelInferResponse response;
  try {
    const json answer = json::parse(body);
    response.set_model_name(answer.at("model_name").get<std::string>());
    response.set_model_version(answer.value("model_version", ""));
    response.set_id(answer.value("id", ""));
    for (const json& output : answer.at("outputs")) {
      ParseTensorHead(output, response.add_outputs());
      std::string* raw = response.add_raw_output_contents();
      for (const json& element : output.at("data")) {
        AppendJsonElement(element, output.at("datatype").get<std::string>(), raw);
      }
    }
  } catch (const json::exception& error) {
    return BadAnswer(error.what());
  }
  return response;
}

absl::StatusOr<ModelMetadataResponse> ParseMetadataAnswer(const std::string& body) {
  ModelMetadataResponse response;
  try {
    const json answer = json::parse(body);
    response.set_name(answer.at("name").get<std::string>());
    response.set_platform(answer.value("platform", ""));
    for (const json& version : answer.at("versions")) response.add_versions(version);
    for (const json& tensor : answer.at("inputs")) ParseTensorHead(tensor, response.add_inputs());
    for (const json& tensor : answer.at("outputs")) ParseTensorHead(tensor, response.add_outputs());
    const json properties = answer.value("properties", json::object());
    for (const auto& [key, value] : properties.items()) {
      (*response.mutable_properties())[key] = value.get<std::string>();
    }
  } catch (const json::exception& error) {
    return BadAnswer(error.what());
  }
  return response;
}

absl::Status ParseHttpError(int code, const std::string& body) {
  const json answer = json::parse(body, nullptr, /*allow_exceptions=*/false);
  const bool has_sentence =
      answer.is_object() && answer.contains("error") && answer["error"].is_string();
  const std::string sentence = has_sentence ? answer["error"].get<std::string>()
                                            : absl::StrCat("the server answered HTTP ", code);
  switch (code) {
    case 400:
      return absl::InvalidArgumentError(sentence);
    case 401:
      return absl::UnauthenticatedError(sentence);
    case 403:
      return absl::PermissionDeniedError(sentence);
    case 404:
      return absl::NotFoundError(sentence);
    case 429:
      return absl::ResourceExhaustedError(sentence);
    case 503:
      return absl::UnavailableError(sentence);
    case 504:
      return absl::DeadlineExceededError(sentence);
    default:
      return absl::InternalError(sentence);
  }
}

std::string ModelTarget(const std::string& model, const std::string& version) {
  std::string target = "/v2/models/";
  const auto append = [&target](const std::string& segment) {
    for (const char c : segment) {
      if (isalnum(static_cast<unsigned char>(c)) || strchr("-._~", c) != nullptr) {
        target += c;
      } else {
        char escape[4];
        snprintf(escape, sizeof escape, "%%%02X", static_cast<unsigned char>(c));
        target += escape;
      }
    }
  };
  append(model);
  if (!version.empty()) {
    target += "/versions/";
    append(version);
  }
  return target;
}

}  // namespace millrace
