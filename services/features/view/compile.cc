// CompileFeature: every transform of the catalog is checked here, and nowhere else.
#include <math.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "services/features/view/program.h"

namespace millrace {
namespace {

constexpr size_t kMaxVocabulary = 1 << 20;  // a position is exact in float32
constexpr size_t kMaxEdges = 1 << 16;
constexpr uint32_t kMaxOneHot = 1 << 16;

absl::Status Bad(absl::string_view sentence) { return absl::InvalidArgumentError(sentence); }

// What compiling one feature knows after each transform.
class Compiler {
 public:
  explicit Compiler(bool text) : text_(text) {}

  absl::Status Add(const Transform& transform);
  absl::StatusOr<FeatureProgram> Finish() &&;

 private:
  absl::Status AddCast(const Transform::Cast& cast);
  absl::Status AddFill(const Transform::Fill& fill);
  absl::Status AddScale(const Transform::Scale& scale);
  absl::Status AddClip(const Transform::Clip& clip);
  absl::Status AddBucketize(const Transform::Bucketize& bucketize);
  absl::Status AddVocabulary(const Transform::Vocabulary& vocabulary);
  absl::Status AddOneHot(const Transform::OneHot& one_hot);
  absl::Status AddNumeric(Op op);

  bool text_;  // what stands now: a string or a number
  bool done_ = false;
  std::optional<std::string> fill_text_;
  FeatureProgram program_;
};

absl::Status Compiler::AddNumeric(Op op) {
  if (text_) return Bad("it needs a number; a string must go through a vocabulary first");
  program_.ops.push_back(std::move(op));
  return absl::OkStatus();
}

absl::Status Compiler::AddCast(const Transform::Cast& cast) {
  return AddNumeric({cast.to_int64() ? Op::Kind::kCastInt64 : Op::Kind::kCastFloat32});
}

absl::Status Compiler::AddFill(const Transform::Fill& fill) {
  switch (fill.value_case()) {
    case Transform::Fill::kNumber:
      if (text_) return Bad("a string is filled with text, not with a number");
      if (!isfinite(fill.number())) return Bad("the number must be finite");
      return AddNumeric({Op::Kind::kFill, fill.number()});
    case Transform::Fill::kText:
      if (!text_) return Bad("a number is filled with a number, not with text");
      if (fill.text().empty()) return Bad("the text is empty, which is what missing means");
      if (!fill_text_) fill_text_ = fill.text();  // after the first nothing is missing
      return absl::OkStatus();
    case Transform::Fill::VALUE_NOT_SET:
      break;
  }
  return Bad("it has no value");
}

absl::Status Compiler::AddScale(const Transform::Scale& scale) {
  if (!isfinite(scale.mean())) return Bad("mean must be finite");
  if (!isfinite(scale.std()) || scale.std() <= 0) return Bad("std must be finite and above 0");
  return AddNumeric({Op::Kind::kScale, scale.mean(), scale.std()});
}

absl::Status Compiler::AddClip(const Transform::Clip& clip) {
  if (isnan(clip.lo()) || isnan(clip.hi())) return Bad("lo and hi must be numbers");
  if (clip.lo() > clip.hi()) return Bad("lo must not be above hi");
  return AddNumeric({Op::Kind::kClip, clip.lo(), clip.hi()});
}

absl::Status Compiler::AddBucketize(const Transform::Bucketize& bucketize) {
  Op op{Op::Kind::kBucketize};
  op.edges.assign(bucketize.edges().begin(), bucketize.edges().end());
  if (op.edges.empty()) return Bad("it needs one edge or more");
  if (op.edges.size() > kMaxEdges) return Bad(absl::StrCat("more than ", kMaxEdges, " edges"));
  for (size_t i = 0; i < op.edges.size(); ++i) {
    if (!isfinite(op.edges[i])) return Bad(absl::StrCat("edge ", i, " must be finite"));
    if (i > 0 && op.edges[i] <= op.edges[i - 1]) {
      return Bad(absl::StrCat("edge ", i, " must be above the edge before it"));
    }
  }
  return AddNumeric(std::move(op));
}

absl::Status Compiler::AddVocabulary(const Transform::Vocabulary& vocabulary) {
  if (!text_) return Bad("it needs a string; this is a number");
  const size_t count = vocabulary.values_size();
  if (count == 0) return Bad("it has no values");
  if (count > kMaxVocabulary) return Bad(absl::StrCat("more than ", kMaxVocabulary, " values"));
  auto strings = std::make_unique<StringIndex>();
  strings->positions.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const std::string& value = vocabulary.values(i);
    if (value.empty()) {
      return Bad(absl::StrCat("value ", i, " is empty, which is what missing means"));
    }
    if (!strings->positions.emplace(value, static_cast<double>(i)).second) {
      return Bad(absl::StrCat("value ", i, " ", Quoted(value), " stands there twice"));
    }
  }
  switch (vocabulary.unknown()) {
    case Transform::Vocabulary::REJECT:
      break;
    case Transform::Vocabulary::MISSING:
      strings->unknown = kMissing;
      break;
    case Transform::Vocabulary::INDEX:
      if (!isfinite(vocabulary.index())) return Bad("index must be finite");
      strings->unknown = vocabulary.index();
      break;
    default:
      return Bad(absl::StrCat("unknown must be REJECT, MISSING or INDEX, not ",
                              static_cast<int>(vocabulary.unknown())));
  }
  if (fill_text_) {
    const auto found = strings->positions.find(*fill_text_);
    if (found == strings->positions.end() && !strings->unknown) {
      return Bad(absl::StrCat("the fill before it, ", Quoted(*fill_text_), ", is not one of its ",
                              "values"));
    }
    strings->missing = found == strings->positions.end() ? *strings->unknown : found->second;
  }
  program_.strings = std::move(strings);
  text_ = false;
  return absl::OkStatus();
}

bool IsIndexBelow(double value, double width) {
  return value >= 0 && value < width && value == trunc(value);
}

absl::Status Compiler::AddOneHot(const Transform::OneHot& one_hot) {
  const uint32_t width = one_hot.width();
  if (width == 0 || width > kMaxOneHot) {
    return Bad(absl::StrCat("width must be 1 to ", kMaxOneHot, ", not ", width));
  }
  // Straight after a vocabulary every index is known now: better a refused model than requests.
  if (program_.strings && program_.ops.empty()) {
    const StringIndex& strings = *program_.strings;
    if (strings.positions.size() > width) {
      return Bad(absl::StrCat("width ", width, " is less than the vocabulary's ",
                              strings.positions.size(), " values"));
    }
    if (strings.unknown && !isnan(*strings.unknown) && !IsIndexBelow(*strings.unknown, width)) {
      return Bad(absl::StrCat("the vocabulary's index for unknown values, ", *strings.unknown,
                              ", is no column of width ", width));
    }
  }
  absl::Status status = AddNumeric({Op::Kind::kOneHot, static_cast<double>(width)});
  program_.width = width;
  done_ = true;
  return status;
}

absl::Status Compiler::Add(const Transform& transform) {
  if (done_) return Bad("nothing may follow a one_hot");
  switch (transform.op_case()) {
    case Transform::kCast:
      return AddCast(transform.cast());
    case Transform::kFill:
      return AddFill(transform.fill());
    case Transform::kScale:
      return AddScale(transform.scale());
    case Transform::kLog1P:
      return AddNumeric({Op::Kind::kLog1p});
    case Transform::kClip:
      return AddClip(transform.clip());
    case Transform::kBucketize:
      return AddBucketize(transform.bucketize());
    case Transform::kVocabulary:
      return AddVocabulary(transform.vocabulary());
    case Transform::kOneHot:
      return AddOneHot(transform.one_hot());
    case Transform::OP_NOT_SET:
      break;
  }
  return Bad("it has no operation that this build knows");
}

absl::StatusOr<FeatureProgram> Compiler::Finish() && {
  if (text_) return Bad("a string feature needs a vocabulary");
  return std::move(program_);
}

absl::string_view OpName(const Transform& transform) {
  static constexpr absl::string_view kNames[] = {
      "none", "cast", "fill", "scale", "log1p", "clip", "bucketize", "vocabulary", "one_hot"};
  static_assert(std::size(kNames) == Transform::kOneHotFieldNumber + 1, "one name for each op");
  return kNames[transform.op_case()];
}

}  // namespace

std::string Quoted(absl::string_view text) {
  constexpr size_t kShown = 32;
  const std::string copy(text.substr(0, kShown));  // the original may be changing
  return absl::StrCat("'", absl::CHexEscape(copy), text.size() > kShown ? "..." : "", "'");
}

absl::StatusOr<FeatureProgram> CompileFeature(const Feature& feature) {
  if (feature.type() != Feature::NUMBER && feature.type() != Feature::STRING) {
    return Bad(
        absl::StrCat("type must be NUMBER or STRING, not ", static_cast<int>(feature.type())));
  }
  Compiler compiler(feature.type() == Feature::STRING);
  for (int i = 0; i < feature.transforms_size(); ++i) {
    const absl::Status status = compiler.Add(feature.transforms(i));
    if (!status.ok()) {
      return Bad(absl::StrCat("transform ", i, " (", OpName(feature.transforms(i)),
                              "): ", status.message()));
    }
  }
  return std::move(compiler).Finish();
}

}  // namespace millrace
