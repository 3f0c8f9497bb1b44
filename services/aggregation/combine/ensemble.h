// The members' predictions to the ensemble's: weighted mean or vote.
//
// Purpose: Make checks how a model combines its members, off the path of requests; Apply does it.
// Who may call: Make any thread; Apply any number of threads at once.
// Ownership: inputs and output are the caller's, and used only during Apply.
// What is computed, in double, in the order of the members, without fused multiply-add:
//   WEIGHTED_MEAN  (w_0*p_0 + w_1*p_1 + ...) / (w_0 + w_1 + ...), element by element
//   VOTE           for each row, column c is the sum of the weights of the members whose class is c
//                  (ClassOf in matrix.h), by the sum of all. With a single column it is the share
//                  of class 1, so that 0.5 or more still means class 1.
// FP32 members are taken to double, members may differ in it; an FP32 result is rounded at the end.
// Invariants:
//   1. The result has the shape that every member has.
//   2. Apply allocates nothing unless it returns an error. 3. A row depends on that row alone.
// What fails: Make on bad weights; Apply with INVALID_ARGUMENT where members are malformed or
//   their shapes differ, with a sentence that names the member.
#pragma once

#include <stddef.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/datatype.h"
#include "ipc/catalog.pb.h"
#include "services/aggregation/combine/matrix.h"

namespace millrace {

class CompiledEnsemble {
 public:
  // The member's index is a byte of a part's id.
  static constexpr size_t kMaxMembers = 256;

  // `weights` in the order of the members: each finite and 0 or more, not all 0.
  // `result` is FP32 or FP64.
  static absl::StatusOr<CompiledEnsemble> Make(Combine combine, absl::Span<const double> weights,
                                               DataType result);

  size_t members() const { return weights_.size(); }

  // Bytes of the result for one prediction's shape; SIZE_MAX where that is beyond size_t.
  size_t ResultBytes(size_t rows, size_t columns) const;

  // `members` in the order of the weights; `out` holds ResultBytes of their shape, at any
  // alignment.
  absl::Status Apply(absl::Span<const Matrix> members, absl::Span<std::byte> out) const;

 private:
  CompiledEnsemble() = default;
  void ApplyMean(absl::Span<const Matrix> members, std::byte* out) const;
  void ApplyVote(absl::Span<const Matrix> members, std::byte* out) const;
  void Put(double value, size_t index, std::byte* out) const;

  Combine combine_ = COMBINE_NONE;
  DataType result_ = DataType::kInvalid;
  std::vector<double> weights_;
  double total_ = 0;
};

}  // namespace millrace
