#include "services/ingress/grpc/model_metadata.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/datatype.h"
#include "services/ingress/grpc/grpc_status.h"

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

}  // namespace

absl::Status DescribeModel(const Catalog& catalog, std::string_view name, std::string_view version,
                           ModelMetadataResponse* response) {
  const Model* found = nullptr;
  bool known = false;
  for (const Model& model : catalog.models()) {
    if (model.name() != name) continue;
    known = true;
    response->add_versions(model.version());
    if (version.empty() ? model.latest() : model.version() == version) found = &model;
  }
  if (found == nullptr) {
    return absl::NotFoundError(
        known ? absl::StrCat("version: model \"", Abseil(name), "\" has no version \"",
                             Abseil(version), "\"")
              : absl::StrCat("name: no model \"", Abseil(name), "\" is served"));
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

}  // namespace millrace
