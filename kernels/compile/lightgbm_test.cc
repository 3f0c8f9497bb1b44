// What the LightGBM parser accepts and, above all, what it refuses and how it says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "kernels/compile/compile.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr char kModel[] =
    "tree\n"
    "version=v4\n"
    "num_class=1\n"
    "num_tree_per_iteration=1\n"
    "label_index=0\n"
    "max_feature_idx=1\n"
    "objective=binary sigmoid:0.5\n"
    "feature_names=a b\n"
    "feature_infos=[0:1] 0:1:2\n"
    "tree_sizes=100 100\n"
    "\n"
    "Tree=0\n"
    "num_leaves=3\n"
    "num_cat=1\n"
    "split_feature=0 1\n"
    "split_gain=1 1\n"
    "threshold=0.10000000000000001 0\n"
    "decision_type=10 1\n"
    "left_child=1 -1\n"
    "right_child=-3 -2\n"
    "leaf_value=-0.5 0.25 1e-3\n"
    "leaf_weight=1 1 1\n"
    "leaf_count=1 1 1\n"
    "internal_value=0 0\n"
    "internal_weight=0 0\n"
    "internal_count=3 2\n"
    "cat_boundaries=0 1\n"
    "cat_threshold=5\n"
    "is_linear=0\n"
    "shrinkage=1\n"
    "\n"
    "\n"
    "Tree=1\n"
    "num_leaves=1\n"
    "num_cat=0\n"
    "split_feature=\n"
    "leaf_value=7\n"
    "is_linear=0\n"
    "shrinkage=1\n"
    "\n"
    "\n"
    "end of trees\n"
    "\n"
    "feature_importances:\n"
    "a=1\n";

// kModel with the first occurrence of `from` replaced.
std::string Changed(const std::string& from, const std::string& to) {
  std::string text = kModel;
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

std::string Fault(const std::string& text) {
  const auto model = CompileModel(text, ModelFormat::kLightgbmText);
  EXPECT_FALSE(model.ok()) << text;
  return std::string(model.status().message());
}

TEST(LightgbmTest, AValidFileCompiles) {
  for (std::string text : {std::string(kModel), Changed("version=v4", "version=v2")}) {
    const auto model = CompileModel(text, ModelFormat::kAuto);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto plan = TreePlan::Open(model->plan);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->family(), TreeFamily::kLightgbm);
    EXPECT_EQ(plan->transform(), Transform::kSigmoid);
    EXPECT_EQ(plan->transform_parameter(), 0.5);
    EXPECT_EQ(plan->feature_name(1), "b");
    EXPECT_EQ(plan->trees().size(), 2u);
    const PlanColumn numeric = plan->columns()[NodeColumn(plan->nodes()[0])];
    EXPECT_EQ(plan->edges64()[numeric.first + NodeEdge(plan->nodes()[0])], 0.1);
    EXPECT_EQ(numeric.missing, Missing::kNan);
    EXPECT_TRUE(numeric.default_left);
    EXPECT_EQ(plan->columns()[NodeColumn(plan->nodes()[1])].kind, ColumnKind::kSet);
    EXPECT_EQ(plan->words()[0], 5u);
    EXPECT_EQ(plan->average_divisor(), 0u);
  }
}

TEST(LightgbmTest, WindowsLineEndsAreRead) {
  std::string text;
  for (const char c : std::string(kModel)) text += c == '\n' ? "\r\n" : std::string(1, c);
  EXPECT_TRUE(CompileModel(text, ModelFormat::kAuto).ok());
}

TEST(LightgbmTest, AverageOutputDividesByIterations) {
  const auto model =
      CompileModel(Changed("feature_names", "average_output\nfeature_names"), ModelFormat::kAuto);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(TreePlan::Open(model->plan)->average_divisor(), 2u);
}

TEST(LightgbmTest, LinearLeavesAreRead) {
  const auto model = CompileModel(Changed("is_linear=0",
                                          "is_linear=1\nleaf_const=1 2 3\nnum_features=1 0 2\n"
                                          "leaf_features=1   0 1 \nleaf_coeff=0.5   1.5 2.5 "),
                                  ModelFormat::kAuto);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto plan = TreePlan::Open(model->plan);
  ASSERT_EQ(plan->linears().size(), 3u);
  ASSERT_EQ(plan->terms().size(), 3u);
  EXPECT_EQ(plan->trees()[0].first_linear, 0u);
  EXPECT_EQ(plan->linears()[0].constant, 3);  // the leaf beside the inner node comes first
  EXPECT_EQ(plan->linears()[0].fallback, 1e-3);
}

