#include "services/registry/feature_transforms.h"

#include <math.h>

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr size_t kMaxTransforms = 32;
constexpr uint32_t kMaxEdges = 1 << 16;
constexpr uint32_t kMaxWidth = 1 << 16;
constexpr size_t kMaxWordBytes = 4096;
constexpr char kNames[] = "fill, clip, scale, log1p, bucketize, vocabulary, one_hot or cast";

bool IsPosition(double value, double below) {
  return value >= 0 && value < below && value == trunc(value);
}

}  // namespace

void TransformParser::Fault(const Node& at, const std::string& field, const std::string& message) {
  AddFault(at, field, message, &faults_);
}

void TransformParser::Parse(const Node& list, const std::string& field) {
  if (!list.IsNull()) {
    if (!list.IsSequence()) return Fault(list, field, "must be a list of transforms");
    if (list.size() > kMaxTransforms) {
      return Fault(list, field, absl::StrCat("has more than ", kMaxTransforms, " transforms"));
    }
    for (size_t i = 0; i < list.size(); ++i) One(list[i], absl::StrCat(field, "[", i, "]"));
  }
  if (text_) Fault(list, field, "a string needs a vocabulary, which makes it a number");
}

void TransformParser::One(const Node& node, const std::string& field) {
  if (after_one_hot_) return Fault(node, field, "nothing may follow one_hot");
  if (node.IsScalar()) return Plain(node.Scalar(), node, field);
  if (!node.IsMap() || node.size() != 1) {
    return Fault(node, field, absl::StrCat("must be one of ", kNames));
  }
  const auto entry = *node.begin();
  if (!entry.first.IsScalar()) return Fault(node, field, absl::StrCat("must be one of ", kNames));
  const std::string& name = entry.first.Scalar();
  const std::string full = absl::StrCat(field, ".", Printable(name));
  if (name == "log1p" || name == "one_hot") return Fault(entry.first, full, "takes no value");
  WithValue(name, entry.second, full);
}

void TransformParser::Plain(const std::string& name, const Node& at, const std::string& field) {
  const std::string full = absl::StrCat(field, ".", Printable(name));
  if (name == "one_hot") return OneHot(at, full);
  if (name != "log1p") return Fault(at, full, absl::StrCat("must be one of ", kNames));
  if (!NeedsNumber(at, full)) return;
  feature_.add_transforms()->mutable_log1p();
  positions_.reset();
}

void TransformParser::WithValue(const std::string& name, const Node& value,
                                const std::string& field) {
  if (name == "fill") return Fill(value, field);
  if (name == "clip") return Clip(value, field);
  if (name == "scale") return Scale(value, field);
  if (name == "bucketize") return Bucketize(value, field);
  if (name == "vocabulary") return Vocabulary(value, field);
  if (name == "cast") return Cast(value, field);
  Fault(value, field, absl::StrCat("is not a transform; there are ", kNames));
}

bool TransformParser::NeedsNumber(const Node& at, const std::string& field) {
  if (text_) Fault(at, field, "needs a number, and a string has to go through a vocabulary first");
  return !text_;
}

std::optional<double> TransformParser::Number(const Node& node, const std::string& field,
                                              bool finite) {
  if (node.IsScalar()) {
    const std::string& text = node.Scalar();
    if (!finite && (text == ".inf" || text == "+.inf")) return INFINITY;
    if (!finite && text == "-.inf") return -INFINITY;
    double value = 0;
    if (absl::SimpleAtod(text, &value) && isfinite(value)) return value;
  }
  Fault(node, field, "must be a finite number");
  return std::nullopt;
}

void TransformParser::Fill(const Node& value, const std::string& field) {
  if (text_) {
    if (!value.IsScalar() || value.Scalar().empty() || !IsUtf8(value.Scalar())) {
      return Fault(value, field, "a string is filled with a text that is not empty");
    }
    feature_.add_transforms()->mutable_fill()->set_text(value.Scalar());
    return;
  }
  const std::optional<double> number = Number(value, field);
  if (!number.has_value()) return;
  if (positions_.has_value() && !IsPosition(*number, *positions_)) positions_.reset();
  feature_.add_transforms()->mutable_fill()->set_number(*number);
}

void TransformParser::Clip(const Node& value, const std::string& field) {
  if (!NeedsNumber(value, field)) return;
  if (!value.IsSequence() || value.size() != 2) {
    return Fault(value, field, "must be [lowest, highest]");
  }
  const std::optional<double> lo = Number(value[0], field, /*finite=*/false);
  const std::optional<double> hi = Number(value[1], field, /*finite=*/false);
  if (!lo.has_value() || !hi.has_value()) return;
  if (*lo > *hi) return Fault(value, field, "the lowest is above the highest");
  Transform::Clip* clip = feature_.add_transforms()->mutable_clip();
  clip->set_lo(*lo);
  clip->set_hi(*hi);
  positions_.reset();
}

