#include "services/ingress/core/golden_case.h"

#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/near.h"

namespace millrace {
namespace {

std::string_view ViewOf(const std::string& text) { return text; }

}  // namespace

GoldenCase::GoldenCase(std::shared_ptr<const ModelTable> table, const ServedModel* served,
                       const Golden* golden, double tolerance)
    : table_(std::move(table)),
      served_(served),
      golden_(golden),
      tolerance_(std::max(tolerance, golden->tolerance())) {
  const Model& model = *served->model;
  raw_columns_ = true;
  for (const GoldenTensor& input : golden->inputs()) {
    inputs_.push_back({ViewOf(input.name()),
                       static_cast<DataType>(input.datatype()),
                       {input.shape().data(), static_cast<size_t>(input.shape_size())},
                       ViewOf(input.data())});
    for (const TensorSpec& spec : model.inputs()) {
      if (spec.name() == input.name()) raw_columns_ = false;
    }
  }
  for (const OutputSpec& output : model.outputs()) {
    outputs_.push_back({output.tensor().name(), "", false});
  }
  request_.model = ViewOf(model.name());
  request_.version = ViewOf(model.version());
  request_.inputs = inputs_;
}

const GoldenTensor* GoldenCase::ExpectationOf(std::string_view name) const {
  for (const GoldenTensor& tensor : golden_->outputs()) {
    if (tensor.name() == name) return &tensor;
  }
  return nullptr;
}

int64_t GoldenCase::Difference(DataType type, std::string_view raw,
                               std::string_view expected) const {
  if (raw == expected) return -1;
  const size_t size = DataTypeSize(type);  // 0 of text
  if (raw.size() != expected.size() || size == 0) return 0;
  for (size_t i = 0; i < raw.size() / size; ++i) {
    if (memcmp(raw.data() + i * size, expected.data() + i * size, size) == 0) continue;
    const bool near = tolerance_ > 0 && IsFloat(type) &&
                      Near(FloatAt(raw, type, i), FloatAt(expected, type, i), tolerance_);
    if (!near) return static_cast<int64_t>(i);
  }
  return -1;
}

GoldenCase::Verdict GoldenCase::Learn(Learned* known, const TensorView& output) {
  // Where numbers may differ a little, their text may differ anyhow.
  if (tolerance_ > 0 && output.datatype == DataType::kBytes) return Verdict::kGood;
  if (!known->first.empty() && Difference(output.datatype, output.raw, known->first) < 0) {
    known->confirmed = true;
    return Verdict::kGood;
  }
  if (known->confirmed) {
    why_ = absl::StrCat("output '", known->name, "': another answer than in earlier runs");
    return Verdict::kWrong;
  }
  const bool second = !known->first.empty();
  known->first.assign(output.raw.data(), output.raw.size());
  if (!second) return Verdict::kLearning;
  why_ = absl::StrCat("output '", known->name, "': two runs gave two answers");
  return Verdict::kWrong;
}

GoldenCase::Verdict GoldenCase::JudgeOutput(size_t at, const TensorView& output) {
  const GoldenTensor* expected = ExpectationOf(output.name);
  if (expected == nullptr) return Learn(&outputs_[at], output);
  const DataType type = output.datatype;
  const bool same_type = static_cast<uint32_t>(type) == expected->datatype();
  const int64_t differs = same_type ? Difference(type, output.raw, expected->data()) : 0;
  if (differs < 0) return Verdict::kGood;
  why_ = absl::StrCat("output '", outputs_[at].name, "', element ", differs);
  if (same_type && IsFloat(type) && output.raw.size() == expected->data().size()) {
    const auto i = static_cast<size_t>(differs);
    absl::StrAppend(&why_, ": ", FloatAt(output.raw, type, i), " instead of ",
                    FloatAt(expected->data(), type, i));
  } else {
    absl::StrAppend(&why_, ": is not what it must be");
  }
  return Verdict::kWrong;
}

GoldenCase::Verdict GoldenCase::JudgeError(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return Verdict::kNone;
    case absl::StatusCode::kInvalidArgument:
      // A view that refuses made-up inputs has run, and refuses them again in the same words.
      if (golden_->guessed()) {
        if (refusal_.empty()) refusal_ = std::string(status.message());
        if (refusal_ == status.message()) return Verdict::kGood;
      }
      break;
    default:
      break;
  }
  why_ = status.ToString();
  return Verdict::kError;
}

GoldenCase::Verdict GoldenCase::Judge(const InferAnswer& answer) {
  if (!answer.status.ok()) return JudgeError(answer.status);
  if (answer.outputs.size() != outputs_.size()) {
    why_ = "not every output is there";
    return Verdict::kWrong;
  }
  Verdict verdict = Verdict::kGood;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const Verdict one = JudgeOutput(i, answer.outputs[i]);
    if (one == Verdict::kWrong) return one;
    if (one == Verdict::kLearning) verdict = one;
  }
  return verdict;
}

bool GoldenCase::SameAs(const GoldenCase& other) const {
  return served_->model->route() == other.served_->model->route() &&
         golden_->SerializeAsString() == other.golden_->SerializeAsString();
}

void GoldenCase::LearnFrom(GoldenCase& other) {
  if (outputs_.size() != other.outputs_.size()) return;
  outputs_ = other.outputs_;
  refusal_ = other.refusal_;
}

}  // namespace millrace
