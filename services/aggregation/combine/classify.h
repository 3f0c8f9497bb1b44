// The outputs that are made from a prediction: class, label, top-k.
//
// Purpose: Make checks an OutputSpec of the catalog once; Write makes that output for a request.
// Who may call: Make any thread; the rest any number of threads at once.
// Ownership: a CompiledOutput owns its labels; prediction and `out` are the caller's.
// What is written (BYTES elements are a little-endian u32 length and that many bytes):
//   CLASS  INT64 or FP32 [rows, 1]: ClassOf (matrix.h); where the spec says `above`, of a single
//          column 1 where the value as a float is greater, else 0
//   LABEL  BYTES [rows, 1]: the label of that class
//   TOP_K  BYTES [rows, k]: "score:index:label", or "score:index" without labels; the score as
//          printf's %f writes it in the C locale ("nan" for every NaN); the highest score first,
//          equal scores by index, NaN last
//   SCORES FP32 [rows, columns of the spec]: each value rounded to float; two columns of a single
//          one are 1 - p and p
// Invariants:
//   1. Bytes(p) is what Write(p) fills, and at most MaxBytes(p.rows), which is known beforehand.
//   2. Write never writes past `out`, even where a peer changes the prediction after Bytes.
//   3. Bytes and Write allocate nothing unless they return an error.
//   4. A row's output depends on that row alone.
// What fails: Make with a sentence that names the field; Bytes and Write with INVALID_ARGUMENT on a
//   malformed prediction, Write also on one that changed since its bytes were counted.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipc/catalog.pb.h"
#include "services/aggregation/combine/matrix.h"

namespace millrace {

class CompiledOutput {
 public:
  static constexpr size_t kMaxTopK = 1024;
  static constexpr size_t kMaxClasses = 1 << 20;
  static constexpr size_t kMaxLabelBytes = 4096;

  // `columns` of the prediction that Write will get. LABEL needs a label for each class (two for
  // a single column); TOP_K one for each column, or none. CLASS is FP32 where the spec says so.
  static absl::StatusOr<CompiledOutput> Make(const OutputSpec& spec, size_t columns);

  DataType datatype() const { return datatype_; }  // of the output
  uint32_t columns() const { return out_columns_; }

  // For admission; SIZE_MAX where it is beyond size_t.
  size_t MaxBytes(size_t rows) const;

  // Exactly what this prediction's output takes.
  absl::StatusOr<size_t> Bytes(const Matrix& prediction) const;

  // `out` has the size that Bytes returned, at any alignment.
  absl::Status Write(const Matrix& prediction, absl::Span<std::byte> out) const;

 private:
  CompiledOutput() = default;
  absl::Status CheckLabels(size_t expected, bool may_be_empty) const;
  absl::Status CheckPrediction(const Matrix& prediction) const;
  template <typename Sink>
  void Emit(const Matrix& prediction, Sink& sink) const;

  absl::Status MakeScores(const OutputSpec& spec);
  template <typename Sink>
  void EmitClass(const Matrix& prediction, size_t row, Sink& sink) const;
  template <typename Sink>
  void EmitScores(const Matrix& prediction, size_t row, Sink& sink) const;

  OutputKind kind_ = OUTPUT_INVALID;
  DataType datatype_ = DataType::kBytes;
  size_t columns_ = 0;
  uint32_t out_columns_ = 1;
  std::optional<float> above_;
  size_t k_ = 0;
  std::vector<std::string> labels_;
  size_t row_bytes_ = 0;  // at most
};

}  // namespace millrace
