// What the XGBoost parser accepts and, above all, what it refuses and how it says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "kernels/compile/compile.h"
#include "kernels/compile/xgboost_objective.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json Tree() {
  return json::parse(R"({
    "base_weights": [0, 0, 0, 0, 0], "id": 0,
    "left_children": [1, -1, 3, -1, -1], "right_children": [2, -1, 4, -1, -1],
    "parents": [2147483647, 0, 0, 2, 2],
    "split_indices": [0, 0, 1, 0, 0], "split_conditions": [0.5, -1.25, 0, 2, 3],
    "default_left": [1, 0, 0, 0, 0], "loss_changes": [0, 0, 0, 0, 0],
    "sum_hessian": [0, 0, 0, 0, 0],
    "split_type": [0, 0, 1, 0, 0], "categories": [1, 33], "categories_nodes": [2],
    "categories_segments": [0], "categories_sizes": [2],
    "tree_param": {"num_deleted": "0", "num_feature": "2", "num_nodes": "5",
                   "size_leaf_vector": "1"}})");
}

json Document() {
  json document = json::parse(R"({
    "version": [2, 1, 4],
    "learner": {
      "attributes": {}, "feature_names": ["a", "b"], "feature_types": ["float", "c"],
      "objective": {"name": "binary:logistic"},
      "learner_model_param": {"base_score": "2.5E-1", "boost_from_average": "1",
                              "num_class": "0", "num_feature": "2", "num_target": "1"},
      "gradient_booster": {"name": "gbtree", "model": {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "1"},
        "iteration_indptr": [0, 1], "tree_info": [0], "trees": []}}}})");
  document["learner"]["gradient_booster"]["model"]["trees"].push_back(Tree());
  return document;
}

json& Model(json& d) { return d["learner"]["gradient_booster"]["model"]; }
json& FirstTree(json& d) { return Model(d)["trees"][0]; }
json& Parameters(json& d) { return d["learner"]["learner_model_param"]; }

std::string Fault(const json& document) {
  const auto text = CompileModel(document.dump(), ModelFormat::kXgboostJson);
  const std::vector<uint8_t> bytes = json::to_ubjson(document);
  const auto binary = CompileModel({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                   ModelFormat::kXgboostUbj);
  EXPECT_EQ(text.status().message(), binary.status().message()) << "the encodings differ";
  return std::string(text.status().message());
}

TEST(XgboostTest, AValidDocumentCompiles) {
  const auto model = CompileModel(Document().dump(2), ModelFormat::kAuto);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->producer, "xgboost 2.1.4");
  const auto plan = TreePlan::Open(model->plan);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->features(), 2u);
  EXPECT_EQ(plan->feature_name(1), "b");
  EXPECT_EQ(plan->transform(), Transform::kSigmoid);
  EXPECT_EQ(static_cast<float>(plan->bases()[0]), -std::log(1.0f / 0.25f - 1.0f));
  EXPECT_EQ(plan->words()[1], 2u);
}

struct Refusal {
  std::function<void(json&)> change;
  const char* sentence;
};

constexpr char kTreePath[] = "learner.gradient_booster.model.trees[0]";

