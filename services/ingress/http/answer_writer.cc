#include "services/ingress/http/answer_writer.h"

#include <string.h>

#include "absl/container/inlined_vector.h"
#include "common/check.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/tensor_json.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

// One output, its metadata copied; reads the data from front to back, each byte once.
struct Output {
  std::string name;
  DataType datatype = DataType::kInvalid;
  absl::InlinedVector<int64_t, kMaxRank> shape;
  size_t count = 0;
  std::string_view rest;
};

absl::Status Malformed(const Output& output) {
  return absl::InternalError(
      Concat("the output \"", output.name, "\" does not agree with its shape"));
}

absl::Status Open(const TensorView& view, Output* out) {
  out->name = view.name;
  out->datatype = view.datatype;
  out->shape.assign(view.shape.begin(), view.shape.end());
  out->rest = view.raw;
  if (!CountElements(out->shape, {}, &out->count).ok()) return Malformed(*out);
  const size_t width = DataTypeSize(out->datatype);
  const bool agrees = width == 0
                          ? out->datatype == DataType::kBytes
                          : out->rest.size() / width == out->count && out->rest.size() % width == 0;
  return agrees ? absl::OkStatus() : Malformed(*out);
}

template <typename T>
T Take(Output* output) {
  T value;
  MR_CHECK(output->rest.size() >= sizeof(T), "Open held the size against the shape");
  memcpy(&value, output->rest.data(), sizeof(T));
  output->rest.remove_prefix(sizeof(T));
  return value;
}

absl::Status AppendText(Output* output, AnswerBody* body) {
  if (output->rest.size() < sizeof(uint32_t)) return Malformed(*output);
  const uint32_t size = Take<uint32_t>(output);
  if (output->rest.size() < size) return Malformed(*output);
  body->copy = output->rest.substr(0, size);
  output->rest.remove_prefix(size);
  AppendJsonString(body->copy, &body->json);
  return absl::OkStatus();
}

absl::Status AppendElement(Output* output, AnswerBody* body) {
  std::string* json = &body->json;
  switch (output->datatype) {
    case DataType::kBool:
      json->append(Take<uint8_t>(output) != 0 ? "true" : "false");
      break;
    case DataType::kUint8:
      AppendJsonNumber(uint64_t{Take<uint8_t>(output)}, json);
      break;
    case DataType::kUint16:
      AppendJsonNumber(uint64_t{Take<uint16_t>(output)}, json);
      break;
    case DataType::kUint32:
      AppendJsonNumber(uint64_t{Take<uint32_t>(output)}, json);
      break;
    case DataType::kUint64:
      AppendJsonNumber(Take<uint64_t>(output), json);
      break;
    case DataType::kInt8:
      AppendJsonNumber(int64_t{Take<int8_t>(output)}, json);
      break;
    case DataType::kInt16:
      AppendJsonNumber(int64_t{Take<int16_t>(output)}, json);
      break;
    case DataType::kInt32:
      AppendJsonNumber(int64_t{Take<int32_t>(output)}, json);
      break;
    case DataType::kInt64:
      AppendJsonNumber(Take<int64_t>(output), json);
      break;
    case DataType::kFp32:
      AppendJsonNumber(Take<float>(output), json);
      break;
    case DataType::kFp64:
      AppendJsonNumber(Take<double>(output), json);
      break;
    case DataType::kBytes:
      return AppendText(output, body);
    case DataType::kFp16:
    case DataType::kBf16:
    case DataType::kInvalid:
      return BadInput("the output \"", output->name, "\" is ", DataTypeName(output->datatype),
                      ", which has no JSON form; ask for binary_data");
  }
  return absl::OkStatus();
}

absl::Status AppendElements(Output* output, size_t count, AnswerBody* body) {
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) body->json.push_back(',');
    if (absl::Status status = AppendElement(output, body); !status.ok()) return status;
  }
  return absl::OkStatus();
}

const AnswerForm::Output* FindForm(const AnswerForm& form, std::string_view name) {
  for (const AnswerForm::Output& output : form.outputs) {
    if (output.name == name) return &output;
  }
  return nullptr;
}

