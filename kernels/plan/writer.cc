#include "kernels/plan/writer.h"

#include <string.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

constexpr uint64_t kMaxCount = std::numeric_limits<uint32_t>::max();

uint32_t Split(uint32_t feature, NodeKind kind, Missing missing, bool default_left) {
  MR_CHECK(feature < kMaxFeatures, "the parser limits feature indexes");
  return feature | static_cast<uint32_t>(kind) << kKindShift |
         static_cast<uint32_t>(missing) << kMissingShift | (default_left ? kDefaultLeftBit : 0);
}

bool IsInner(uint32_t split) {
  const NodeKind kind = KindOf(PlanNode{.bits = 0, .left = 0, .split = split});
  return kind == NodeKind::kNumeric || kind == NodeKind::kCategorical;
}

// Appends a section to the image and notes where it lies.
template <typename T>
void Append(Section section, const T* data, uint64_t count, std::vector<std::byte>* image) {
  static_assert(std::is_trivially_copyable_v<T>);
  MR_CHECK(sizeof(T) == kSectionElementBytes[section], "a section has elements of one size");
  const uint64_t aligned = (image->size() + kSectionAlignment - 1) & -kSectionAlignment;
  image->resize(aligned + count * sizeof(T));
  if (count != 0) memcpy(image->data() + aligned, data, count * sizeof(T));
  auto* header = reinterpret_cast<PlanHeader*>(image->data());
  header->sections[section] = {.offset = aligned, .count = count};
}

template <typename T>
void Append(Section section, const std::vector<T>& data, std::vector<std::byte>* image) {
  Append(section, data.data(), data.size(), image);
}

void AppendNames(const std::vector<std::string>& names, std::vector<std::byte>* image) {
  std::vector<uint32_t> ends;
  std::string bytes;
  for (const std::string& name : names) {
    bytes += name;
    ends.push_back(static_cast<uint32_t>(bytes.size()));
  }
  Append(kNameEnds, ends, image);
  Append(kNameBytes, bytes.data(), bytes.size(), image);
}

PlanHeader MakeHeader(const PlanTraits& traits) {
  PlanHeader header = {};
  header.magic = kPlanMagic;
  header.format_hash = kFormatHash;
  header.family = traits.family;
  header.transform = traits.transform;
  header.transform_parameter = traits.transform_parameter;
  header.average_divisor = traits.average_divisor;
  header.features = traits.features;
  header.groups = static_cast<uint32_t>(traits.bases.size());
  header.prediction_columns = traits.transform == Transform::kArgmax ? 1 : header.groups;
  header.vector_leaves = traits.vector_leaves ? 1 : 0;
  traits.objective.copy(header.objective, sizeof header.objective - 1);
  return header;
}

}  // namespace

DraftNode DraftLeaf(double value) {
  return {.bits = std::bit_cast<uint64_t>(value),
          .split = Split(0, NodeKind::kLeaf, Missing::kNone, false)};
}

DraftNode DraftIndexLeaf(NodeKind kind, uint64_t index) {
  return {.bits = index, .split = Split(0, kind, Missing::kNone, false)};
}

DraftNode DraftNumeric(uint32_t feature, double threshold, Missing missing, bool default_left) {
  return {.bits = std::bit_cast<uint64_t>(threshold),
          .split = Split(feature, NodeKind::kNumeric, missing, default_left)};
}

DraftNode DraftCategorical(uint32_t feature, uint32_t set, Missing missing, bool default_left) {
  return {.bits = set, .split = Split(feature, NodeKind::kCategorical, missing, default_left)};
}

uint32_t PlanWriter::AddSet(absl::Span<const uint32_t> words) {
  sets_.push_back({.first_word = static_cast<uint32_t>(words_.size()),
                   .word_count = static_cast<uint32_t>(words.size())});
  words_.insert(words_.end(), words.begin(), words.end());
  return static_cast<uint32_t>(sets_.size() - 1);
}

uint64_t PlanWriter::AddVector(absl::Span<const double> values) {
  vectors_.insert(vectors_.end(), values.begin(), values.end());
  return vectors_.size() - values.size();
}

uint32_t PlanWriter::AddLinear(double constant, double fallback, absl::Span<const PlanTerm> terms) {
  linears_.push_back({.constant = constant,
                      .fallback = fallback,
                      .first_term = static_cast<uint32_t>(terms_.size()),
                      .term_count = static_cast<uint32_t>(terms.size())});
  terms_.insert(terms_.end(), terms.begin(), terms.end());
  return static_cast<uint32_t>(linears_.size() - 1);
}

absl::Status PlanWriter::AddTree(uint32_t group, uint32_t count, const TreeNames& names,
                                 ReadNode read) {
  if (count == 0) return absl::InvalidArgumentError(absl::StrCat(names.path, ": has no nodes"));
  if (nodes_.size() + count > kMaxCount) {
    return absl::ResourceExhaustedError(absl::StrCat(names.path, ": more than 2^32 nodes in all"));
  }
  std::vector<uint32_t> order = {0};  // the file's numbers in plan order; grows as it is walked
  std::vector<bool> reached(count);
  reached[0] = true;
  const auto reach = [&](size_t parent, const char* field, uint32_t child) {
    const auto fault = [&](const char* what) {
      return absl::InvalidArgumentError(
          absl::StrCat(names.path, ".", field, "[", parent, "]: node ", child, what));
    };
    if (child >= count) return fault(" is out of range");
    if (reached[child]) return fault(" is reached a second time");
    reached[child] = true;
    order.push_back(child);
    return absl::OkStatus();
  };
  const size_t first = nodes_.size();
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t number = order[i];
    const absl::StatusOr<DraftNode> node = read(number);
    if (!node.ok()) return node.status();
    PlanNode out = {.bits = node->bits, .left = 0, .split = node->split};
    if (IsInner(node->split)) {
      out.left = static_cast<uint32_t>(order.size());
      if (absl::Status s = reach(number, names.left, node->left); !s.ok()) return s;
      if (absl::Status s = reach(number, names.right, node->right); !s.ok()) return s;
    }
    nodes_.push_back(out);
  }
  trees_.push_back({.first_node = static_cast<uint32_t>(first),
                    .node_count = static_cast<uint32_t>(order.size()),
                    .group = group,
                    .reserved = 0});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::byte>> PlanWriter::Finish(const PlanTraits& traits) const {
  if (traits.bases.empty() || traits.bases.size() > kMaxGroups) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a model may have 1 to ", kMaxGroups, " groups, not ", traits.bases.size()));
  }
  if (std::max({words_.size(), terms_.size(), sets_.size(), linears_.size()}) > kMaxCount) {
    return absl::ResourceExhaustedError("the category sets or linear leaves exceed 2^32 elements");
  }
  const PlanHeader start = MakeHeader(traits);
  std::vector<std::byte> image(sizeof start);
  memcpy(image.data(), &start, sizeof start);
  Append(kBases, traits.bases, &image);
  Append(kTrees, trees_, &image);
  Append(kNodes, nodes_, &image);
  Append(kVectors, vectors_, &image);
  Append(kSets, sets_, &image);
  Append(kWords, words_, &image);
  Append(kLinears, linears_, &image);
  Append(kTerms, terms_, &image);
  AppendNames(traits.feature_names, &image);
  image.resize((image.size() + kSectionAlignment - 1) & -kSectionAlignment);
  reinterpret_cast<PlanHeader*>(image.data())->image_bytes = image.size();
  if (auto plan = TreePlan::Open(image); !plan.ok()) return plan.status();
  return image;
}

}  // namespace millrace
