#include "services/aggregation/combine/ensemble.h"

#include <math.h>
#include <string.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace millrace {
namespace {

absl::Status Bad(absl::string_view sentence) { return absl::InvalidArgumentError(sentence); }

absl::Status CheckMembers(absl::Span<const Matrix> members, size_t expected) {
  if (members.size() != expected) {
    return Bad(absl::StrCat("the ensemble has ", expected, " members, ", members.size(),
                            " predictions came"));
  }
  for (size_t m = 0; m < members.size(); ++m) {
    const absl::Status status = CheckMatrix(members[m]);
    if (!status.ok()) return Bad(absl::StrCat("member ", m, ": ", status.message()));
    if (members[m].rows != members[0].rows || members[m].columns != members[0].columns) {
      return Bad(absl::StrCat("member ", m, " predicted [", members[m].rows, ", ",
                              members[m].columns, "], member 0 [", members[0].rows, ", ",
                              members[0].columns, "]"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CompiledEnsemble> CompiledEnsemble::Make(Combine combine,
                                                        absl::Span<const double> weights,
                                                        DataType result) {
  if (combine != WEIGHTED_MEAN && combine != VOTE) {
    return Bad(
        absl::StrCat("combine must be WEIGHTED_MEAN or VOTE, not ", static_cast<int>(combine)));
  }
  if (weights.empty() || weights.size() > kMaxMembers) {
    return Bad(
        absl::StrCat("an ensemble has 1 to ", kMaxMembers, " members, not ", weights.size()));
  }
  if (result != DataType::kFp32 && result != DataType::kFp64) {
    return Bad(absl::StrCat("an ensemble's prediction is FP32 or FP64, not ",
                            std::string(DataTypeName(result))));
  }
  CompiledEnsemble ensemble;
  for (size_t m = 0; m < weights.size(); ++m) {
    if (!isfinite(weights[m]) || weights[m] < 0) {
      return Bad(absl::StrCat("the weight of member ", m, " must be finite and 0 or more, not ",
                              weights[m]));
    }
    ensemble.total_ += weights[m];
  }
  if (!isfinite(ensemble.total_) || ensemble.total_ <= 0) {
    return Bad(absl::StrCat("the weights' sum must be finite and above 0, not ", ensemble.total_));
  }
  ensemble.combine_ = combine;
  ensemble.result_ = result;
  ensemble.weights_.assign(weights.begin(), weights.end());
  return ensemble;
}

size_t CompiledEnsemble::ResultBytes(size_t rows, size_t columns) const {
  size_t bytes = 0;
  if (__builtin_mul_overflow(rows, columns, &bytes) ||
      __builtin_mul_overflow(bytes, DataTypeSize(result_), &bytes)) {
    return SIZE_MAX;
  }
  return bytes;
}

void CompiledEnsemble::Put(double value, size_t index, std::byte* out) const {
  if (result_ == DataType::kFp64) {
    memcpy(out + index * sizeof value, &value, sizeof value);
    return;
  }
  const float rounded = static_cast<float>(value);
  memcpy(out + index * sizeof rounded, &rounded, sizeof rounded);
}

void CompiledEnsemble::ApplyMean(absl::Span<const Matrix> members, std::byte* out) const {
  const size_t columns = members[0].columns;
  for (size_t row = 0; row < members[0].rows; ++row) {
    for (size_t c = 0; c < columns; ++c) {
      double sum = weights_[0] * members[0].At(row, c);
      for (size_t m = 1; m < members.size(); ++m) sum += weights_[m] * members[m].At(row, c);
      Put(sum / total_, row * columns + c, out);
    }
  }
}

void CompiledEnsemble::ApplyVote(absl::Span<const Matrix> members, std::byte* out) const {
  const size_t columns = members[0].columns;
  std::array<size_t, kMaxMembers> votes;
  for (size_t row = 0; row < members[0].rows; ++row) {
    for (size_t m = 0; m < members.size(); ++m) votes[m] = ClassOf(members[m], row);
    for (size_t c = 0; c < columns; ++c) {
      const size_t voted = columns == 1 ? 1 : c;
      double sum = 0;
      for (size_t m = 0; m < members.size(); ++m) {
        if (votes[m] == voted) sum += weights_[m];
      }
      Put(sum / total_, row * columns + c, out);
    }
  }
}

absl::Status CompiledEnsemble::Apply(absl::Span<const Matrix> members,
                                     absl::Span<std::byte> out) const {
  const absl::Status status = CheckMembers(members, weights_.size());
  if (!status.ok()) return status;
  MR_CHECK(out.size() == ResultBytes(members[0].rows, members[0].columns),
           "the caller reserves ResultBytes for the result");
  if (combine_ == WEIGHTED_MEAN) {
    ApplyMean(members, out.data());
  } else {
    ApplyVote(members, out.data());
  }
  return absl::OkStatus();
}

}  // namespace millrace