// Behind the shape: the output goes into the client's shared memory.
absl::Status AppendPlace(const Output& output, const RegionPlace& place, std::string* json) {
  if (absl::Status status = place.Write(output.rest); !status.ok()) {
    return absl::Status(status.code(),
                        Abseil(Concat("the output \"", output.name, "\": ", Message(status))));
  }
  // Triton's C++ client looks for the first of these wherever there are parameters.
  json->append("],\"parameters\":{\"binary_data_size\":0,\"shared_memory_region\":");
  AppendJsonString(place.region_name(), json);
  Append(json, ",\"shared_memory_byte_size\":", output.rest.size());
  if (place.offset() != 0) Append(json, ",\"shared_memory_offset\":", place.offset());
  json->append("}}");
  return absl::OkStatus();
}

absl::Status AppendOutput(const TensorView& view, const AnswerForm& form, AnswerBody* body) {
  Output output;
  if (absl::Status status = Open(view, &output); !status.ok()) return status;
  std::string* json = &body->json;
  json->append("{\"name\":");
  AppendJsonString(output.name, json);
  Append(json, ",\"datatype\":\"", DataTypeName(output.datatype), "\",\"shape\":[");
  for (size_t i = 0; i < output.shape.size(); ++i) {
    Append(json, i == 0 ? "" : ",", output.shape[i]);
  }
  const AnswerForm::Output* wish = FindForm(form, output.name);
  if (wish != nullptr && wish->place) return AppendPlace(output, wish->place, json);
  if (wish != nullptr ? wish->binary : form.binary) {
    body->has_binary = true;
    body->binary.append(output.rest);
    Append(json, "],\"parameters\":{\"binary_data_size\":", output.rest.size(), "}}");
    return absl::OkStatus();
  }
  json->append("],\"data\":[");
  absl::Status status = AppendElements(&output, output.count, body);
  if (status.ok() && !output.rest.empty()) status = Malformed(output);
  json->append("]}");
  return status;
}

absl::Status WritePredictions(const InferAnswer& answer, AnswerBody* body) {
  std::string* json = &body->json;
  absl::InlinedVector<Output, 4> outputs(answer.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (absl::Status status = Open(answer.outputs[i], &outputs[i]); !status.ok()) return status;
  }
  const int64_t rows = outputs.empty() ? 0 : outputs[0].shape[0];
  const bool several = outputs.size() > 1;
  json->append("{\"predictions\":[");
  for (int64_t row = 0; row < rows; ++row) {
    if (row > 0) json->push_back(',');
    if (several) json->push_back('{');
    for (size_t i = 0; i < outputs.size(); ++i) {
      Output& output = outputs[i];
      if (output.shape[0] != rows) return Malformed(output);
      if (several) {
        if (i > 0) json->push_back(',');
        AppendJsonString(output.name, json);
        json->push_back(':');
      }
      const size_t columns = output.count / static_cast<size_t>(rows);
      if (columns != 1) json->push_back('[');
      absl::Status status = AppendElements(&output, columns, body);
      if (!status.ok()) return status;
      if (columns != 1) json->push_back(']');
    }
    if (several) json->push_back('}');
  }
  for (const Output& output : outputs) {
    if (!output.rest.empty()) return Malformed(output);
  }
  json->append("]}");
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteAnswer(const InferAnswer& answer, const AnswerForm& form, AnswerBody* body) {
  MR_CHECK(answer.status.ok(), "an error has no outputs");
  body->json.clear();
  body->binary.clear();
  body->has_binary = false;
  if (form.predictions) return WritePredictions(answer, body);
  std::string* json = &body->json;
  json->append("{\"model_name\":");
  body->copy = answer.model;
  AppendJsonString(body->copy, json);
  json->append(",\"model_version\":");
  body->copy = answer.version;
  AppendJsonString(body->copy, json);
  if (!form.id.empty()) {
    json->append(",\"id\":");
    AppendJsonString(form.id, json);
  }
  if (!answer.fallback.empty()) {
    json->append(",\"parameters\":{\"millrace_fallback\":");
    body->copy = answer.fallback;
    AppendJsonString(body->copy, json);
    json->push_back('}');
  }
  json->append(",\"outputs\":[");
  for (size_t i = 0; i < answer.outputs.size(); ++i) {
    if (i > 0) json->push_back(',');
    absl::Status status = AppendOutput(answer.outputs[i], form, body);
    if (!status.ok()) return status;
  }
  json->append("]}");
  return absl::OkStatus();
}

}  // namespace millrace::http
