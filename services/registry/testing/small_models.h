// Two models that the shipped compiler takes, each of one tree over three features: for tests only.
#pragma once

namespace millrace {

// One split on the second of three features.
inline constexpr char kXgboostModel[] = R"({"version":[2,0,3],"learner":{
"attributes":{},"feature_names":[],"feature_types":[],
"learner_model_param":{"base_score":"5E-1","boost_from_average":"1","num_class":"0",
"num_feature":"3","num_target":"1"},
"objective":{"name":"binary:logistic","reg_loss_param":{"scale_pos_weight":"1"}},
"gradient_booster":{"name":"gbtree","model":{
"gbtree_model_param":{"num_parallel_tree":"1","num_trees":"1"},
"iteration_indptr":[0,1],"tree_info":[0],"trees":[{
"base_weights":[0,-1,1],"categories":[],"categories_nodes":[],"categories_segments":[],
"categories_sizes":[],"default_left":[1,0,0],"id":0,"left_children":[1,-1,-1],
"loss_changes":[1,0,0],"parents":[2147483647,0,0],"right_children":[2,-1,-1],
"split_conditions":[0.5,-0.25,0.75],"split_indices":[1,0,0],"split_type":[0,0,0],
"sum_hessian":[2,1,1],
"tree_param":{"num_deleted":"0","num_feature":"3","num_nodes":"3","size_leaf_vector":"1"}}]}}}})";

inline constexpr char kLightgbmModel[] =
    "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=2\n"
    "objective=regression\nfeature_names=a b c\nfeature_infos=[0:1] [0:1] [0:1]\ntree_sizes=190\n\n"
    "Tree=0\nnum_leaves=1\nnum_cat=0\nsplit_feature=\nsplit_gain=\nthreshold=\ndecision_type=\n"
    "left_child=\nright_child=\nleaf_value=2.75\nleaf_weight=\nleaf_count=4\ninternal_value=\n"
    "internal_weight=\ninternal_count=\nis_linear=0\nshrinkage=1\n\n\nend of trees\n";

}  // namespace millrace
