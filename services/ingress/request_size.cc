#include "services/ingress/request_size.h"

#include <algorithm>
#include <string_view>

#include "common/datatype.h"

namespace millrace {
namespace {

// A number as text, with what separates it; its bytes in binary are fewer.
constexpr size_t kTextBytes = 32;
// A number in a message: the longest varint. 8 bytes of FP64 are fewer.
constexpr size_t kWireBytes = 10;
// A name in each row of /v1: JSON may spell each byte \u00XX; and what stands around it.
constexpr size_t kEscapedBytes = 6;
constexpr size_t kAroundName = 16;
// Of each tensor: name, datatype, shape and parameters beside what kSmallRequestBytes has room for.
constexpr size_t kTensorBytes = 1 << 10;

bool IsText(const TensorSpec& spec) {
  return static_cast<DataType>(spec.datatype()) == DataType::kBytes;
}

size_t ColumnsOf(const TensorSpec& spec, size_t most) {
  size_t columns = 1;
  for (const int64_t dim : spec.dims()) {
    if (dim < 0 || __builtin_mul_overflow(columns, static_cast<size_t>(dim), &columns)) {
      return most;
    }
  }
  return columns;
}

// `row`: bytes of one; `tensors`: how many the request may name.
size_t Total(const Model& model, size_t row, size_t tensors, size_t most) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(row, size_t{model.max_rows()}, &bytes) || bytes >= most) return most;
  return std::min(most, bytes + kSmallRequestBytes + tensors * kTensorBytes);
}

// Of a row in which it stands.
size_t NameBytes(std::string_view name, bool with_names) {
  return with_names ? kEscapedBytes * name.size() + kAroundName : 0;
}

// The most of the two forms a model may have: its tensors, or the columns of its view.
size_t MostBytes(const Model& model, size_t number_bytes, bool with_names, size_t most) {
  size_t row = 0;
  for (const TensorSpec& input : model.inputs()) {
    if (IsText(input)) return most;
    const size_t columns = ColumnsOf(input, most);
    if (columns >= most / number_bytes) return most;
    row += columns * number_bytes + NameBytes(input.name(), with_names);
  }
  size_t view_row = 0;
  for (const Feature& feature : model.view().features()) {
    if (feature.type() == Feature::STRING) return most;
    view_row += number_bytes + NameBytes(feature.column(), with_names);
  }
  const size_t tensors = static_cast<size_t>(model.inputs_size() + model.view().features_size());
  return Total(model, std::max(row, view_row), tensors, most);
}

}  // namespace

size_t MostBodyBytes(const Model& model, size_t most) {
  return MostBytes(model, kTextBytes, true, most);
}

size_t LargestMessage::Bytes(const std::shared_ptr<const Catalog>& catalog) {
  if (catalog == nullptr) return most_;
  const bool known = !of_.owner_before(catalog) && !catalog.owner_before(of_);
  if (known) return bytes_;
  of_ = catalog;
  bytes_ = kSmallRequestBytes;
  for (const Model& model : catalog->models()) {
    bytes_ = std::max(bytes_, MostBytes(model, kWireBytes, false, most_));
  }
  return bytes_;
}

}  // namespace millrace
