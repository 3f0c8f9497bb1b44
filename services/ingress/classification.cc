#include "services/ingress/classification.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <charconv>
#include <type_traits>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

// "-", the 309 digits of the largest double, ".", six digits, ":", an index.
constexpr size_t kMaxHeadChars = 340;

// A larger one is not kept for the next answer.
constexpr size_t kKeptBytes = 64 << 10;

const Model* Find(const Catalog& catalog, std::string_view name, std::string_view version) {
  for (const Model& model : catalog.models()) {
    if (model.name() != name) continue;
    if (version.empty() ? model.latest() : model.version() == version) return &model;
  }
  return nullptr;
}

bool HoldsNumbers(DataType type) {
  switch (type) {
    case DataType::kUint8:
    case DataType::kUint16:
    case DataType::kUint32:
    case DataType::kUint64:
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32:
    case DataType::kInt64:
    case DataType::kFp32:
    case DataType::kFp64:
      return true;
    default:
      return false;
  }
}

// Whose labels name the elements of a row of `output`.
const OutputSpec* LabelsOf(const Model& model, const OutputSpec& output) {
  const auto fits = [&](const OutputSpec& other) {
    int64_t columns = 1;
    for (const int64_t dim : output.tensor().dims()) columns *= dim;
    return other.labels_size() > 0 && other.labels_size() == columns;
  };
  if (fits(output)) return &output;
  if (output.kind() != PREDICTION && output.kind() != MARGIN) return nullptr;
  for (const OutputSpec& other : model.outputs()) {
    if (fits(other)) return &other;
  }
  return nullptr;
}

template <typename T>
struct Scored {
  T score;
  size_t index;
};

// Whether `a` stands before `b`: a strict order, with every NaN alike.
template <typename T>
bool Before(const Scored<T>& a, const Scored<T>& b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (isnan(a.score) || isnan(b.score)) {
      if (isnan(a.score) && isnan(b.score)) return a.index < b.index;
      return isnan(b.score);
    }
  }
  if (a.score != b.score) return a.score > b.score;
  return a.index < b.index;
}

template <typename T>
char* WriteScore(T score, char* at, char* limit) {
  if constexpr (std::is_floating_point_v<T>) {
    if (isnan(score)) return std::copy_n("nan", 3, at);
    return std::to_chars(at, limit, double{score}, std::chars_format::fixed, 6).ptr;
  } else {
    return std::to_chars(at, limit, score).ptr;
  }
}

template <typename T>
void Append(const Scored<T>& scored, const OutputSpec* labelled, std::string* out) {
  char head[kMaxHeadChars];
  char* end = WriteScore(scored.score, head, head + sizeof head);
  *end++ = ':';
  end = std::to_chars(end, head + sizeof head, scored.index).ptr;
  std::string_view label;
  if (labelled != nullptr) label = labelled->labels(static_cast<int>(scored.index));
  const size_t head_bytes = static_cast<size_t>(end - head);
  const auto length = static_cast<uint32_t>(head_bytes + (label.empty() ? 0 : 1 + label.size()));
  out->append(reinterpret_cast<const char*>(&length), sizeof length);
  out->append(head, head_bytes);
  if (!label.empty()) out->append(":").append(label);
}

}  // namespace

void Classification::Clear() {
  wishes_.clear();
  catalog_ = nullptr;
}

