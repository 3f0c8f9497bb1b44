// Generated forests: compiled and run by the reference, against a naive interpreter that walks the
// source document itself and shares no code with either. Rows hit thresholds exactly, and hold
// NaN, infinities, denormals and odd categories.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/compile/compile.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"

namespace millrace {
namespace {

using nlohmann::json;
using Random = std::mt19937;

constexpr uint32_t kFeatures = 5;
constexpr int kRows = 64;

// Values that thresholds and rows share, so that ties are frequent.
float Value(Random& random) {
  constexpr float kSpecial[] = {0.0f,    -0.0f, 1.0f,  -1.0f, 0.5f,   1e-35f, -1e-35f,    1e-40f,
                                -1e-40f, 3.0f,  33.0f, 1e30f, -1e30f, 0.1f,   16777216.0f};
  if (random() % 3 != 0) return kSpecial[random() % std::size(kSpecial)];
  return std::uniform_real_distribution<float>(-4, 4)(random);
}

float RowValue(Random& random) {
  switch (random() % 8) {
    case 0:
      return std::numeric_limits<float>::quiet_NaN();
    case 1:
      return random() % 2 ? HUGE_VALF : -HUGE_VALF;
    case 2:
      return static_cast<float>(random() % 70) - 3.5f;
    default:
      return Value(random);
  }
}

std::vector<float> Rows(Random& random) {
  std::vector<float> rows(kRows * kFeatures);
  for (float& x : rows) x = RowValue(random);
  return rows;
}

// ---- XGBoost ----

// A random tree of the given number of splits, as columns of its document.
json XgboostTree(Random& random, size_t id, int splits) {
  json tree = {{"id", id}};
  std::vector<int> left = {-1}, right = {-1}, feature = {0}, default_left = {0}, type = {0};
  std::vector<float> condition = {Value(random)};
  std::vector<int> nodes, segments, sizes, categories;
  for (int s = 0; s < splits; ++s) {
    size_t leaf = random() % left.size();
    while (left[leaf] != -1) leaf = (leaf + 1) % left.size();
    left[leaf] = static_cast<int>(left.size());
    right[leaf] = left[leaf] + 1;
    feature[leaf] = static_cast<int>(random() % kFeatures);
    default_left[leaf] = static_cast<int>(random() % 2);
    type[leaf] = random() % 4 == 0 ? 1 : 0;
    for (int child = 0; child < 2; ++child) {
      left.push_back(-1);
      right.push_back(-1);
      feature.push_back(0);
      default_left.push_back(0);
      type.push_back(0);
      condition.push_back(Value(random));
    }
  }
  for (size_t i = 0; i < type.size(); ++i) {
    if (type[i] == 0) continue;
    nodes.push_back(static_cast<int>(i));
    segments.push_back(static_cast<int>(categories.size()));
    for (unsigned n = 1 + random() % 4; n > 0; --n) categories.push_back(random() % 67);
    sizes.push_back(static_cast<int>(categories.size()) - segments.back());
  }
  tree["left_children"] = left;
  tree["right_children"] = right;
  tree["split_indices"] = feature;
  tree["split_conditions"] = condition;
  tree["default_left"] = default_left;
  tree["split_type"] = type;
  tree["categories_nodes"] = nodes;
  tree["categories_segments"] = segments;
  tree["categories_sizes"] = sizes;
  tree["categories"] = categories;
  tree["tree_param"] = {{"num_nodes", std::to_string(left.size())}, {"size_leaf_vector", "1"}};
  return tree;
}

json XgboostForest(Random& random, int trees, int classes, bool dart) {
  json model = {{"trees", json::array()}, {"tree_info", json::array()}};
  for (int i = 0; i < trees; ++i) {
    model["trees"].push_back(XgboostTree(random, i, random() % 4 == 0 ? 0 : random() % 40));
    model["tree_info"].push_back(i % classes);
    if (dart) model["weight_drop"].push_back(Value(random) / 3);
  }
  return {{"version", {3, 0, 0}},
          {"learner",
           {{"objective", {{"name", "reg:squarederror"}}},
            {"learner_model_param",
             {{"base_score", "1.25E-1"},
              {"num_class", std::to_string(classes)},
              {"num_feature", std::to_string(kFeatures)}}},
            {"gradient_booster", {{"name", "gbtree"}, {"model", model}}}}}};
}

bool XgboostGoesRight(const json& tree, size_t node, float x) {
  if (std::isnan(x)) return tree["default_left"][node] == 0;
  if (tree["split_type"][node] == 0) return !(x < tree["split_conditions"][node].get<float>());
  if (x < 0 || x >= 16777216.0f) return false;
  for (size_t i = 0; i < tree["categories_nodes"].size(); ++i) {
    if (tree["categories_nodes"][i] != node) continue;
    const size_t begin = tree["categories_segments"][i];
    for (size_t j = begin; j < begin + tree["categories_sizes"][i].get<size_t>(); ++j) {
      if (tree["categories"][j] == static_cast<int>(x)) return true;
    }
  }
  return false;
}

float XgboostLeaf(const json& tree, size_t node, const float* row) {
  if (tree["left_children"][node] == -1) return tree["split_conditions"][node];
  const float x = row[tree["split_indices"][node].get<size_t>()];
  const char* side = XgboostGoesRight(tree, node, x) ? "right_children" : "left_children";
  return XgboostLeaf(tree, tree[side][node], row);
}

std::vector<float> InterpretXgboost(const json& document, const float* row, int classes) {
  const json& model = document["learner"]["gradient_booster"]["model"];
  std::vector<float> margins(classes, 0.125f);
  for (size_t i = 0; i < model["trees"].size(); ++i) {
    float leaf = XgboostLeaf(model["trees"][i], 0, row);
    if (model.contains("weight_drop")) leaf *= model["weight_drop"][i].get<float>();
    float& margin = margins[model["tree_info"][i].get<size_t>()];
    margin = margin + leaf;
  }
  return margins;
}

TEST(GeneratedForestTest, XgboostEqualsTheInterpreter) {
  Random random(1);
  for (int turn = 0; turn < 60; ++turn) {
    const int classes = turn % 3 + 1;
    const json document = XgboostForest(random, turn % 7 * classes, classes, turn % 5 == 4);
    const auto model = CompileModel(document.dump(), ModelFormat::kXgboostJson);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto plan = TreePlan::Open(model->plan);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::vector<float> rows = Rows(random);
    std::vector<float> margins(kRows * classes);
    reference::Margins(*plan, DataType::kFp32, rows.data(), kRows, margins.data());
    for (int r = 0; r < kRows; ++r) {
      const auto expected = InterpretXgboost(document, rows.data() + r * kFeatures, classes);
      for (int g = 0; g < classes; ++g) {
        // A weighted negative zero may differ in sign before it is added, never after.
        ASSERT_EQ(expected[g], margins[r * classes + g])
            << "forest " << turn << " row " << r << " class " << g;
      }
    }
  }
}

// ---- LightGBM ----

using Fields = std::map<std::string, std::vector<double>>;

template <typename T>
std::string Join(const std::vector<T>& values) {
  std::ostringstream out;
  out.precision(17);
  for (size_t i = 0; i < values.size(); ++i) out << (i ? " " : "") << values[i];
  return out.str();
}

std::string LightgbmTree(Random& random, int index, int splits, bool linear) {
  // A leaf to split is taken at random; its number stays with the left child, as the library does.
  std::vector<int> left, right, feature, decision;
  std::vector<double> threshold, value = {Value(random)};
  std::vector<int> boundaries = {0};
  std::vector<uint32_t> words;
  for (int s = 0; s < splits; ++s) {
    const int leaf = static_cast<int>(random() % value.size());
    for (std::vector<int>* children : {&left, &right}) {
      for (int& child : *children) child = child == ~leaf ? s : child;
    }
    left.push_back(~leaf);
    right.push_back(~static_cast<int>(value.size()));
    value.push_back(Value(random) * (1 + 1e-9));
    feature.push_back(static_cast<int>(random() % kFeatures));
    const bool categorical = random() % 4 == 0;
    decision.push_back(static_cast<int>(random() % 3) << 2 | (random() % 2) << 1 | categorical);
    threshold.push_back(categorical ? static_cast<double>(boundaries.size() - 1)
                                    : Value(random) * (random() % 2 ? 1 : 1 + 1e-12));
    if (!categorical) continue;
    for (unsigned n = random() % 3; n > 0; --n) words.push_back(random());
    boundaries.push_back(static_cast<int>(words.size()));
  }
  std::ostringstream out;
  out << "Tree=" << index << "\nnum_leaves=" << value.size()
      << "\nnum_cat=" << boundaries.size() - 1 << "\nsplit_feature=" << Join(feature)
      << "\nthreshold=" << Join(threshold) << "\ndecision_type=" << Join(decision)
      << "\nleft_child=" << Join(left) << "\nright_child=" << Join(right)
      << "\nleaf_value=" << Join(value) << "\n";
  if (boundaries.size() > 1) {
    out << "cat_boundaries=" << Join(boundaries) << "\ncat_threshold=" << Join(words) << "\n";
  }
  out << "is_linear=" << linear << "\n";
  if (linear) {
    std::vector<int> counts, features;
    std::vector<double> constants, coefficients;
    for (size_t i = 0; i < value.size(); ++i) {
      constants.push_back(Value(random));
      counts.push_back(static_cast<int>(random() % 3));
      for (int n = 0; n < counts.back(); ++n) {
        features.push_back(static_cast<int>(random() % kFeatures));
        coefficients.push_back(Value(random));
      }
    }
    out << "leaf_const=" << Join(constants) << "\nnum_features=" << Join(counts)
        << "\nleaf_features=" << Join(features) << "\nleaf_coeff=" << Join(coefficients) << "\n";
  }
  out << "shrinkage=1\n\n\n";
  return out.str();
}

std::string LightgbmForest(Random& random, int trees, int classes, bool linear) {
  std::ostringstream out;
  out << "tree\nversion=v4\nnum_class=" << classes << "\nnum_tree_per_iteration=" << classes
      << "\nlabel_index=0\nmax_feature_idx=" << kFeatures - 1
      << "\nfeature_names=a b c d e\nfeature_infos=- - - - -\n\n";
  for (int i = 0; i < trees; ++i) out << LightgbmTree(random, i, random() % 30, linear);
  out << "end of trees\n";
  return out.str();
}

// The numbers of every field of every tree, read from the text.
std::vector<Fields> ReadTrees(const std::string& text) {
  std::vector<Fields> trees;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.substr(0, 5) == "Tree=") trees.emplace_back();
    const size_t equals = line.find('=');
    if (trees.empty() || equals == line.npos) continue;
    std::istringstream words(line.substr(equals + 1));
    for (std::string word; words >> word;) {
      trees.back()[line.substr(0, equals)].push_back(std::strtod(word.c_str(), nullptr));
    }
  }
  return trees;
}

