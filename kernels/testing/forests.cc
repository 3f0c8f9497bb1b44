#include "kernels/testing/forests.h"

#include <cmath>
#include <limits>
#include <utility>

#include "common/check.h"
#include "kernels/plan/image_builder.h"

namespace millrace {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool IsCategorical(const ForestSpec& spec, uint32_t feature) {
  return spec.categorical > 0 && feature % 2 == 1;
}

// Threshold `i` of a feature: floats around 0, so that rows can hit them exactly.
double ThresholdOf(const ForestSpec& spec, uint32_t feature, uint32_t i) {
  Random random(spec.seed * 1000003 + feature * 8191 + i);
  const double x = random.Unit() * 4 - 2;
  // A LightGBM threshold mostly lies between two floats.
  if (spec.family == TreeFamily::kLightgbm && random.Chance(0.5)) return x;
  return static_cast<float>(x);
}

double HostileThreshold(const ForestSpec& spec, Random* random) {
  constexpr double kValues[] = {0.0,     -0.0,   1e-45,  -1e-45, 1e-40,     1e-35,     3.4e38,
                                -3.4e38, 1e-300, -1e300, 1e300,  kInfinity, -kInfinity};
  const double x = kValues[random->Below(sizeof kValues / sizeof *kValues)];
  return spec.family == TreeFamily::kXgboost ? static_cast<float>(x) : x;
}

class TreeMaker {
 public:
  TreeMaker(const ForestSpec& spec, Random* random, ImageBuilder* builder)
      : spec_(spec), random_(*random), builder_(*builder) {}

  void Add(uint32_t group) {
    linear_ = random_.Chance(spec_.linear);
    if (random_.Chance(spec_.stumps)) {
      builder_.AddTree(group, {Leaf()});
      return;
    }
    Shape();
    std::vector<DraftNode> nodes;
    for (const Place& place : places_) {
      DraftNode node = place.left == 0 ? Leaf() : Split();
      if (place.left != 0) {
        node.left = place.left;
        node.right = place.left + 1;
      }
      nodes.push_back(node);
    }
    builder_.AddTree(group, std::move(nodes));
  }

 private:
  struct Place {
    uint32_t depth;
    uint32_t left;  // 0: a leaf
  };

  // Breadth first; the children of a place are appended when it is reached.
  void Shape() {
    places_ = {{0, 0}};
    uint32_t leaves = 1;
    for (uint32_t i = 0; i < places_.size(); ++i) {
      if (places_[i].depth >= spec_.depth) continue;
      if (spec_.leaves != 0) {
        if (leaves >= spec_.leaves) break;
        // The last open leaf must split, or the tree ends early.
        const bool last = i + 1 == places_.size();
        if (!last && random_.Chance(0.3)) continue;
      }
      places_[i].left = static_cast<uint32_t>(places_.size());
      const uint32_t depth = places_[i].depth + 1;
      places_.push_back({depth, 0});
      places_.push_back({depth, 0});
      ++leaves;
    }
  }

  DraftNode Split() {
    const uint32_t feature = random_.Below(spec_.features);
    Missing missing = Missing::kNan;
    if (spec_.family == TreeFamily::kLightgbm && spec_.mixed_missing) {
      missing = static_cast<Missing>(random_.Below(3));
    }
    const bool left = spec_.nan_default && random_.Chance(0.5);
    if (IsCategorical(spec_, feature) && random_.Chance(spec_.categorical)) {
      std::vector<uint32_t> words((1 + random_.Below(spec_.categories) + 31) / 32);
      for (uint32_t& word : words) word = static_cast<uint32_t>(random_.Next());
      return DraftCategorical(feature, builder_.AddSet(words), missing, left);
    }
    const double threshold = random_.Chance(spec_.hostile)
                                 ? HostileThreshold(spec_, &random_)
                                 : ThresholdOf(spec_, feature, random_.Below(spec_.edges));
    return DraftNumeric(feature, threshold, missing, left);
  }

