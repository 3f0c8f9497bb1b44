#include "services/ingress/http/predict_parser.h"

#include <limits>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/check.h"
#include "services/ingress/http/body.h"
#include "services/ingress/http/json_reader.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/tensor_json.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using Value = JsonReader::Value;
using Object = JsonReader::Object;
using Array = JsonReader::Array;
using JsonType = simdjson::ondemand::json_type;

constexpr size_t kMemberDepth = 2;  // {"x": HERE}

struct Column {
  std::string_view name;
  DataType type = DataType::kInvalid;  // not known while all values so far are null
  size_t rows = 0;
  std::string raw;
};

void AppendNumber(double number, std::string* raw) {
  raw->append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void AppendMissing(Column* column) {
  if (column->type == DataType::kFp64) {
    AppendNumber(std::numeric_limits<double>::quiet_NaN(), &column->raw);
  } else {
    AppendBytesElement("", &column->raw);
  }
}

// Gives a column its type, and what it was missing so far.
void SetType(Column* column, DataType type) {
  MR_CHECK(column->type == DataType::kInvalid, "a column's type is set once");
  column->type = type;
  for (size_t row = 0; row < column->rows; ++row) AppendMissing(column);
}

}  // namespace

class PredictParser::Impl {
 public:
  absl::Status Parse(const std::string& body, const Model& model, ParsedInfer* out);

 private:
  absl::Status ReadInstances(Value value, const Model& model);
  absl::Status ReadTensorRow(Value value, const Model& model);
  absl::Status ReadObjectRow(Value value, const Model& model);
  absl::Status FindColumn(std::string_view name, size_t position, const Model& model,
                          Column** column);
  absl::Status ReadCell(Value value, Column* column);
  void HandOut(const Model& model, ParsedInfer* out);

  JsonReader reader_;
  size_t body_bytes_ = 0;
  size_t rows_ = 0;
  bool objects_ = false;
  std::string raw_;
  std::vector<int64_t> row_shape_;
  std::vector<int64_t> shape_;
  std::vector<Column> columns_;
  absl::flat_hash_map<std::string_view, size_t> by_name_;
};

PredictParser::PredictParser() : impl_(std::make_unique<Impl>()) {}
PredictParser::~PredictParser() = default;

absl::Status PredictParser::Parse(const std::string& body, const Model& model, ParsedInfer* out) {
  return impl_->Parse(body, model, out);
}

absl::Status PredictParser::Impl::Parse(const std::string& body, const Model& model,
                                        ParsedInfer* out) {
  MR_CHECK(body.capacity() >= body.size() + kBodyPadding, "a body has padding");
  out->Clear();
  body_bytes_ = body.size();
  rows_ = 0;
  raw_.clear();
  columns_.clear();
  by_name_.clear();
  Object root;
  absl::Status status = reader_.Open(body.data(), body.size(), body.capacity(), &root);
  if (!status.ok()) return status;
  bool given = false;
  for (auto field : root) {
    std::string_view key;
    Value value;
    status = reader_.ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    if (key != "instances") {
      status = reader_.Skip(value, kMemberDepth);
    } else if (given) {
      status = absl::InvalidArgumentError("instances: is given twice");
    } else {
      given = true;
      status = ReadInstances(value, model);
    }
    if (!status.ok()) return status;
  }
  status = reader_.Finish();
  if (!status.ok()) return status;
  if (!given) return absl::InvalidArgumentError("instances: is missing");
  HandOut(model, out);
  return absl::OkStatus();
}

absl::Status PredictParser::Impl::ReadInstances(Value value, const Model& model) {
  Array array;
  absl::Status status = reader_.ReadArray(value, {"", FieldPath::kNone, "instances"}, &array);
  if (!status.ok()) return status;
  for (auto element : array) {
    if (auto error = element.get(value)) return reader_.Broken(error);
    JsonType type;
    if (auto error = value.type().get(type)) return reader_.Broken(error);
    const FieldPath path{"instances", rows_, ""};
    if (type != JsonType::array && type != JsonType::object) {
      return FieldFault(path, "must be an array (a row of the tensor) or an object (its columns)");
    }
    const bool object = type == JsonType::object;
    if (rows_ == 0) objects_ = object;
    if (object != objects_) {
      return FieldFault(path, "must be like the rows before it: all arrays or all objects");
    }
    status = object ? ReadObjectRow(value, model) : ReadTensorRow(value, model);
    if (!status.ok()) return status;
    ++rows_;
  }
  if (rows_ == 0) return absl::InvalidArgumentError("instances: must hold at least one row");
  return absl::OkStatus();
}

