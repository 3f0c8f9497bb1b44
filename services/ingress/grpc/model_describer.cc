#include "services/ingress/grpc/model_describer.h"

#include <google/protobuf/util/json_util.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/datatype.h"
#include "services/ingress/grpc/grpc_status.h"
#include "services/ingress/verbs.h"

namespace millrace {
namespace {

using inference::ModelMetadataResponse;

// Every model takes and gives [rows, dims...]; the rows are the request's.
constexpr int64_t kAnySize = -1;

void DescribeTensor(const TensorSpec& spec, ModelMetadataResponse::TensorMetadata* tensor) {
  tensor->set_name(spec.name());
  tensor->set_datatype(std::string(DataTypeName(static_cast<DataType>(spec.datatype()))));
  tensor->add_shape(kAnySize);
  for (const int64_t dim : spec.dims()) tensor->add_shape(dim);
}

void DescribeView(const FeatureView& view, ModelMetadataResponse* response) {
  auto& properties = *response->mutable_properties();
  properties["feature_view"] = view.name();
  for (const Feature& feature : view.features()) {
    properties[absl::StrCat("raw_column.", feature.column())] =
        feature.type() == Feature::STRING ? "string" : "number";
  }
}

absl::StatusOr<const Model*> Find(const Catalog& catalog, std::string_view name,
                                  std::string_view version) {
  bool known = false;
  for (const Model& model : catalog.models()) {
    if (model.name() != name) continue;
    known = true;
    if (version.empty() ? model.latest() : model.version() == version) return &model;
  }
  return absl::NotFoundError(known
                                 ? absl::StrCat("version: model \"", Abseil(name),
                                                "\" has no version \"", Abseil(version), "\"")
                                 : absl::StrCat("name: no model \"", Abseil(name), "\" is served"));
}

// The two enumerations have the same numbers.
static_assert(static_cast<int>(DataType::kBool) == inference::TYPE_BOOL &&
              static_cast<int>(DataType::kInt64) == inference::TYPE_INT64 &&
              static_cast<int>(DataType::kFp32) == inference::TYPE_FP32 &&
              static_cast<int>(DataType::kBytes) == inference::TYPE_STRING &&
              static_cast<int>(DataType::kBf16) == inference::TYPE_BF16);

// An input or output: what is served wins over what was written.
template <typename Tensor>
void ConfigureTensor(const TensorSpec& spec, Tensor* tensor) {
  tensor->set_name(spec.name());
  tensor->set_data_type(static_cast<inference::DataType>(spec.datatype()));
  *tensor->mutable_dims() = spec.dims();
}

template <typename Tensors>
auto* At(Tensors* tensors, int index) {
  return index < tensors->size() ? tensors->Mutable(index) : tensors->Add();
}

}  // namespace

absl::Status DescribeModel(const Catalog& catalog, std::string_view name, std::string_view version,
                           ModelMetadataResponse* response) {
  const absl::StatusOr<const Model*> model = Find(catalog, name, version);
  if (!model.ok()) return model.status();
  const Model* const found = *model;
  for (const Model& other : catalog.models()) {
    if (other.name() == name) response->add_versions(other.version());
  }
  response->set_name(found->name());
  response->set_platform(found->platform());
  for (const TensorSpec& input : found->inputs()) DescribeTensor(input, response->add_inputs());
  for (const OutputSpec& output : found->outputs()) {
    DescribeTensor(output.tensor(), response->add_outputs());
  }
  if (found->has_view()) DescribeView(found->view(), response);
  return absl::OkStatus();
}

absl::Status DescribeConfig(const Catalog& catalog, std::string_view name, std::string_view version,
                            inference::ModelConfigResponse* response) {
  const absl::StatusOr<const Model*> found = Find(catalog, name, version);
  if (!found.ok()) return found.status();
  const Model& model = **found;
  inference::ModelConfig* config = response->mutable_config();
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // a newer registry may know more
  if (!google::protobuf::util::JsonStringToMessage(model.config_json(), config, options).ok()) {
    return absl::InternalError("the model's configuration cannot be read");
  }
  config->set_name(model.name());
  config->set_platform(model.platform());
  config->set_max_batch_size(static_cast<int32_t>(model.max_rows()));
  for (int i = 0; i < model.inputs_size(); ++i) {
    ConfigureTensor(model.inputs(i), At(config->mutable_input(), i));
  }
  for (int i = 0; i < model.outputs_size(); ++i) {
    ConfigureTensor(model.outputs(i).tensor(), At(config->mutable_output(), i));
  }
  return absl::OkStatus();
}

absl::Status IndexRepository(const Frontend& frontend, const Catalog& catalog, bool draining,
                             const inference::RepositoryIndexRequest& request,
                             inference::RepositoryIndexResponse* response) {
  if (!request.repository_name().empty()) {
    return absl::UnimplementedError("repository_name: this server has one repository, unnamed");
  }
  for (const IndexEntry& entry : IndexOf(frontend, &catalog, draining, request.ready())) {
    auto* index = response->add_models();
    index->set_name(entry.name);
    index->set_version(entry.version);
    index->set_state(std::string(entry.state));
    index->set_reason(std::string(entry.reason));
  }
  return absl::OkStatus();
}

}  // namespace millrace