void TransformParser::Scale(const Node& value, const std::string& field) {
  if (!NeedsNumber(value, field)) return;
  std::optional<double> mean, std_deviation;
  YamlMap(value, field, &faults_, [&](const std::string& key, const Node& at, const Node& number) {
    const std::string full = absl::StrCat(field, ".", Printable(key));
    if (key == "mean") {
      mean = Number(number, full);
    } else if (key == "std") {
      std_deviation = Number(number, full);
    } else {
      Fault(at, full, "is not a field; scale has mean and std");
    }
  });
  if (!value.IsMap()) return;
  if (!value["mean"]) Fault(value, field, "mean is missing");
  if (!value["std"]) Fault(value, field, "std is missing");
  if (std_deviation.has_value() && *std_deviation <= 0) {
    return Fault(value, field + ".std", "must be above 0");
  }
  Transform::Scale* scale = feature_.add_transforms()->mutable_scale();
  scale->set_mean(mean.value_or(0));
  scale->set_std(std_deviation.value_or(1));
  positions_.reset();
}

void TransformParser::Bucketize(const Node& value, const std::string& field) {
  if (!NeedsNumber(value, field)) return;
  if (!value.IsSequence() || value.size() == 0 || value.size() > kMaxEdges) {
    return Fault(value, field, absl::StrCat("must be a list of 1 to ", kMaxEdges, " edges"));
  }
  Transform::Bucketize* bucketize = feature_.add_transforms()->mutable_bucketize();
  double last = -INFINITY;
  for (const Node& edge : value) {
    const std::optional<double> number = Number(edge, field);
    if (!number.has_value()) continue;
    if (*number <= last) Fault(edge, field, "edges must ascend");
    last = *number;
    bucketize->add_edges(*number);
  }
  positions_ = static_cast<uint32_t>(value.size()) + 1;
  unknown_.reset();
}

void TransformParser::Vocabulary(const Node& value, const std::string& field) {
  if (!text_) return Fault(value, field, "needs a string, and this is a number");
  text_ = false;
  Transform::Vocabulary* vocabulary = feature_.add_transforms()->mutable_vocabulary();
  bool has_values = false;
  const bool is_map = YamlMap(
      value, field, &faults_, [&](const std::string& key, const Node& at, const Node& entry) {
        const std::string full = absl::StrCat(field, ".", Printable(key));
        if (key == "values") {
          has_values = true;
          Values(entry, full, vocabulary);
        } else if (key == "unknown") {
          Unknown(entry, full, vocabulary);
        } else {
          Fault(at, full, "is not a field; vocabulary has values and unknown");
        }
      });
  if (is_map && !has_values) Fault(value, field, "values is missing");
  positions_ = static_cast<uint32_t>(vocabulary->values_size());
  if (unknown_.has_value() && IsPosition(*unknown_, kMaxWidth)) {
    positions_ = std::max(*positions_, static_cast<uint32_t>(*unknown_) + 1);
  }
}

void TransformParser::Values(const Node& list, const std::string& field,
                             Transform::Vocabulary* vocabulary) {
  if (!list.IsSequence() || list.size() == 0) {
    return Fault(list, field, "must be a list of one text or more");
  }
  std::set<std::string> seen;
  for (const Node& word : list) {
    if (!word.IsScalar() || word.Scalar().empty() || word.Scalar().size() > kMaxWordBytes ||
        !IsUtf8(word.Scalar())) {
      Fault(word, field, absl::StrCat("each is UTF-8 of 1 to ", kMaxWordBytes, " bytes"));
    } else if (!seen.insert(word.Scalar()).second) {
      Fault(word, field, absl::StrCat(Printable(word.Scalar()), " stands twice"));
    } else {
      vocabulary->add_values(word.Scalar());
    }
  }
}

void TransformParser::Unknown(const Node& value, const std::string& field,
                              Transform::Vocabulary* vocabulary) {
  const std::string text = value.IsScalar() ? value.Scalar() : "";
  double index = 0;
  if (text == "reject") {
    vocabulary->set_unknown(Transform::Vocabulary::REJECT);
  } else if (text == "missing") {
    vocabulary->set_unknown(Transform::Vocabulary::MISSING);
  } else if (absl::SimpleAtod(text, &index) && isfinite(index)) {
    vocabulary->set_unknown(Transform::Vocabulary::INDEX);
    vocabulary->set_index(index);
    unknown_ = index;
  } else {
    Fault(value, field, "must be reject, missing or a finite number");
  }
}

void TransformParser::OneHot(const Node& at, const std::string& field) {
  if (!NeedsNumber(at, field)) return;
  if (!positions_.has_value()) {
    return Fault(at, field,
                 "must follow vocabulary or bucketize; only a cast, or a fill with one of their "
                 "positions, may stand between");
  }
  if (unknown_.has_value() && !IsPosition(*unknown_, kMaxWidth)) {
    return Fault(at, field, "the vocabulary's number for what is unknown is no position");
  }
  if (*positions_ > kMaxWidth) {
    return Fault(at, field, absl::StrCat("has more than ", kMaxWidth, " columns"));
  }
  width_ = std::max(*positions_, 1u);
  feature_.add_transforms()->mutable_one_hot()->set_width(width_);
  after_one_hot_ = true;
}

void TransformParser::Cast(const Node& value, const std::string& field) {
  if (!NeedsNumber(value, field)) return;
  const std::string text = value.IsScalar() ? value.Scalar() : "";
  if (text != "float32" && text != "int64") return Fault(value, field, "must be float32 or int64");
  feature_.add_transforms()->mutable_cast()->set_to_int64(text == "int64");
}

}  // namespace millrace