absl::Status PredictParser::Impl::ReadTensorRow(Value value, const Model& model) {
  const FieldPath path{"instances", rows_, ""};
  if (model.inputs_size() != 1) {
    return FieldFault(path, "the model has several inputs; use /v2/models/M/infer");
  }
  const TensorSpec& spec = model.inputs(0);
  row_shape_.assign(spec.dims().begin(), spec.dims().end());
  if (row_shape_.empty()) row_shape_.push_back(1);
  size_t count = 0;
  if (absl::Status status = CountElements(row_shape_, path, &count); !status.ok()) return status;
  if (count > MostElements(body_bytes_)) {
    return FieldFault(path, Concat("holds fewer than the ", count, " elements of a row"));
  }
  return ReadTensor(&reader_, value, path, static_cast<DataType>(spec.datatype()), row_shape_,
                    count, &raw_);
}

absl::Status PredictParser::Impl::ReadObjectRow(Value value, const Model& model) {
  Object object;
  absl::Status status = reader_.ReadObject(value, {"instances", rows_, ""}, &object);
  if (!status.ok()) return status;
  size_t position = 0;
  for (auto field : object) {
    std::string_view key;
    status = reader_.ReadMember(field, &key, &value);
    Column* column = nullptr;
    if (status.ok()) status = FindColumn(key, position, model, &column);
    if (status.ok()) status = ReadCell(value, column);
    if (!status.ok()) return status;
    ++position;
  }
  if (position == 0) return FieldFault({"instances", rows_, ""}, "must have at least one column");
  MR_CHECK(position <= columns_.size(), "each member filled another column");
  for (size_t i = 0; position < columns_.size() && i < columns_.size(); ++i) {
    if (columns_[i].rows > rows_) continue;
    return FieldFault({"instances", rows_, columns_[i].name},
                      "is missing; send null for a missing value");
  }
  return absl::OkStatus();
}

absl::Status PredictParser::Impl::FindColumn(std::string_view name, size_t position,
                                             const Model& model, Column** column) {
  const FieldPath path{"instances", rows_, name};
  // Rows mostly have their members in the same order.
  if (position < columns_.size() && columns_[position].name == name) {
    *column = &columns_[position];
  } else if (auto found = by_name_.find(name); found != by_name_.end()) {
    *column = &columns_[found->second];
  } else if (rows_ > 0) {
    return FieldFault({"instances", rows_, ""},
                      Concat("has the column ", Quoted(name), ", which the first row has not"));
  } else if (columns_.size() == kMaxColumns) {
    return FieldFault({"instances", rows_, ""}, Concat("more than ", kMaxColumns, " columns"));
  } else {
    by_name_.emplace(name, columns_.size());
    columns_.push_back({name, DataType::kInvalid, 0, ""});
    *column = &columns_.back();
    for (const Feature& feature : model.view().features()) {
      if (feature.column() != name) continue;
      (*column)->type = feature.type() == Feature::STRING ? DataType::kBytes : DataType::kFp64;
      break;
    }
  }
  if ((*column)->rows != rows_) return FieldFault(path, "is given twice");
  return absl::OkStatus();
}

absl::Status PredictParser::Impl::ReadCell(Value value, Column* column) {
  JsonType type;
  if (value.type().get(type)) {
    return ElementFault(value, DataType::kFp64,
                        FieldPath{"instances", rows_, column->name}.ToString());
  }
  if (column->type == DataType::kInvalid && type != JsonType::null) {
    SetType(column, type == JsonType::string ? DataType::kBytes : DataType::kFp64);
  }
  const auto fault = [&] {
    return ElementFault(value, column->type,
                        FieldPath{"instances", rows_, column->name}.ToString());
  };
  bool null = false;
  bool truth = false;
  double number = 0;
  std::string_view text;
  if (type == JsonType::null) {
    if (value.is_null().get(null) || !null) return fault();
    if (column->type != DataType::kInvalid) AppendMissing(column);
  } else if (column->type == DataType::kBytes) {
    if (value.get_string().get(text)) return fault();
    AppendBytesElement(text, &column->raw);
  } else if (type == JsonType::boolean) {
    if (value.get_bool().get(truth)) return fault();
    AppendNumber(truth ? 1 : 0, &column->raw);
  } else {
    if (value.get_double().get(number)) return fault();
    AppendNumber(number, &column->raw);
  }
  ++column->rows;
  return absl::OkStatus();
}

void PredictParser::Impl::HandOut(const Model& model, ParsedInfer* out) {
  out->form.predictions = true;
  const int64_t rows = static_cast<int64_t>(rows_);
  if (!objects_) {
    const TensorSpec& spec = model.inputs(0);
    shape_.assign(1, rows);
    shape_.insert(shape_.end(), spec.dims().begin(), spec.dims().end());
    out->inputs.push_back({spec.name(), static_cast<DataType>(spec.datatype()), shape_, raw_});
    return;
  }
  shape_ = {rows, 1};
  for (Column& column : columns_) {
    MR_CHECK(column.rows == rows_, "every row was held against the columns");
    if (column.type == DataType::kInvalid) SetType(&column, DataType::kFp64);
    out->inputs.push_back({column.name, column.type, shape_, column.raw});
  }
}

}  // namespace millrace::http
