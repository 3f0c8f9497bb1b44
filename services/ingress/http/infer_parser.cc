#include "services/ingress/http/infer_parser.h"

#include <limits>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "common/check.h"
#include "services/ingress/http/body.h"
#include "services/ingress/http/infer_inputs.h"
#include "services/ingress/http/json_reader.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using Value = JsonReader::Value;
using Object = JsonReader::Object;
using Array = JsonReader::Array;

static_assert(kBodyPadding >= kJsonPadding, "a body has room for the JSON reader");

constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

enum Member : uint32_t { kName = 1, kId = 2, kInputs = 4, kOutputs = 8, kParameters = 16 };

}  // namespace

class InferParser::Impl {
 public:
  explicit Impl(const ClientRegions* regions) : regions_(regions) { inputs_.set_regions(regions); }

  absl::Status Parse(const std::string& body, std::optional<size_t> json_bytes, ParsedInfer* out);
  absl::Status ParseRaw(std::string_view body, const Model& model, ParsedInfer* out);

 private:
  absl::Status ReadRoot(Object root, ParsedInfer* out);
  absl::Status PlaceOutputs(ParsedInfer* out);
  absl::Status ReadRequestParameters(Value value, ParsedInfer* out);
  absl::Status ReadOutputs(Value value, ParsedInfer* out);
  absl::Status ReadOutput(Object object, size_t index, ParsedInfer* out);
  absl::Status ReadOutputParameters(Value value, size_t index);

  JsonReader reader_;
  InferInputs inputs_{&reader_};
  struct Wish {
    std::optional<bool> binary;
    RegionParameters region;
    int64_t classes = 0;  // 0: all numbers
  };

  const ClientRegions* const regions_;
  std::vector<Wish> wishes_;  // for each output
  absl::flat_hash_set<std::string_view> output_names_;
  std::vector<int64_t> raw_shape_;  // of ParseRaw
};

InferParser::InferParser(const ClientRegions* regions) : impl_(std::make_unique<Impl>(regions)) {}
InferParser::~InferParser() = default;

absl::Status InferParser::Parse(const std::string& body, std::optional<size_t> json_bytes,
                                ParsedInfer* out) {
  return impl_->Parse(body, json_bytes, out);
}

absl::Status InferParser::Impl::Parse(const std::string& body, std::optional<size_t> json_bytes,
                                      ParsedInfer* out) {
  MR_CHECK(body.capacity() >= body.size() + kBodyPadding, "a body has padding");
  out->Clear();
  wishes_.clear();
  output_names_.clear();
  const size_t json_size = json_bytes.value_or(body.size());
  if (json_size > body.size()) {
    return BadInput("Inference-Header-Content-Length: ", json_size, " is more than the body's ",
                    body.size(), " bytes");
  }
  if (json_bytes.has_value() && json_size == 0) {
    return absl::InvalidArgumentError("Inference-Header-Content-Length: 0 leaves no JSON");
  }
  inputs_.Reset(json_size);
  Object root;
  absl::Status status = reader_.Open(body.data(), json_size, body.capacity(), &root);
  if (status.ok()) status = ReadRoot(root, out);
  if (status.ok()) status = reader_.Finish();
  const std::string_view binary = std::string_view(body).substr(json_size);
  if (status.ok()) status = inputs_.PlaceBinary(binary);
  if (!status.ok()) return status;
  inputs_.HandOut(binary, out);
  return PlaceOutputs(out);
}

absl::Status InferParser::Impl::PlaceOutputs(ParsedInfer* out) {
  MR_CHECK(wishes_.size() == out->outputs.size(), "one form for each output");
  for (size_t i = 0; i < out->outputs.size(); ++i) {
    const Wish& wish = wishes_[i];
    AnswerForm::Output output = {
        std::string(out->outputs[i]), wish.binary.value_or(out->form.binary), {}};
    if (wish.classes != 0) {
      if (wish.region.given()) {
        return FieldFault({"outputs", i, "parameters.classification"},
                          "must not be set together with shared_memory_region");
      }
      out->form.classes.Add(i, static_cast<uint64_t>(wish.classes));
    }
    if (wish.region.given()) {
      if (absl::Status status = wish.region.Check("outputs", i); !status.ok()) return status;
      absl::StatusOr<RegionPlace> place =
          absl::UnimplementedError("shared_memory_region: is not supported");
      if (regions_ != nullptr) {
        place = regions_->Find(*wish.region.region, static_cast<uint64_t>(wish.region.offset),
                               static_cast<uint64_t>(*wish.region.bytes));
      }
      if (!place.ok()) return RegionFault(place.status(), "outputs", i);
      output.place = *std::move(place);
    }
    out->form.outputs.push_back(std::move(output));
  }
  return absl::OkStatus();
}

absl::Status InferParser::ParseRaw(std::string_view body, const Model& model, ParsedInfer* out) {
  return impl_->ParseRaw(body, model, out);
}

absl::Status InferParser::Impl::ParseRaw(std::string_view body, const Model& model,
                                         ParsedInfer* out) {
  out->Clear();
  if (model.inputs_size() != 1 ||
      DataTypeSize(static_cast<DataType>(model.inputs(0).datatype())) == 0) {
    return absl::InvalidArgumentError(
        "Inference-Header-Content-Length: 0 (a body without JSON) is for a model with one input, "
        "of numbers");
  }
  const TensorSpec& input = model.inputs(0);
  const auto datatype = static_cast<DataType>(input.datatype());
  size_t row_bytes = DataTypeSize(datatype);
  for (const int64_t dim : input.dims()) row_bytes *= static_cast<size_t>(dim);  // the registry's
  if (row_bytes == 0 || body.empty() || body.size() % row_bytes != 0) {
    return BadInput("the body: ", body.size(), " bytes are not rows of input \"", input.name(),
                    "\", which have ", row_bytes);
  }
  raw_shape_.assign(1, static_cast<int64_t>(body.size() / row_bytes));
  raw_shape_.insert(raw_shape_.end(), input.dims().begin(), input.dims().end());
  out->inputs.push_back({input.name(), datatype, raw_shape_, body});
  out->form.binary = true;
  return absl::OkStatus();
}

