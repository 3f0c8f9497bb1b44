#include "services/aggregation/combine/classify.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace millrace {
namespace {

// "-", the 309 digits of the largest double, ".", six digits.
constexpr size_t kMaxScoreChars = 317;
constexpr size_t kMaxIndexChars = 20;
constexpr size_t kLengthBytes = sizeof(uint32_t);

absl::Status Bad(absl::string_view sentence) { return absl::InvalidArgumentError(sentence); }

// What Emit writes to: one counts, the other fills a block and takes no more than it holds.
class Counter {
 public:
  void Append(absl::string_view bytes) { used_ += bytes.size(); }
  size_t used() const { return used_; }

 private:
  size_t used_ = 0;
};

class Filler {
 public:
  explicit Filler(absl::Span<std::byte> out) : out_(out) {}

  void Append(absl::string_view bytes) {
    fits_ = fits_ && bytes.size() <= out_.size() - used_;
    if (!fits_) return;
    memcpy(out_.data() + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
  }

  bool full() const { return fits_ && used_ == out_.size(); }

 private:
  absl::Span<std::byte> out_;
  size_t used_ = 0;
  bool fits_ = true;
};

template <typename T>
absl::string_view BytesOf(const T& value) {
  return absl::string_view(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename Sink>
void AppendLabel(absl::string_view label, Sink& sink) {
  const uint32_t length = static_cast<uint32_t>(label.size());
  sink.Append(BytesOf(length));
  sink.Append(label);
}

struct Scored {
  double score;
  size_t index;
};

// Whether `a` stands before `b` in a top-k: a strict order, with every NaN alike.
bool Before(const Scored& a, const Scored& b) {
  if (isnan(a.score) || isnan(b.score)) {
    if (isnan(a.score) && isnan(b.score)) return a.index < b.index;
    return isnan(b.score);
  }
  if (a.score != b.score) return a.score > b.score;
  return a.index < b.index;
}

// The first k of the row, in order; each element is read once.
void SelectTop(const Matrix& prediction, size_t row, absl::Span<Scored> top) {
  size_t held = 0;
  for (size_t c = 0; c < prediction.columns; ++c) {
    const Scored next{prediction.At(row, c), c};
    if (held < top.size()) {
      top[held++] = next;
      std::push_heap(top.begin(), top.begin() + held, Before);
    } else if (Before(next, top[0])) {  // the heap's root is the last of those held
      std::pop_heap(top.begin(), top.end(), Before);
      top.back() = next;
      std::push_heap(top.begin(), top.end(), Before);
    }
  }
  std::sort_heap(top.begin(), top.end(), Before);
}

template <typename Sink>
void AppendScored(const Scored& scored, absl::string_view label, Sink& sink) {
  std::array<char, kMaxScoreChars + 1 + kMaxIndexChars> head;
  char* const limit = head.data() + head.size();
  char* end = head.data();
  if (isnan(scored.score)) {
    end = std::copy_n("nan", 3, end);
  } else {
    end = std::to_chars(end, limit, scored.score, std::chars_format::fixed, 6).ptr;
  }
  *end++ = ':';
  end = std::to_chars(end, limit, scored.index).ptr;

  const absl::string_view text(head.data(), end - head.data());
  const size_t tail = label.empty() ? 0 : 1 + label.size();
  const uint32_t length = static_cast<uint32_t>(text.size() + tail);
  sink.Append(BytesOf(length));
  sink.Append(text);
  if (tail == 0) return;
  sink.Append(":");
  sink.Append(label);
}

}  // namespace

absl::Status CompiledOutput::CheckLabels(size_t expected, bool may_be_empty) const {
  if (labels_.empty() && may_be_empty) return absl::OkStatus();
  if (labels_.size() != expected) {
    return Bad(absl::StrCat("labels: ", expected, " are needed", may_be_empty ? " or none" : "",
                            ", there are ", labels_.size()));
  }
  for (size_t i = 0; i < labels_.size(); ++i) {
    if (labels_[i].empty() || labels_[i].size() > kMaxLabelBytes) {
      return Bad(absl::StrCat("labels: label ", i, " must have 1 to ", kMaxLabelBytes, " bytes"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<CompiledOutput> CompiledOutput::Make(const OutputSpec& spec, size_t columns) {
  if (columns == 0 || columns > kMaxClasses) {
    return Bad(absl::StrCat("prediction_columns must be 1 to ", kMaxClasses, ", not ", columns));
  }
  CompiledOutput output;
  output.kind_ = spec.kind();
  output.columns_ = columns;
  output.labels_.assign(spec.labels().begin(), spec.labels().end());
  absl::Status labels = absl::OkStatus();
  if (spec.kind() == LABEL) labels = output.CheckLabels(ClassCount(columns), false);
  if (spec.kind() == TOP_K) labels = output.CheckLabels(columns, true);
  if (!labels.ok()) return labels;

  size_t longest = 0;
  for (const std::string& label : output.labels_) longest = std::max(longest, label.size());
  switch (spec.kind()) {
    case CLASS:
      output.datatype_ = spec.tensor().datatype() == static_cast<uint32_t>(DataType::kFp32)
                             ? DataType::kFp32
                             : DataType::kInt64;
      if (spec.has_above()) output.above_ = spec.above();
      output.row_bytes_ = DataTypeSize(output.datatype_);
      return output;
    case SCORES:
      if (absl::Status status = output.MakeScores(spec); !status.ok()) return status;
      return output;
    case LABEL:
      output.row_bytes_ = kLengthBytes + longest;
      return output;
    case TOP_K:
      if (spec.top_k() == 0 || spec.top_k() > std::min(columns, kMaxTopK)) {
        return Bad(absl::StrCat("top_k must be 1 to ", std::min(columns, kMaxTopK), ", not ",
                                spec.top_k()));
      }
      output.k_ = spec.top_k();
      output.out_columns_ = spec.top_k();
      output.row_bytes_ =
          output.k_ * (kLengthBytes + kMaxScoreChars + 1 + kMaxIndexChars + 1 + longest);
      return output;
    default:
      return Bad(absl::StrCat("kind must be CLASS, LABEL, TOP_K or SCORES, not ",
                              static_cast<int>(spec.kind())));
  }
}

absl::Status CompiledOutput::MakeScores(const OutputSpec& spec) {
  const int64_t wanted = spec.tensor().dims_size() == 1 ? spec.tensor().dims(0) : 0;
  if (wanted != static_cast<int64_t>(columns_) && !(columns_ == 1 && wanted == 2)) {
    return Bad(absl::StrCat("dims: scores of ", columns_, " columns cannot be ", wanted));
  }
  datatype_ = DataType::kFp32;
  out_columns_ = static_cast<uint32_t>(wanted);
  row_bytes_ = out_columns_ * sizeof(float);
  return absl::OkStatus();
}

size_t CompiledOutput::MaxBytes(size_t rows) const {
  size_t bytes = 0;
  return __builtin_mul_overflow(rows, row_bytes_, &bytes) ? SIZE_MAX : bytes;
}

absl::Status CompiledOutput::CheckPrediction(const Matrix& prediction) const {
  if (absl::Status status = CheckMatrix(prediction); !status.ok()) return status;
  if (prediction.columns == columns_) return absl::OkStatus();
  return Bad(
      absl::StrCat("prediction: ", columns_, " columns are needed, not ", prediction.columns));
}

template <typename Sink>
void CompiledOutput::EmitClass(const Matrix& prediction, size_t row, Sink& sink) const {
  const bool is_cut = above_.has_value() && columns_ == 1;
  const size_t at =
      is_cut ? static_cast<float>(prediction.At(row, 0)) > *above_ : ClassOf(prediction, row);
  if (datatype_ == DataType::kFp32) return sink.Append(BytesOf(static_cast<float>(at)));
  sink.Append(BytesOf(static_cast<int64_t>(at)));
}

template <typename Sink>
void CompiledOutput::EmitScores(const Matrix& prediction, size_t row, Sink& sink) const {
  if (out_columns_ != columns_) {
    const double p = prediction.At(row, 0);  // read once: a peer may change it
    sink.Append(BytesOf(static_cast<float>(1.0 - p)));
    return sink.Append(BytesOf(static_cast<float>(p)));
  }
  for (size_t c = 0; c < columns_; ++c) {
    sink.Append(BytesOf(static_cast<float>(prediction.At(row, c))));
  }
}

template <typename Sink>
void CompiledOutput::Emit(const Matrix& prediction, Sink& sink) const {
  std::array<Scored, kMaxTopK> top;
  for (size_t row = 0; row < prediction.rows; ++row) {
    if (kind_ == TOP_K) {
      SelectTop(prediction, row, absl::MakeSpan(top.data(), k_));
      for (size_t i = 0; i < k_; ++i) {
        AppendScored(top[i], labels_.empty() ? absl::string_view() : labels_[top[i].index], sink);
      }
    } else if (kind_ == LABEL) {
      AppendLabel(labels_[ClassOf(prediction, row)], sink);
    } else if (kind_ == SCORES) {
      EmitScores(prediction, row, sink);
    } else {
      EmitClass(prediction, row, sink);
    }
  }
}

absl::StatusOr<size_t> CompiledOutput::Bytes(const Matrix& prediction) const {
  if (absl::Status status = CheckPrediction(prediction); !status.ok()) return status;
  Counter counter;
  Emit(prediction, counter);
  return counter.used();
}

absl::Status CompiledOutput::Write(const Matrix& prediction, absl::Span<std::byte> out) const {
  if (absl::Status status = CheckPrediction(prediction); !status.ok()) return status;
  Filler filler(out);
  Emit(prediction, filler);
  return filler.full() ? absl::OkStatus()
                       : Bad("prediction: its output is not as long as was counted");
}

}  // namespace millrace