bool LightgbmGoesLeft(const Fields& tree, size_t node, double x) {
  const int decision = static_cast<int>(tree.at("decision_type")[node]);
  const double threshold = tree.at("threshold")[node];
  if (decision & 1) {
    if (std::isnan(x) || x >= 2147483648.0 || x <= -1) return false;
    const int category = static_cast<int>(x);
    const auto set = static_cast<size_t>(threshold);
    const double begin = tree.at("cat_boundaries")[set];
    const double end = tree.at("cat_boundaries")[set + 1];
    if (category / 32 >= end - begin) return false;
    const auto word =
        static_cast<uint32_t>(tree.at("cat_threshold")[static_cast<size_t>(begin) + category / 32]);
    return word >> (category % 32) & 1;
  }
  const int missing = decision >> 2;
  const bool default_left = decision & 2;
  if (std::isnan(x) && missing != 2) x = 0;
  const bool zero = x >= -1e-35f && x <= 1e-35f;
  if ((missing == 1 && zero) || (missing == 2 && std::isnan(x))) return default_left;
  return x <= threshold;
}

double LightgbmLeaf(const Fields& tree, const double* row) {
  int node = tree.at("num_leaves")[0] > 1 ? 0 : ~0;
  while (node >= 0) {
    const double x = row[static_cast<size_t>(tree.at("split_feature")[node])];
    const char* side = LightgbmGoesLeft(tree, node, x) ? "left_child" : "right_child";
    node = static_cast<int>(tree.at(side)[node]);
  }
  const auto leaf = static_cast<size_t>(~node);
  if (tree.at("is_linear")[0] == 0) return tree.at("leaf_value")[leaf];
  size_t first = 0;
  for (size_t i = 0; i < leaf; ++i) first += static_cast<size_t>(tree.at("num_features")[i]);
  double sum = tree.at("leaf_const")[leaf];
  for (size_t i = first; i < first + tree.at("num_features")[leaf]; ++i) {
    const double x = row[static_cast<size_t>(tree.at("leaf_features")[i])];
    if (std::isnan(x)) return tree.at("leaf_value")[leaf];
    sum += tree.at("leaf_coeff")[i] * x;
  }
  return sum;
}

