#include "services/features/view/compiled_view.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "services/features/view/column_reader.h"

namespace millrace {
namespace {

// Rows that go through the transforms together: their doubles stay in the first-level cache.
constexpr size_t kChunk = 256;

absl::Status Bad(absl::string_view sentence) { return absl::InvalidArgumentError(sentence); }

std::string ColumnLabel(absl::string_view name) {
  return absl::StrCat("column '", absl::CHexEscape(name), "'");
}

absl::Status RowFault(absl::string_view column, size_t row, absl::string_view what) {
  return Bad(absl::StrCat(ColumnLabel(column), " row ", row, ": ", what));
}

}  // namespace

absl::Status CompiledView::AddFeature(const Feature& feature) {
  if (feature.column().empty()) return Bad("it names no column");
  if (feature.column().size() > kMaxNameBytes) {
    return Bad(absl::StrCat("its column's name is longer than ", kMaxNameBytes, " bytes"));
  }
  if (static_cast<size_t>(feature.transforms_size()) > kMaxTransforms) {
    return Bad(absl::StrCat("more than ", kMaxTransforms, " transforms"));
  }
  absl::StatusOr<FeatureProgram> program = CompileFeature(feature);
  if (!program.ok()) return program.status();
  if (program->width > kMaxWidth - width_) {
    return Bad(absl::StrCat("the tensor would be wider than ", kMaxWidth, " columns"));
  }

  const bool text = feature.type() == Feature::STRING;
  const size_t c = std::find(names_.begin(), names_.end(), feature.column()) - names_.begin();
  if (c == names_.size()) {
    names_.push_back(feature.column());
    columns_.push_back({text, {}});
  } else if (columns_[c].text != text) {
    return Bad("another feature reads this column as the other type");
  }
  program->offset = width_;
  width_ += program->width;
  columns_[c].features.push_back(*std::move(program));
  return absl::OkStatus();
}

absl::StatusOr<CompiledView> CompiledView::Make(const FeatureView& view) {
  const std::string where = absl::StrCat("feature view ", Quoted(view.name()));
  if (view.features_size() == 0) return Bad(absl::StrCat(where, " has no features"));
  if (static_cast<size_t>(view.features_size()) > kMaxFeatures) {
    return Bad(absl::StrCat(where, " has more than ", kMaxFeatures, " features"));
  }
  CompiledView compiled;
  for (int i = 0; i < view.features_size(); ++i) {
    const absl::Status status = compiled.AddFeature(view.features(i));
    if (!status.ok()) {
      return Bad(absl::StrCat(where, ", feature ", i, " (column ",
                              Quoted(view.features(i).column()), "): ", status.message()));
    }
  }
  return compiled;
}

size_t CompiledView::OutputBytes(size_t rows) const {
  const size_t row_bytes = width_ * sizeof(float);
  return rows > SIZE_MAX / row_bytes ? SIZE_MAX : rows * row_bytes;
}

absl::Status CompiledView::Apply(absl::Span<const Column> columns, size_t rows, float* out) const {
  if (columns.size() != columns_.size()) {
    return Bad(absl::StrCat("the view reads ", columns_.size(), " columns, ", columns.size(),
                            " were sent"));
  }
  for (size_t c = 0; c < columns.size(); ++c) {
    const bool text = columns_[c].text;
    const DataType datatype = columns[c].datatype;
    if (text ? datatype != DataType::kBytes : DataTypeSize(datatype) == 0) {
      return Bad(absl::StrCat(ColumnLabel(names_[c]), ": ", text ? "BYTES" : "a number",
                              " is needed, ", std::string(DataTypeName(datatype)), " was sent"));
    }
    const absl::Status status =
        text ? ApplyStrings(c, columns[c], rows, out) : ApplyNumbers(c, columns[c], rows, out);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CompiledView::ApplyNumbers(size_t c, const Column& column, size_t rows,
                                        float* out) const {
  const size_t element_bytes = DataTypeSize(column.datatype);
  if (column.bytes % element_bytes != 0 || column.bytes / element_bytes != rows) {
    return Bad(absl::StrCat(ColumnLabel(names_[c]), ": ", column.bytes, " bytes are not ", rows,
                            " elements of ", std::string(DataTypeName(column.datatype))));
  }
  std::array<double, kChunk> raw;
  std::array<double, kChunk> values;
  for (size_t first = 0; first < rows; first += kChunk) {
    const size_t n = std::min(kChunk, rows - first);
    LoadNumbers(column.datatype, column.data, first, absl::MakeSpan(raw.data(), n));
    for (const FeatureProgram& feature : columns_[c].features) {
      std::copy_n(raw.data(), n, values.data());
      const auto fault = feature.Run(absl::MakeSpan(values.data(), n));
      if (fault) return RowFault(names_[c], first + fault->index, fault->what);
      feature.Store(absl::MakeConstSpan(values.data(), n), width_, out + first * width_);
    }
  }
  return absl::OkStatus();
}

absl::Status CompiledView::ApplyStrings(size_t c, const Column& column, size_t rows,
                                        float* out) const {
  StringCursor cursor(column.data, column.bytes);
  std::array<absl::string_view, kChunk> texts;
  std::array<double, kChunk> values;
  for (size_t first = 0; first < rows; first += kChunk) {
    const size_t n = std::min(kChunk, rows - first);
    const auto past_end = cursor.NextStrings(absl::MakeSpan(texts.data(), n));
    if (past_end)
      return RowFault(names_[c], first + *past_end, "the string passes the column's end");
    for (const FeatureProgram& feature : columns_[c].features) {
      auto fault = feature.LookUp(absl::MakeConstSpan(texts.data(), n), values.data());
      if (!fault) fault = feature.Run(absl::MakeSpan(values.data(), n));
      if (fault) return RowFault(names_[c], first + fault->index, fault->what);
      feature.Store(absl::MakeConstSpan(values.data(), n), width_, out + first * width_);
    }
  }
  if (cursor.bytes_left() != 0) {
    return Bad(absl::StrCat(ColumnLabel(names_[c]), ": ", cursor.bytes_left(), " bytes follow its ",
                            rows, " strings"));
  }
  return absl::OkStatus();
}

}  // namespace millrace
