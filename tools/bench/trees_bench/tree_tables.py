"""Forests of XGBoost and LightGBM as tables, and as the attributes of ONNX's TreeEnsembleRegressor.

Only the standard library is needed. What ONNX cannot say (categorical splits, LightGBM's zero as missing)
is refused: a forest that walks otherwise must not be measured. One thing is the rows' part: LightGBM takes
all that is within 1e-35 of zero for zero, which ONNX does not.
"""

import dataclasses
import math
import struct

FLOAT_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


class Unsupported(Exception):
    """The model holds something that the tables or ONNX cannot say."""


@dataclasses.dataclass
class Tree:
    """Node i has left[i] < 0 where it is a leaf; then value[i] is its weight, else its threshold."""
    group: int
    left: list
    right: list
    feature: list
    value: list
    missing_left: list


@dataclasses.dataclass
class Forest:
    features: int
    base: list  # one a group; a margin begins with it
    less_or_equal: bool  # whether left means x <= value, or x < value
    trees: list

    @property
    def groups(self):
        return len(self.base)

    def leaves(self):
        return sum(child < 0 for tree in self.trees for child in tree.left)

    def depth(self):
        return max((_depth(tree) for tree in self.trees), default=0)


def _depth(tree):
    deepest, level = -1, [0]
    while level:
        deepest += 1
        level = [child for node in level if tree.left[node] >= 0
                 for child in (tree.left[node], tree.right[node])]
    return deepest


def to_float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def round_down_to_float32(value):
    """The greatest float32 that is not above: for a float32 x, x <= value as before."""
    if value >= FLOAT_MAX:
        return FLOAT_MAX if value != math.inf else value
    if value < -FLOAT_MAX:
        return -math.inf
    rounded = to_float32(value)
    if rounded <= value:
        return rounded
    bits = struct.unpack("<i", struct.pack("<f", rounded))[0]
    if bits == 0 or bits == -2**31:  # the value lies just below zero
        return -struct.unpack("<f", struct.pack("<i", 1))[0]
    return struct.unpack("<f", struct.pack("<i", bits - 1 if bits > 0 else bits + 1))[0]


# ---- XGBoost -------------------------------------------------------------------------------------

def _logit(p):
    return -math.log(1 / p - 1)


XGBOOST_LINKS = {"binary:logistic": _logit, "reg:logistic": _logit, "count:poisson": math.log,
                 "reg:squarederror": float, "multi:softprob": float, "multi:softmax": float}


def from_xgboost(document):
    """`document` is the model's JSON document as the library saves it."""
    learner = document["learner"]
    name = learner["objective"]["name"]
    if name not in XGBOOST_LINKS:
        raise Unsupported(f"objective {name}")
    if learner["gradient_booster"]["name"] != "gbtree":
        raise Unsupported("booster " + learner["gradient_booster"]["name"])
    model = learner["gradient_booster"]["model"]
    if "weight_drop" in model:
        raise Unsupported("weighted trees")
    params = learner["learner_model_param"]
    groups = max(1, int(params["num_class"]), int(params.get("num_target", 1)))
    scores = [float(text) for text in params["base_score"].strip("[]").split(",")]
    scores = scores * groups if len(scores) == 1 else scores
    trees = [_xgboost_tree(tree, group) for tree, group in zip(model["trees"], model["tree_info"])]
    return Forest(int(params["num_feature"]), [XGBOOST_LINKS[name](score) for score in scores], False, trees)


def _xgboost_tree(tree, group):
    if any(tree["split_type"]):
        raise Unsupported("categorical split")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise Unsupported("leaf vectors")
    return Tree(group, tree["left_children"], tree["right_children"], tree["split_indices"],
                [to_float32(value) for value in tree["split_conditions"]],
                [bool(flag) for flag in tree["default_left"]])


# ---- LightGBM ------------------------------------------------------------------------------------

def from_lightgbm(text):
    """`text` is a model file of LightGBM's."""
    head, *blocks = text.split("\nend of trees")[0].split("\nTree=")
    header = _fields(head)
    if "average_output" in header:
        raise Unsupported("random forest")
    groups = int(header["num_tree_per_iteration"])
    trees = [_lightgbm_tree(_fields(block), index % groups) for index, block in enumerate(blocks)]
    return Forest(int(header["max_feature_idx"]) + 1, [0.0] * groups, True, trees)


def _fields(block):
    return dict(line.split("=", 1) if "=" in line else (line, "") for line in block.split("\n"))


def _lightgbm_tree(fields, group):
    if fields.get("is_linear", "0") != "0":
        raise Unsupported("linear leaves")
    leaves = [float(word) for word in fields["leaf_value"].split()]
    inner = int(fields["num_leaves"]) - 1
    if inner == 0:
        return Tree(group, [-1], [-1], [0], leaves, [False])
    thresholds = [float(word) for word in fields["threshold"].split()]
    kinds = [int(word) for word in fields["decision_type"].split()]
    missing = [_lightgbm_missing_left(kind, value) for kind, value in zip(kinds, thresholds)]

    def children(key):  # a leaf is written as its complement, and stands behind the inner nodes here
        numbers = [int(word) for word in fields[key].split()]
        return [number if number >= 0 else inner + ~number for number in numbers] + [-1] * len(leaves)

    return Tree(group, children("left_child"), children("right_child"),
                [int(word) for word in fields["split_feature"].split()] + [0] * len(leaves),
                [round_down_to_float32(value) for value in thresholds] + leaves,
                missing + [False] * len(leaves))


def _lightgbm_missing_left(kind, threshold):
    if kind & 1:
        raise Unsupported("categorical split")
    missing = kind >> 2 & 3
    if missing == 1:
        raise Unsupported("zero as missing")
    return bool(kind & 2) if missing == 2 else 0 <= threshold  # never seen missing: taken for zero


# ---- ONNX ----------------------------------------------------------------------------------------

def onnx_attributes(forest):
    """The attributes of a TreeEnsembleRegressor (ai.onnx.ml, version 3) whose output is the margin."""
    out = {key: [] for key in (
        "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
        "nodes_falsenodeids", "nodes_missing_value_tracks_true", "target_treeids", "target_nodeids",
        "target_ids", "target_weights")}
    branch = "BRANCH_LEQ" if forest.less_or_equal else "BRANCH_LT"
    for index, tree in enumerate(forest.trees):
        for node, (left, right) in enumerate(zip(tree.left, tree.right)):
            leaf = left < 0
            out["nodes_treeids"].append(index)
            out["nodes_nodeids"].append(node)
            out["nodes_featureids"].append(0 if leaf else tree.feature[node])
            out["nodes_values"].append(0.0 if leaf else tree.value[node])
            out["nodes_modes"].append("LEAF" if leaf else branch)
            out["nodes_truenodeids"].append(0 if leaf else left)
            out["nodes_falsenodeids"].append(0 if leaf else right)
            out["nodes_missing_value_tracks_true"].append(int(not leaf and tree.missing_left[node]))
            if leaf:
                out["target_treeids"].append(index)
                out["target_nodeids"].append(node)
                out["target_ids"].append(tree.group)
                out["target_weights"].append(tree.value[node])
    out.update(n_targets=forest.groups, aggregate_function="SUM", post_transform="NONE")
    if any(forest.base):
        out["base_values"] = forest.base
    return out