absl::Status InferParser::Impl::ReadRoot(Object root, ParsedInfer* out) {
  Once once;
  for (auto field : root) {
    std::string_view key;
    Value value;
    absl::Status status = reader_.ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    const FieldPath path{"", FieldPath::kNone, key};
    if (key == "id") {
      std::string_view id;
      status = once.Take(kId, path);
      if (status.ok()) status = reader_.ReadString(value, path, &id);
      if (status.ok()) out->form.id = id;
    } else if (key == "parameters") {
      status = once.Take(kParameters, path);
      if (status.ok()) status = ReadRequestParameters(value, out);
    } else if (key == "inputs") {
      status = once.Take(kInputs, path);
      if (status.ok()) status = inputs_.Read(value);
    } else if (key == "outputs") {
      status = once.Take(kOutputs, path);
      if (status.ok()) status = ReadOutputs(value, out);
    } else {
      status = reader_.Skip(value, kMemberDepth);
    }
    if (!status.ok()) return status;
  }
  if (!once.has(kInputs)) return absl::InvalidArgumentError("inputs: is missing");
  return absl::OkStatus();
}

absl::Status InferParser::Impl::ReadRequestParameters(Value value, ParsedInfer* out) {
  const FieldPath here{"", FieldPath::kNone, "parameters"};
  Object object;
  absl::Status status = reader_.ReadObject(value, here, &object);
  if (!status.ok()) return status;
  for (auto field : object) {
    std::string_view key;
    status = reader_.ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    const FieldPath path{"parameters", FieldPath::kNone, key};
    if (key == "timeout") {
      status = reader_.ReadInt(value, path, 0, kMaxInt64, &out->timeout_us);
    } else if (key == "priority") {
      int64_t priority = 0;
      status = reader_.ReadInt(value, path, 0, std::numeric_limits<uint32_t>::max(), &priority);
      out->priority = static_cast<uint32_t>(priority);
    } else if (key == "millrace-client-key") {
      status = reader_.ReadString(value, path, &out->client_key);
    } else if (key == "binary_data_output") {
      status = reader_.ReadBool(value, path, &out->form.binary);
    } else if (ChangesTheResult(key)) {
      status = FieldFault(path, "is not supported");
    } else {
      status = reader_.Skip(value, kMemberDepth + 1);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status InferParser::Impl::ReadOutputs(Value value, ParsedInfer* out) {
  const FieldPath here{"", FieldPath::kNone, "outputs"};
  Array array;
  absl::Status status = reader_.ReadArray(value, here, &array);
  if (!status.ok()) return status;
  for (auto element : array) {
    const size_t index = out->outputs.size();
    if (index == kMaxOutputs) return FieldFault(here, Concat("more than ", kMaxOutputs));
    if (auto error = element.get(value)) return reader_.Broken(error);
    Object object;
    status = reader_.ReadObject(value, {"outputs", index, ""}, &object);
    if (status.ok()) status = ReadOutput(object, index, out);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status InferParser::Impl::ReadOutput(Object object, size_t index, ParsedInfer* out) {
  Once once;
  std::string_view name;
  wishes_.emplace_back();
  for (auto field : object) {
    std::string_view key;
    Value value;
    absl::Status status = reader_.ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    const FieldPath path{"outputs", index, key};
    if (key == "name") {
      status = once.Take(kName, path);
      if (status.ok()) status = reader_.ReadString(value, path, &name);
    } else if (key == "parameters") {
      status = once.Take(kParameters, path);
      if (status.ok()) status = ReadOutputParameters(value, index);
    } else {
      status = reader_.Skip(value, kElementMemberDepth);
    }
    if (!status.ok()) return status;
  }
  if (name.empty()) return FieldFault({"outputs", index, "name"}, "is missing or empty");
  if (!output_names_.insert(name).second) {
    return FieldFault({"outputs", index, "name"}, Concat(Quoted(name), " is given twice"));
  }
  out->outputs.push_back(name);
  return absl::OkStatus();
}

absl::Status InferParser::Impl::ReadOutputParameters(Value value, size_t index) {
  Object object;
  absl::Status status = reader_.ReadObject(value, {"outputs", index, "parameters"}, &object);
  if (!status.ok()) return status;
  for (auto field : object) {
    std::string_view key;
    status = reader_.ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    if (key == "binary_data") {
      bool binary = false;
      status = reader_.ReadBool(value, {"outputs", index, "parameters.binary_data"}, &binary);
      wishes_[index].binary = binary;
    } else if (key == "classification") {
      status = reader_.ReadInt(value, {"outputs", index, "parameters.classification"}, 1, kMaxInt64,
                               &wishes_[index].classes);
    } else if (IsRegionParameter(key)) {
      status = ReadRegionParameter(&reader_, value, "outputs", index, key, &wishes_[index].region);
    } else if (ChangesTheResult(key)) {
      status = FieldFault({"outputs", index, Concat("parameters.", key)}, "is not supported");
    } else {
      status = reader_.Skip(value, kParameterDepth);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace millrace::http