TEST(GeneratedForestTest, LightgbmEqualsTheInterpreter) {
  Random random(2);
  for (int turn = 0; turn < 60; ++turn) {
    const int classes = turn % 3 + 1;
    const std::string text = LightgbmForest(random, turn % 7 * classes, classes, turn % 5 == 4);
    const auto model = CompileModel(text, ModelFormat::kAuto);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto plan = TreePlan::Open(model->plan);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::vector<float> rows = Rows(random);
    std::vector<double> wide(rows.begin(), rows.end());
    std::vector<double> margins(kRows * classes), from_wide(kRows * classes);
    reference::Margins(*plan, DataType::kFp32, rows.data(), kRows, margins.data());
    reference::Margins(*plan, DataType::kFp64, wide.data(), kRows, from_wide.data());
    // The library's reader turns what is near zero into zero.
    for (double& x : wide) x = std::fabs(x) <= 1e-35f ? 0 : x;
    const std::vector<Fields> trees = ReadTrees(text);
    for (int r = 0; r < kRows; ++r) {
      std::vector<double> expected(classes);
      for (size_t i = 0; i < trees.size(); ++i) {
        expected[i % classes] += LightgbmLeaf(trees[i], wide.data() + r * kFeatures);
      }
      for (int g = 0; g < classes; ++g) {
        const size_t at = r * classes + g;
        ASSERT_EQ(std::bit_cast<uint64_t>(margins[at]), std::bit_cast<uint64_t>(from_wide[at]));
        if (std::isnan(expected[g]) && std::isnan(margins[at])) continue;  // inf - inf
        ASSERT_EQ(std::bit_cast<uint64_t>(expected[g]), std::bit_cast<uint64_t>(margins[at]))
            << "forest " << turn << " row " << r << " class " << g;
      }
    }
  }
}

}  // namespace
}  // namespace millrace