TEST(XgboostTest, EveryFaultOfATreeIsNamed) {
  const auto set = [](const char* key, size_t i, json value) {
    return [=](json& d) { FirstTree(d)[key][i] = value; };
  };
  const Refusal refusals[] = {
      {set("left_children", 2, 0), ".left_children[2]: node 0 is reached a second time"},
      {set("left_children", 0, 2), ".right_children[0]: node 2 is reached a second time"},
      {set("left_children", 2, 5), ".left_children[2]: node 5 is out of range"},
      {set("left_children", 2, -2), ".left_children[2]: node -2 is out of range"},
      {set("right_children", 0, 99), ".right_children[0]: node 99 is out of range"},
      {set("right_children", 1, 3), ".right_children[1]: node 3 under a leaf"},
      {set("left_children", 0, "1"), ".left_children[0]: must be an integer, is \"1\""},
      {set("left_children", 0, 1.5), ".left_children[0]: must be an integer, is number"},
      {set("split_indices", 0, 2), ".split_indices[0]: feature 2 is out of range"},
      {set("split_indices", 0, -1), ".split_indices[0]: feature -1 is out of range"},
      {set("split_conditions", 0, "NaN"), ".split_conditions[0]: the threshold is NaN"},
      {set("split_conditions", 1, "NaN"), ".split_conditions[1]: the leaf's value is not finite"},
      {set("split_conditions", 1, "Infinity"), ".split_conditions[1]: the leaf's value"},
      {set("split_conditions", 1, nullptr), ".split_conditions[1]: must be a number, is null"},
      {set("split_type", 0, 2), ".split_type[0]: 2 is not known"},
      {set("split_type", 0, 1), ".categories_nodes: lacks the categorical node 0"},
      {set("categories", 0, -1), ".categories[0]: -1 is not in 0 to 16777215"},
      {set("categories", 1, 16777216), ".categories[1]: 16777216 is not in 0 to 16777215"},
      {set("categories_segments", 0, 3), ".categories_segments[0]: 3 is out of range"},
      {set("categories_sizes", 0, 3), ".categories_sizes[0]: 3 is out of range"},
      {set("categories_sizes", 0, 0), ".categories_sizes[0]: 0 is out of range"},
      {[](json& d) {
         FirstTree(d)["categories_nodes"] = {2, 2};
       },
       ".categories_segments: has 1"},
      {[](json& d) { FirstTree(d)["left_children"].push_back(0); },
       ".left_children: has 6 entries, must have 5"},
      {[](json& d) { FirstTree(d)["default_left"] = json::array(); }, ".default_left: has 0"},
      {[](json& d) { FirstTree(d).erase("split_conditions"); }, ".split_conditions: is missing"},
      {[](json& d) { FirstTree(d).erase("tree_param"); }, ".tree_param: is missing"},
      {[](json& d) { FirstTree(d)["tree_param"] = 3; }, ".tree_param: must be an object"},
      {[](json& d) { FirstTree(d)["tree_param"]["num_nodes"] = "0"; }, "num_nodes: 0 is not in"},
      {[](json& d) { FirstTree(d)["tree_param"]["num_nodes"] = "4000000000"; }, "num_nodes"},
      {[](json& d) { FirstTree(d)["tree_param"]["size_leaf_vector"] = "3"; }, "size_leaf_vector"},
      {[](json& d) { FirstTree(d)["id"] = 1; }, ".id: is 1"},
      {[](json& d) { FirstTree(d)["new_idea"] = 1; }, ".new_idea: is not supported"},
      {[](json& d) { FirstTree(d) = 7; }, ": must be an object, is number"},
  };
  for (const Refusal& refusal : refusals) {
    json document = Document();
    refusal.change(document);
    const std::string fault = Fault(document);
    EXPECT_THAT(fault, HasSubstr(refusal.sentence));
    EXPECT_THAT(fault, HasSubstr(kTreePath));
  }
}

TEST(XgboostTest, EveryFaultOfTheModelIsNamed) {
  const auto booster = [](json& d) -> json& { return d["learner"]["gradient_booster"]; };
  const Refusal refusals[] = {
      {[](json& d) { d.erase("learner"); }, "learner: is missing"},
      {[](json& d) { d = json::array(); }, "the document: must be an object, is array"},
      {[](json& d) {
         d["version"] = {4, 0, 0};
       },
       "version: XGBoost 4 is not supported"},
      {[](json& d) {
         d["version"] = {2, 1};
       },
       "version: must have 3 numbers"},
      {[](json& d) { d.erase("version"); }, "version: is missing"},
      {[](json& d) { d["learner"]["objective"]["name"] = "multi:magic"; },
       "learner.objective.name: \"multi:magic\" is not supported"},
      {[](json& d) { d["learner"].erase("objective"); }, "learner.objective: is missing"},
      {[](json& d) { Parameters(d)["base_score"] = "half"; }, "base_score: \"half\" is not"},
      {[](json& d) { Parameters(d)["base_score"] = "[5E-1,]"; }, "base_score"},
      {[](json& d) { Parameters(d)["base_score"] = "nan"; }, "base_score: \"nan\" is not"},
      {[](json& d) { Parameters(d)["base_score"] = 0.5; }, "base_score: must be a string"},
      {[](json& d) { Parameters(d)["base_score"] = "[1E-1,2E-1]"; },
       "base_score: has 2 entries, must have 1"},
      {[](json& d) { Parameters(d)["base_score"] = "1E0"; }, "base_score: must be a probability"},
      {[](json& d) { Parameters(d)["num_feature"] = "-1"; }, "num_feature: -1 is not in"},
      {[](json& d) { Parameters(d)["num_feature"] = "99999999"; }, "num_feature: 99999999 is not"},
      {[](json& d) {
         Parameters(d)["num_class"] = "3";
         Parameters(d)["num_target"] = "2";
       },
       "num_target: many targets"},
      {[](json& d) { Parameters(d)["num_flags"] = "1"; }, "num_flags: is not supported"},
      {[](json& d) { d["learner"]["feature_names"] = {"a"}; }, "feature_names: has 1 entries"},
      {[](json& d) { d["learner"]["feature_names"][1] = 2; }, "feature_names[1]: must be a str"},
      {[=](json& d) { booster(d)["name"] = "gblinear"; },
       "gradient_booster.name: booster \"gblinear\" is not supported"},
      {[=](json& d) { booster(d)["name"] = "dart"; }, "gradient_booster.gbtree: is missing"},
      {[=](json& d) { booster(d)["weight_drop"] = {1.0}; }, "weight_drop: is not supported"},
      {[=](json& d) { booster(d).erase("model"); }, "gradient_booster.model: is missing"},
      {[](json& d) {
         Model(d)["weight_drop"] = {1.0, 2.0};
       },
       "weight_drop: has 2 entries"},
      {[](json& d) { Model(d)["weight_drop"] = {"NaN"}; }, "weight_drop[0]: is not finite"},
      {[](json& d) { Model(d)["shrink"] = 1; }, "model.shrink: is not supported"},
      {[](json& d) { Model(d)["tree_info"] = {1}; }, "tree_info[0]: group 1 of 1"},
      {[](json& d) {
         Model(d)["tree_info"] = {0, 0};
       },
       "tree_info: has 2 entries"},
      {[](json& d) { Model(d)["trees"] = "none"; }, "trees: must be an array, is string"},
  };
  for (const Refusal& refusal : refusals) {
    json document = Document();
    refusal.change(document);
    EXPECT_THAT(Fault(document), HasSubstr(refusal.sentence));
  }
}