TEST(LightgbmTest, EveryFaultIsNamed) {
  const struct {
    const char* from;
    const char* to;
    const char* sentence;
  } refusals[] = {
      {"tree\n", "trees\n", "the first line must be \"tree\""},
      {"version=v4\n", "", "header.version: is missing"},
      {"version=v4", "version=v5", "header.version: \"v5\" is not supported"},
      {"label_index=0", "label_idx=0", "header: the field \"label_idx\" is not supported"},
      {"num_class=1", "num_class=1\nnum_class=2", "header.num_class: stands twice"},
      {"num_class=1", "num_class=one", "header.num_class: must be an integer, is \"one\""},
      {"num_class=1", "num_class=0", "header.num_class: 0 is not in 1 to"},
      {"num_tree_per_iteration=1", "num_tree_per_iteration=70000", "70000 is not in 1 to"},
      {"num_tree_per_iteration=1", "num_tree_per_iteration=2", "must be 1 for this objective"},
      {"max_feature_idx=1", "max_feature_idx=-1", "header.max_feature_idx: -1 is not in"},
      {"max_feature_idx=1", "max_feature_idx=99999999", "header.max_feature_idx"},
      {"feature_names=a b", "feature_names=a", "feature_names: has 1 entries, must have 2"},
      {"objective=binary", "objective=magic", "header.objective: \"magic\" is not supported"},
      {"objective=binary sigmoid:0.5", "objective=", "header.objective: is empty"},
      {"sigmoid:0.5", "sigmoid:0", "\"sigmoid:\" must be above 0"},
      {"sigmoid:0.5", "sqrt", "\"sigmoid:\" must be above 0"},
      {"sigmoid:0.5", "sigmoid:1 sqrt", "the option \"sqrt\" is not supported"},
      {"binary sigmoid:0.5", "multiclass num_class:3", "\"num_class:\" must be"},
      {"tree_sizes=100 100", "tree_sizes=100", "header.tree_sizes: has 1 entries, must have 2"},
      {"Tree=1", "Tree=2", "Tree=1: the file says \"Tree=2\""},
      {"end of trees", "end of tree", "Tree=1: the field \"end of tree\" is not supported"},
      {"num_leaves=3\n", "", "Tree=0.num_leaves: is missing"},
      {"num_leaves=3", "num_leaves=0", "Tree=0.num_leaves: 0 is not in"},
      {"num_leaves=3", "num_leaves=2000000000", "Tree=0.leaf_value: has 3 entries"},
      {"num_cat=1\n", "", "Tree=0.num_cat: is missing"},
      {"num_cat=1", "num_cat=2000000000", "Tree=0.cat_boundaries: has 2 entries"},
      {"num_cat=1", "num_cat=0", "Tree=0.threshold[1]: names no category set"},
      {"leaf_value=-0.5 0.25", "leaf_value=-0.5 nan", "Tree=0.leaf_value[1]: is not finite"},
      {"leaf_value=-0.5 0.25", "leaf_value=-0.5 1e999", "Tree=0.leaf_value[1]: \"1e999\" is not"},
      {"leaf_value=-0.5 0.25", "leaf_value=-0.5 x", "Tree=0.leaf_value[1]: \"x\" is not a number"},
      {"left_child=1 -1", "left_child=0 -1", "Tree=0.left_child[0]: node 0 is reached a second"},
      {"left_child=1 -1", "left_child=2 -1", "Tree=0.left_child[0]: 2 is out of range"},
      {"left_child=1 -1", "left_child=1 -4", "Tree=0.left_child[1]: -4 is out of range"},
      {"right_child=-3 -2", "right_child=-3 -1", "Tree=0.right_child[1]: node 2 is reached"},
      {"right_child=-3 -2", "right_child=-3", "Tree=0.right_child: has 1 entries"},
      {"split_feature=0 1", "split_feature=0 2", "Tree=0.split_feature[1]: feature 2 is out"},
      {"threshold=0.10000000000000001", "threshold=nan", "Tree=0.threshold[0]: the threshold is"},
      {"threshold=0.10000000000000001 0", "threshold=0 1", "threshold[1]: names no category set"},
      {"threshold=0.10000000000000001 0", "threshold=0 .5", "threshold[1]: names no category"},
      {"decision_type=10 1", "decision_type=12 1", "Tree=0.decision_type[0]: 12 is not known"},
      {"decision_type=10 1", "decision_type=-1 1", "Tree=0.decision_type[0]: -1 is not known"},
      {"cat_boundaries=0 1", "cat_boundaries=1 1", "Tree=0.cat_boundaries[0]: 1 is out of order"},
      {"cat_boundaries=0 1", "cat_boundaries=0 -1", "Tree=0.cat_boundaries[1]: -1 is out of"},
      {"cat_boundaries=0 1", "cat_boundaries=0 2", "Tree=0.cat_threshold: has 1 entries"},
      {"cat_threshold=5", "cat_threshold=4294967296", "Tree=0.cat_threshold[0]: is not a 32-bit"},
      {"is_linear=0", "is_linear=1", "Tree=0.leaf_const: is missing"},
      {"is_linear=0", "is_linear=2", "Tree=0.is_linear: 2 is not in"},
      {"is_linear=0", "is_linear=1\nleaf_const=1 2 3\nnum_features=0 0 3", "num_features[2]: 3"},
      {"is_linear=0",
       "is_linear=1\nleaf_const=1 2 3\nnum_features=0 0 1\nleaf_features=2\n"
       "leaf_coeff=1",
       "Tree=0.leaf_features[0]: feature 2 is out of range"},
      {"shrinkage=1", "new_idea=1", "Tree=0: the field \"new_idea\" is not supported"},
  };
  for (const auto& refusal : refusals) {
    EXPECT_THAT(Fault(Changed(refusal.from, refusal.to)), HasSubstr(refusal.sentence));
  }
}

TEST(LightgbmTest, EveryTruncationIsRefused) {
  const std::string text = kModel;
  for (size_t cut = 0; cut < text.find("end of trees") + 12; ++cut) {
    EXPECT_FALSE(CompileModel(text.substr(0, cut), ModelFormat::kLightgbmText).ok()) << cut;
  }
}

TEST(LightgbmTest, RandomDamageNeverCrashes) {
  std::mt19937 random(11);
  size_t compiled = 0;
  for (int turn = 0; turn < 20000; ++turn) {
    std::string file = kModel;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
      file[random() % file.size()] =
          static_cast<char>(random() % 2 ? random() : '0' + random() % 10);
    }
    const auto model = CompileModel(file, ModelFormat::kLightgbmText);
    EXPECT_TRUE(model.ok() || !model.status().message().empty());
    compiled += model.ok() ? 1 : 0;
  }
  EXPECT_GT(compiled, 100u);
}

}  // namespace
}  // namespace millrace