absl::Status Classification::Bind(std::shared_ptr<const Catalog> catalog,
                                  const InferRequest& request, size_t* output) {
  catalog_ = std::move(catalog);
  const Model* model =
      catalog_ == nullptr ? nullptr : Find(*catalog_, request.model, request.version);
  if (model == nullptr) return absl::OkStatus();
  for (Wish& wish : wishes_) {
    *output = wish.output;
    for (const OutputSpec& spec : model->outputs()) {
      if (spec.tensor().name() != request.outputs[wish.output]) continue;
      const auto type = static_cast<DataType>(spec.tensor().datatype());
      if (!HoldsNumbers(type)) {
        const std::string_view name = DataTypeName(type);
        return absl::InvalidArgumentError(
            absl::StrCat("is for outputs of numbers, and this one is ",
                         absl::string_view(name.data(), name.size())));
      }
      wish.labelled = LabelsOf(*model, spec);
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status Classifier::MakeOf(const TensorView& view, const Classification::Wish& wish,
                                Made* out) {
  size_t columns = 1;
  const std::vector<int64_t> shape(view.shape.begin(), view.shape.end());
  bool agrees = !shape.empty() && shape[0] >= 0;
  for (size_t i = 1; agrees && i < shape.size(); ++i) {
    agrees = shape[i] > 0 && !__builtin_mul_overflow(columns, shape[i], &columns);
  }
  size_t bytes = 0;
  agrees = agrees && !__builtin_mul_overflow(columns, shape[0], &bytes) &&
           !__builtin_mul_overflow(bytes, sizeof(T), &bytes) && bytes == view.raw.size();
  const bool labels_fit =
      wish.labelled == nullptr || static_cast<size_t>(wish.labelled->labels_size()) == columns;
  if (!agrees || !labels_fit) return absl::InternalError("does not agree with its shape");
  const size_t k = static_cast<size_t>(std::min<uint64_t>(wish.k, columns));
  out->shape[0] = shape[0];
  out->shape[1] = static_cast<int64_t>(k);
  std::vector<Scored<T>> row(columns);
  const char* at = view.raw.data();
  for (int64_t r = 0; r < shape[0]; ++r) {
    for (size_t c = 0; c < columns; ++c, at += sizeof(T)) {
      row[c].index = c;
      memcpy(&row[c].score, at, sizeof(T));
    }
    std::partial_sort(row.begin(), row.begin() + static_cast<ptrdiff_t>(k), row.end(), Before<T>);
    for (size_t i = 0; i < k; ++i) {
      const size_t before = out->raw.size();
      Append(row[i], wish.labelled, &out->raw);
      bytes_ += out->raw.size() - before;
      if (bytes_ > kMaxBytes) {
        return absl::ResourceExhaustedError(
            absl::StrCat("its text is over ", kMaxBytes, " bytes; ask for fewer rows or classes"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Classifier::Make(const TensorView& view, const Classification::Wish& wish, Made* out) {
  switch (view.datatype) {
    case DataType::kUint8:
      return MakeOf<uint8_t>(view, wish, out);
    case DataType::kUint16:
      return MakeOf<uint16_t>(view, wish, out);
    case DataType::kUint32:
      return MakeOf<uint32_t>(view, wish, out);
    case DataType::kUint64:
      return MakeOf<uint64_t>(view, wish, out);
    case DataType::kInt8:
      return MakeOf<int8_t>(view, wish, out);
    case DataType::kInt16:
      return MakeOf<int16_t>(view, wish, out);
    case DataType::kInt32:
      return MakeOf<int32_t>(view, wish, out);
    case DataType::kInt64:
      return MakeOf<int64_t>(view, wish, out);
    case DataType::kFp32:
      return MakeOf<float>(view, wish, out);
    case DataType::kFp64:
      return MakeOf<double>(view, wish, out);
    default:
      return absl::InternalError("does not agree with its shape");
  }
}

InferAnswer Classifier::Apply(const InferAnswer& answer, const Classification& wanted) {
  InferAnswer made = answer;
  if (!answer.status.ok()) return made;
  outputs_.assign(answer.outputs.begin(), answer.outputs.end());
  if (bytes_ > kKeptBytes) made_.clear();
  bytes_ = 0;
  if (made_.size() < wanted.wishes_.size()) made_.resize(wanted.wishes_.size());
  size_t next = 0;
  for (const Classification::Wish& wish : wanted.wishes_) {
    Made& out = made_[next++];
    out.raw.clear();
    absl::Status status = absl::InternalError("did not come");
    if (wish.output < outputs_.size()) status = Make(outputs_[wish.output], wish, &out);
    if (!status.ok()) {
      made.status = absl::Status(
          status.code(),
          absl::StrCat("outputs[", wish.output, "]: classification: ", status.message()));
      made.outputs = {};
      return made;
    }
    TensorView& view = outputs_[wish.output];
    view = {view.name, DataType::kBytes, out.shape, out.raw};
  }
  made.outputs = outputs_;
  return made;
}

}  // namespace millrace