TEST(XgboostTest, PrunedNodesAreNotLookedAt) {
  json document = Document();
  json& tree = FirstTree(document);
  tree["split_type"] = {0, 0, 0, 0, 0};
  for (const char* key :
       {"categories", "categories_nodes", "categories_segments", "categories_sizes"}) {
    tree[key] = json::array();
  }
  tree["left_children"][2] = tree["right_children"][2] = -1;
  tree["split_indices"][3] = 2147483647;
  tree["left_children"][3] = 77;
  const auto model = CompileModel(document.dump(), ModelFormat::kAuto);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(TreePlan::Open(model->plan)->node_count(), 1u);
  EXPECT_EQ(TreePlan::Open(model->plan)->leaf_count(), 2u);
}

TEST(XgboostTest, DartWeightsAreFoundInBothPlacesAndMultiplied) {
  json newer = Document();
  Model(newer)["weight_drop"] = {0.1f};
  json older = Document();
  json& booster = older["learner"]["gradient_booster"];
  booster = {{"name", "dart"},
             {"weight_drop", {0.1f}},
             {"gbtree", {{"name", "gbtree"}, {"model", Model(newer)}}}};
  booster["gbtree"]["model"].erase("weight_drop");
  for (const json& document : {newer, older}) {
    const auto model = CompileModel(document.dump(), ModelFormat::kAuto);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(TreePlan::Open(model->plan)->leaves32()[0], -1.25f * 0.1f);
  }
}

TEST(XgboostTest, ABoundedBaseScoreOnlyFrom31) {
  EXPECT_FALSE(BaseMargin(Link::kLogit, 0, false).ok());
  EXPECT_EQ(*BaseMargin(Link::kLogit, 0, true), -std::log(1.0f / 1e-6f - 1.0f));
  EXPECT_FALSE(BaseMargin(Link::kLogit, 1.5f, true).ok());
  EXPECT_FALSE(BaseMargin(Link::kLog, 0, true).ok());
  EXPECT_EQ(*BaseMargin(Link::kIdentity, -3, false), -3);
}

TEST(XgboostTest, EveryTruncationIsRefused) {
  const std::string text = Document().dump();
  for (size_t cut = 0; cut < text.size(); ++cut) {
    EXPECT_FALSE(CompileModel(text.substr(0, cut), ModelFormat::kAuto).ok()) << cut;
  }
}

// Whatever a byte turns into, compiling ends with a plan that opens or with a sentence.
TEST(XgboostTest, RandomDamageNeverCrashes) {
  const json document = Document();
  const std::string text = document.dump();
  const std::vector<uint8_t> ubj = json::to_ubjson(document, true, true);
  const std::string binary(ubj.begin(), ubj.end());
  std::mt19937 random(7);
  size_t compiled = 0;
  for (int turn = 0; turn < 20000; ++turn) {
    std::string file = turn % 2 ? text : binary;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
      file[random() % file.size()] =
          static_cast<char>(random() % 2 ? random() : '0' + random() % 10);
    }
    const auto model =
        CompileModel(file, turn % 2 ? ModelFormat::kXgboostJson : ModelFormat::kXgboostUbj);
    EXPECT_TRUE(model.ok() || !model.status().message().empty());
    compiled += model.ok() ? 1 : 0;
  }
  EXPECT_GT(compiled, 100u);
}

TEST(FormatDetectionTest, ByTheFirstBytes) {
  EXPECT_THAT(std::string(CompileModel("", ModelFormat::kAuto).status().message()),
              HasSubstr("empty"));
  EXPECT_THAT(std::string(CompileModel("binf...", ModelFormat::kAuto).status().message()),
              HasSubstr("old binary format"));
  EXPECT_THAT(std::string(CompileModel("PK\3\4", ModelFormat::kAuto).status().message()),
              HasSubstr("neither XGBoost JSON"));
  EXPECT_FALSE(ParseModelFormat("onnx").ok());
  EXPECT_EQ(*ParseModelFormat("xgboost_ubj"), ModelFormat::kXgboostUbj);
}

}  // namespace
}  // namespace millrace
