// A feature view, checked and made ready: named raw columns in, the model's float32 tensor out.
//
// Purpose: Make checks a FeatureView of the catalog once, off the path of requests; Apply turns one
//   request's columns into rows of the model's tensor.
// Who may call: Make any thread; Apply and the rest any number of threads at once (all are const).
// Ownership: a CompiledView owns all it needs; columns and `out` are the caller's and are used only
//   during Apply. A column's bytes may lie in a peer's memory, at any alignment, and may change
//   while Apply runs: whatever they are, Apply stays within its bounds.
//
// Values. A raw column has one type, and two features may read the same column.
//   - NUMBER: any datatype but BYTES, taken to double. BOOL: the byte 0 is 0.0, any other is 1.0.
//     INT64 and UINT64 beyond 2^53 go to the nearest double, ties to even. Missing: NaN.
//   - STRING: BYTES, each a little-endian u32 length and that many bytes, compared byte by byte.
//     Missing: the empty string. Must go through a vocabulary; only a fill may stand before it.
// Transforms run in order, in double; the result is rounded to float32 at the end (too large: an
// infinity). Infinities are values like any other. As numpy does it, where numpy has it:
//   cast to float32   rounded to float32 there and then
//   cast to int64     towards zero, never -0.0; missing stays; beyond int64 is an error
//   fill              a missing value becomes the given one
//   scale             (x - mean) / std
//   log1p             the C library's log1p: below -1 it is missing, at -1 it is -inf. numpy's own
//                     on a CPU with AVX-512 may differ in the last bit of the double
//   clip              x < lo: lo; x > hi: hi; else x itself (so -0.0 stays); missing stays
//   bucketize         the number of edges <= x; missing stays
//   vocabulary        the position of the string in the list; missing stays; unknown strings: an
//                     error (REJECT), missing (MISSING), or the given number (INDEX)
//   one_hot           the last one: `width` columns, all 0 for missing, else 1 at the index; an
//                     index that is no whole number in [0, width) is an error
// A missing value is written as the one quiet NaN 0x7fc00000.
//
// Invariants:
//   1. Apply allocates nothing and takes no lock unless it returns an error.
//   2. A row's result depends on that row's values alone, not on how many rows there are.
//   3. Each element of a column is read once, each string's length too (its bytes once for each
//      feature that looks them up).
// What fails: Make and Apply return INVALID_ARGUMENT; the message names the feature, or the column
//   and the row ("column 'x' row 3: ..."). After an error the content of `out` is unspecified.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/datatype.h"
#include "ipc/catalog.pb.h"
#include "services/features/view/program.h"

namespace millrace {

// One raw column of a request, as it was sent.
struct Column {
  DataType datatype = DataType::kInvalid;
  const std::byte* data = nullptr;
  size_t bytes = 0;
};

class CompiledView {
 public:
  // Limits of one view; a catalog beyond them is refused.
  static constexpr size_t kMaxFeatures = 1 << 12;
  static constexpr size_t kMaxWidth = 1 << 20;
  static constexpr size_t kMaxTransforms = 64;
  static constexpr size_t kMaxNameBytes = 256;

  static absl::StatusOr<CompiledView> Make(const FeatureView& view);

  // `columns` in the order of column_names(); `out` has room for rows * width() floats.
  absl::Status Apply(absl::Span<const Column> columns, size_t rows, float* out) const;

  // The distinct raw columns, in the order in which features first name them.
  absl::Span<const std::string> column_names() const { return names_; }
  // Whether that column takes BYTES.
  bool is_string(size_t column) const { return columns_[column].text; }
  // Columns of the tensor.
  size_t width() const { return width_; }
  // Bytes of the tensor; SIZE_MAX where that is beyond size_t, so that no reservation succeeds.
  size_t OutputBytes(size_t rows) const;

 private:
  struct RawColumn {
    bool text = false;
    std::vector<FeatureProgram> features;  // that read it
  };

  CompiledView() = default;
  absl::Status AddFeature(const Feature& feature);
  absl::Status ApplyNumbers(size_t c, const Column& column, size_t rows, float* out) const;
  absl::Status ApplyStrings(size_t c, const Column& column, size_t rows, float* out) const;

  std::vector<std::string> names_;
  std::vector<RawColumn> columns_;  // as names_
  size_t width_ = 0;
};

}  // namespace millrace
