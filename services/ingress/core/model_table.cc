#include "services/ingress/core/model_table.h"

#include <algorithm>
#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace millrace {
namespace {

// A score as printf's %f writes it, its index, two colons and the length before them. A score
// beyond 10^40 is longer: aggregation then answers RESOURCE_EXHAUSTED where no block holds it.
constexpr size_t kTopKTextBytes = 4 + 48 + 12;

std::string Text(std::string_view v) { return std::string(v.substr(0, 128)); }

absl::Status Bad(size_t input, const char* field, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("inputs[", input, "].", field, ": ", why));
}

std::string ShapeText(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

bool IsNumber(DataType type) {
  return type != DataType::kBytes && type != DataType::kInvalid && type != DataType::kFp16 &&
         type != DataType::kBf16;
}

// The leading dimension, within 1 .. max_rows and the same for all inputs.
absl::Status TakeRows(size_t i, const TensorView& input, uint32_t max_rows, uint32_t* rows) {
  const int64_t n = input.shape.empty() ? 0 : input.shape[0];
  if (n < 1 || n > max_rows) {
    return Bad(
        i, "shape",
        absl::StrCat(ShapeText(input.shape), " has a first dimension outside 1 to ", max_rows));
  }
  if (*rows != 0 && *rows != n) {
    return Bad(
        i, "shape",
        absl::StrCat(ShapeText(input.shape), " has other rows than the first input's ", *rows));
  }
  *rows = static_cast<uint32_t>(n);
  return absl::OkStatus();
}

absl::Status CheckTensor(size_t i, const TensorView& input, const TensorSpec& spec,
                         uint32_t max_rows, uint32_t* rows) {
  const auto wanted = static_cast<DataType>(spec.datatype());
  if (input.datatype != wanted) {
    return Bad(i, "datatype",
               absl::StrCat(std::string(DataTypeName(input.datatype)), ", but input '", spec.name(),
                            "' is ", std::string(DataTypeName(wanted))));
  }
  if (absl::Status s = TakeRows(i, input, max_rows, rows); !s.ok()) return s;
  const bool same = input.shape.size() == 1u + spec.dims_size() &&
                    std::equal(spec.dims().begin(), spec.dims().end(), input.shape.begin() + 1);
  if (!same) {
    return Bad(i, "shape",
               absl::StrCat(ShapeText(input.shape), ", but input '", spec.name(), "' takes [rows, ",
                            absl::StrJoin(spec.dims(), ", "), "]"));
  }
  size_t elements = *rows;
  for (int64_t d : spec.dims()) elements *= d;  // bounded: the registry checked the dims
  if (input.raw.size() != elements * DataTypeSize(wanted)) {
    return Bad(i, "data",
               absl::StrCat(input.raw.size(), " bytes, but the shape asks for ",
                            elements * DataTypeSize(wanted)));
  }
  return absl::OkStatus();
}

absl::Status CheckColumn(size_t i, const TensorView& input, const ServedModel::RawColumn& column,
                         uint32_t max_rows, uint32_t* rows) {
  if (column.text ? input.datatype != DataType::kBytes : !IsNumber(input.datatype)) {
    return Bad(i, "datatype",
               absl::StrCat(std::string(DataTypeName(input.datatype)), ", but column '",
                            column.name, "' takes ", column.text ? "BYTES" : "numbers or BOOL"));
  }
  if (absl::Status s = TakeRows(i, input, max_rows, rows); !s.ok()) return s;
  if (input.shape.size() > 2 || (input.shape.size() == 2 && input.shape[1] != 1)) {
    return Bad(i, "shape",
               absl::StrCat(ShapeText(input.shape), ", but column '", column.name,
                            "' takes [rows] or [rows, 1]"));
  }
  if (!column.text && input.raw.size() != *rows * DataTypeSize(input.datatype)) {
    return Bad(i, "data",
               absl::StrCat(input.raw.size(), " bytes, but the shape asks for ",
                            *rows * DataTypeSize(input.datatype)));
  }
  return absl::OkStatus();
}

// Names of the inputs to places; each place exactly once.
template <typename Names>
absl::Status MatchNames(const InferRequest& request, const Names& name_at, size_t count,
                        const char* what, absl::InlinedVector<uint16_t, 16>* places) {
  absl::InlinedVector<bool, 16> seen(count, false);
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    // Mostly they come in the model's order.
    const bool in_order = i < count && std::string_view(name_at(i)) == request.inputs[i].name;
    size_t at = in_order ? i : 0;
    while (at < count && std::string_view(name_at(at)) != request.inputs[i].name) ++at;
    if (at == count || seen[at]) {
      const std::string quoted = absl::StrCat("'", Text(request.inputs[i].name), "'");
      return Bad(i, "name",
                 at == count ? absl::StrCat("the model has no ", what, " ", quoted)
                             : absl::StrCat(quoted, " is given twice"));
    }
    seen[at] = true;
    places->push_back(static_cast<uint16_t>(at));
  }
  for (size_t at = 0; at < count; ++at) {
    if (!seen[at]) {
      return absl::InvalidArgumentError(
          absl::StrCat("inputs: ", what, " '", std::string(name_at(at)), "' is missing"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckInputs(const InferRequest& request, const ServedModel& served,
                         CheckedRequest* checked) {
  const Model& model = *served.model;
  if (request.inputs.empty()) return absl::InvalidArgumentError("inputs: none given");
  auto is_tensor = [&](const TensorView& input) {
    return std::any_of(model.inputs().begin(), model.inputs().end(),
                       [&](const TensorSpec& spec) { return spec.name() == input.name; });
  };
  checked->raw_columns = !served.columns.empty() &&
                         std::none_of(request.inputs.begin(), request.inputs.end(), is_tensor);
  absl::Status matched =
      checked->raw_columns
          ? MatchNames(
                request, [&](size_t c) -> const std::string& { return served.columns[c].name; },
                served.columns.size(), "column", &checked->pack_names)
          : MatchNames(
                request, [&](size_t t) -> const std::string& { return model.inputs(t).name(); },
                model.inputs_size(), "input", &checked->pack_names);
  if (!matched.ok()) return matched;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const size_t at = checked->pack_names[i];
    absl::Status s = checked->raw_columns ? CheckColumn(i, request.inputs[i], served.columns[at],
                                                        model.max_rows(), &checked->rows)
                                          : CheckTensor(i, request.inputs[i], model.inputs(at),
                                                        model.max_rows(), &checked->rows);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status CheckOutputs(const InferRequest& request, const ServedModel& served,
                          CheckedRequest* checked) {
  const Model& model = *served.model;
  if (request.outputs.empty()) {
    for (int o = 0; o < model.outputs_size(); ++o) checked->output_order.push_back(o);
  }
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    int at = 0;
    while (at < model.outputs_size() && model.outputs(at).tensor().name() != request.outputs[i])
      ++at;
    if (at == model.outputs_size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "outputs[", i, "].name: the model has no output '", Text(request.outputs[i]), "'"));
    }
    if (std::find(checked->output_order.begin(), checked->output_order.end(), at) !=
        checked->output_order.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("outputs[", i, "].name: '", Text(request.outputs[i]), "' is given twice"));
    }
    checked->output_order.push_back(static_cast<uint8_t>(at));
  }
  checked->needs_aggregation = model.members_size() > 0;
  for (uint8_t o : checked->output_order) {
    const OutputKind kind = model.outputs(o).kind();
    checked->outputs |= 1u << kind;
    if (kind != PREDICTION && kind != MARGIN) checked->needs_aggregation = true;
  }
  return absl::OkStatus();
}

}  // namespace

size_t ServedModel::FeaturesBytes(size_t rows) const {
  return PackWriter::BytesBound(1, rows * view_width * DataTypeSize(DataType::kFp32));
}

size_t ServedModel::ExecutionBytes(size_t rows, uint32_t outputs) const {
  size_t bytes = rows * model->prediction_columns() * sizeof(double);
  if (outputs & 1u << MARGIN) bytes += rows * model->margin_columns() * sizeof(double);
  return PackWriter::BytesBound(2, bytes);
}

size_t ServedModel::AggregationBytes(size_t rows, uint32_t outputs) const {
  size_t bytes = 0;
  for (const OutputSpec& output : model->outputs()) {
    if ((outputs & 1u << output.kind()) == 0) continue;
    size_t label = 0;
    for (const std::string& text : output.labels()) label = std::max(label, text.size());
    switch (output.kind()) {
      case CLASS:
        bytes += rows * sizeof(int64_t);
        break;
      case LABEL:
        bytes += rows * (4 + label);
        break;
      case TOP_K:
        bytes += rows * output.top_k() * (kTopKTextBytes + label);
        break;
      case MARGIN:
        bytes += rows * model->margin_columns() * sizeof(double);
        break;
      default:
        bytes += rows * model->prediction_columns() * sizeof(double);
    }
  }
  return PackWriter::BytesBound(model->outputs_size(), bytes);
}

std::shared_ptr<const ModelTable> ModelTable::Make(std::shared_ptr<const Catalog> catalog) {
  static std::atomic<uint64_t> tables{0};
  auto table = std::make_shared<ModelTable>();
  // relaxed: a number that nobody else has, and no more.
  table->number_ = tables.fetch_add(1, std::memory_order_relaxed) + 1;
  absl::flat_hash_map<uint32_t, const ServedModel*> by_route;
  for (const Model& model : catalog->models()) {
    auto served = std::make_unique<ServedModel>();
    served->model = &model;
    served->place = table->models_.size();
    for (const Feature& feature : model.view().features()) {
      const bool known = std::any_of(served->columns.begin(), served->columns.end(),
                                     [&](const auto& c) { return c.name == feature.column(); });
      if (!known) served->columns.push_back({feature.column(), feature.type() == Feature::STRING});
    }
    served->view_width = 1;
    if (model.inputs_size() > 0) {
      for (int64_t d : model.inputs(0).dims()) served->view_width *= d;
    }
    by_route[model.route()] = served.get();
    table->by_name_[model.name()].push_back(served.get());
    table->models_.push_back(std::move(served));
  }
  for (const auto& served : table->models_) {
    for (const Member& member : served->model->members()) {
      auto found = by_route.find(member.route());
      if (found != by_route.end()) served->members.push_back(found->second);
    }
    if (served->model->members_size() == 0) served->members.push_back(served.get());
  }
  table->catalog_ = std::move(catalog);
  return table;
}

absl::StatusOr<const ServedModel*> ModelTable::Find(std::string_view name,
                                                    std::string_view version) const {
  auto found = by_name_.find(absl::string_view(name.data(), name.size()));
  if (found == by_name_.end()) {
    return absl::NotFoundError(absl::StrCat("model '", Text(name), "' is not served"));
  }
  for (const ServedModel* served : found->second) {
    if (version.empty() ? served->model->latest() : served->model->version() == version)
      return served;
  }
  return absl::NotFoundError(
      absl::StrCat("model '", Text(name), "' has no version '", Text(version), "'"));
}

const ServedModel* ModelTable::Lookup(std::string_view name, std::string_view version) const {
  const auto found = by_name_.find(absl::string_view(name.data(), name.size()));
  if (found == by_name_.end()) return nullptr;
  for (const ServedModel* served : found->second) {
    if (version.empty() ? served->model->latest() : served->model->version() == version) {
      return served;
    }
  }
  return nullptr;
}

absl::StatusOr<const ServedModel*> ModelTable::FindOf(const InferRequest& request) const {
  if (request.memo == nullptr) return Find(request.model, request.version);
  if (request.memo->table == number_) {
    const auto* const served = static_cast<const ServedModel*>(request.memo->model);
    const bool version = request.version.empty() ? served->model->latest()
                                                 : served->model->version() == request.version;
    if (version && served->model->name() == request.model) return served;
  }
  absl::StatusOr<const ServedModel*> served = Find(request.model, request.version);
  if (served.ok()) *request.memo = {number_, *served};
  return served;
}

absl::Status ModelTable::Check(const InferRequest& request, CheckedRequest* checked) const {
  absl::StatusOr<const ServedModel*> served = FindOf(request);
  if (!served.ok()) return served.status();
  checked->model = *served;
  if (absl::Status s = CheckInputs(request, **served, checked); !s.ok()) return s;
  return CheckOutputs(request, **served, checked);
}

}  // namespace millrace