  double Value() {
    const double x = (random_.Unit() - 0.5) * 0.2;
    return spec_.family == TreeFamily::kXgboost ? static_cast<float>(x) : x;
  }

  DraftNode Leaf() {
    if (spec_.vector_leaves) {
      std::vector<double> values(spec_.groups);
      for (double& value : values) value = Value();
      return DraftIndexLeaf(NodeKind::kLeaf, builder_.AddVector(values));
    }
    if (!linear_) return DraftLeaf(Value());
    std::vector<PlanTerm> terms(random_.Below(4));
    for (PlanTerm& term : terms) {
      term = {.coefficient = Value(), .feature = random_.Below(spec_.features), .reserved = 0};
    }
    const double constant = Value();
    return DraftIndexLeaf(NodeKind::kLinearLeaf, builder_.AddLinear(constant, Value(), terms));
  }

  const ForestSpec& spec_;
  Random& random_;
  ImageBuilder& builder_;
  bool linear_ = false;
  std::vector<Place> places_;
};

double HostileValue(const ForestSpec& spec, uint32_t feature, Random* random) {
  constexpr double kValues[] = {std::numeric_limits<double>::quiet_NaN(),
                                std::numeric_limits<double>::quiet_NaN(),
                                kInfinity,
                                -kInfinity,
                                0.0,
                                -0.0,
                                1e-45,
                                -1e-45,
                                1e-40,
                                1e-35,
                                -1e-35,
                                1.1e-35,
                                3.4e38,
                                -0.5,
                                -1.0,
                                16777216.0,
                                2147483648.0,
                                4e9};
  constexpr uint32_t kCount = sizeof kValues / sizeof *kValues;
  const uint32_t i = random->Below(2 * kCount);
  if (i < kCount) return kValues[i];
  // A threshold, or the float beside it.
  const auto at = static_cast<float>(ThresholdOf(spec, feature, random->Below(spec.edges)));
  const auto towards = static_cast<float>(random->Chance(0.5) ? kInfinity : -kInfinity);
  return random->Chance(0.5) ? at : std::nextafter(at, towards);
}

template <typename T>
std::vector<T> Rows(const ForestSpec& spec, size_t n, double hostile, uint64_t seed) {
  Random random(seed * 7919 + 17);
  std::vector<T> rows(n * spec.features);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto feature = static_cast<uint32_t>(i % spec.features);
    if (random.Chance(hostile)) {
      rows[i] = static_cast<T>(HostileValue(spec, feature, &random));
    } else if (IsCategorical(spec, feature)) {
      rows[i] = static_cast<T>(random.Below(spec.categories + 3));
    } else {
      rows[i] = static_cast<T>(random.Unit() * 4 - 2);
    }
  }
  return rows;
}

}  // namespace

uint64_t Random::Next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

std::vector<std::byte> MakeForest(const ForestSpec& spec) {
  MR_CHECK(spec.features > 0 && spec.edges > 0, "a forest asks for something");
  Random random(spec.seed);
  ImageBuilder builder;
  TreeMaker maker(spec, &random, &builder);
  for (uint32_t t = 0; t < spec.trees; ++t) maker.Add(spec.vector_leaves ? 0 : t % spec.groups);
  PlanTraits traits;
  traits.family = spec.family;
  traits.features = spec.features;
  traits.vector_leaves = spec.vector_leaves;
  traits.objective = "generated";
  for (uint32_t g = 0; g < spec.groups; ++g) traits.bases.push_back(0.5 * g - 0.25);
  std::string fault;
  std::vector<std::byte> image = builder.Finish(traits, &fault);
  MR_CHECK(!image.empty(), "the spec lies within the format's limits");
  return image;
}

std::vector<float> MakeRows(const ForestSpec& spec, size_t n, double hostile, uint64_t seed) {
  return Rows<float>(spec, n, hostile, seed);
}

std::vector<double> MakeRows64(const ForestSpec& spec, size_t n, double hostile, uint64_t seed) {
  return Rows<double>(spec, n, hostile, seed);
}

}  // namespace millrace
