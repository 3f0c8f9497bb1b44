#!/usr/bin/env python3
"""Forests of the golden cases, walked as ONNX says, give the libraries' margins; and a fault shows.

No package is needed: the attributes are walked here, in Python.
"""

import array
import json
import math
import pathlib
import struct
import unittest

import tree_tables

GOLDEN = pathlib.Path("kernels/testdata")
XGBOOST = ["xgb32_logistic", "xgb32_poisson", "xgb32_softprob", "xgb32_squarederror", "xgb30_base_score",
           "xgb34_missing", "xgb34_targets", "xgb34_no_missing", "xgb34_lossguide", "xgb34_pruned", "xgb34_no_trees"]
LIGHTGBM = ["lgb47_binary", "lgb47_multiclass", "lgb47_many_missing", "lgb47_no_missing", "lgb47_constant",
            "lgb47_no_use_missing", "lgb47_poisson"]


def floats(path, kind):
    values = array.array("f" if kind == "float32" else "d")
    values.frombytes(path.read_bytes())
    return list(values)


def golden_forest(name):
    case = json.loads((GOLDEN / name / "case.json").read_text())
    text = (GOLDEN / name / case["model"]).read_text()
    forest = tree_tables.from_lightgbm(text) if name.startswith("lgb") else tree_tables.from_xgboost(json.loads(text))
    return case, forest


def walk(attributes, row):
    """The margins of a row, as TreeEnsembleRegressor defines them."""
    margins = list(attributes.get("base_values", [0.0] * attributes["n_targets"]))
    place = {key: i for i, key in enumerate(zip(attributes["nodes_treeids"], attributes["nodes_nodeids"]))}
    leaf = {key: i for i, key in enumerate(zip(attributes["target_treeids"], attributes["target_nodeids"]))}
    for tree in sorted(set(attributes["nodes_treeids"])):
        i = place[tree, 0]
        while attributes["nodes_modes"][i] != "LEAF":
            x, value = row[attributes["nodes_featureids"][i]], attributes["nodes_values"][i]
            if math.isnan(x):
                true = attributes["nodes_missing_value_tracks_true"][i]
            else:
                true = x <= value if attributes["nodes_modes"][i] == "BRANCH_LEQ" else x < value
            i = place[tree, attributes["nodes_truenodeids" if true else "nodes_falsenodeids"][i]]
        j = leaf[tree, attributes["nodes_nodeids"][i]]
        margins[attributes["target_ids"][j]] += attributes["target_weights"][j]
    return margins


def wrong_rows(name, attributes):
    """How many of a golden case's rows have other margins."""
    case = json.loads((GOLDEN / name / "case.json").read_text())
    rows = floats(GOLDEN / name / "rows.bin", case["input_dtype"])
    margins = floats(GOLDEN / name / "margin.bin", case["margin_dtype"])
    n, k = case["features"], case["groups"]
    if case["library"] == "lightgbm":  # its reader's rule, which ONNX cannot say
        rows = [0.0 if abs(x) <= 1.0000000180025095e-35 else x for x in rows]
    wrong = 0
    for i in range(case["rows"]):
        found = walk(attributes, rows[i * n:(i + 1) * n])
        wanted = margins[i * k:(i + 1) * k]
        wrong += any(not abs(f - w) <= 1e-5 * max(1, abs(w)) for f, w in zip(found, wanted))
    return wrong


class GoldenTest(unittest.TestCase):
    def test_margins_are_the_librarys(self):
        for name in XGBOOST + LIGHTGBM:
            with self.subTest(name):
                case, forest = golden_forest(name)
                self.assertEqual((forest.features, forest.groups), (case["features"], case["groups"]))
                self.assertEqual(wrong_rows(name, tree_tables.onnx_attributes(forest)), 0)

    def plant(self, name, change):
        attributes = tree_tables.onnx_attributes(golden_forest(name)[1])
        change(attributes)
        return wrong_rows(name, attributes)

    def test_faults_show(self):
        def missing(attributes):
            flags = attributes["nodes_missing_value_tracks_true"]
            attributes["nodes_missing_value_tracks_true"] = [1 - flag for flag in flags]

        def modes(attributes):
            other = {"BRANCH_LT": "BRANCH_LEQ", "BRANCH_LEQ": "BRANCH_LT", "LEAF": "LEAF"}
            attributes["nodes_modes"] = [other[mode] for mode in attributes["nodes_modes"]]

        def leaf(attributes):
            attributes["target_weights"][0] += 0.01

        def base(attributes):
            attributes["base_values"] = [value + 0.001 for value in attributes["base_values"]]

        for name in ("xgb32_logistic", "lgb47_binary", "lgb47_many_missing"):
            for change in (missing, modes, leaf):
                with self.subTest(f"{name}, {change.__name__}"):
                    self.assertGreater(self.plant(name, change), 0)
        self.assertGreater(self.plant("xgb34_missing", base), 0)

    def test_what_onnx_cannot_say_is_refused(self):
        for name, word in (("xgb32_categorical_onehot", "categorical"), ("xgb34_dart", "weight"),
                           ("xgb32_dart", "dart"), ("lgb47_categorical", "categorical"),
                           ("lgb47_zero_as_missing", "zero"), ("lgb47_linear", "linear"),
                           ("lgb47_rf", "random forest"), ("xgb32_hinge", "objective")):
            with self.subTest(name):
                with self.assertRaisesRegex(tree_tables.Unsupported, word):
                    golden_forest(name)


class ShapeTest(unittest.TestCase):
    def test_leaves_and_depth(self):
        tree = tree_tables.Tree(0, [1, -1, 3, -1, -1], [2, -1, 4, -1, -1], [0] * 5, [0.0] * 5, [False] * 5)
        stump = tree_tables.Tree(0, [-1], [-1], [0], [1.0], [False])
        forest = tree_tables.Forest(1, [0.0], True, [stump, tree])
        self.assertEqual((forest.leaves(), forest.depth()), (4, 2))
        self.assertEqual(tree_tables.Forest(1, [0.0], True, [stump]).depth(), 0)


class RoundDownTest(unittest.TestCase):
    def test_is_the_greatest_float_not_above(self):
        down, single = tree_tables.round_down_to_float32, tree_tables.to_float32
        tiny = 2.0**-149

        def above(value):  # the next float32
            bits = struct.unpack("<i", struct.pack("<f", value))[0]
            return struct.unpack("<f", struct.pack("<i", bits + 1 if bits >= 0 else bits - 1))[0]

        self.assertEqual(down(0.5), 0.5)
        for value in (0.1, 0.3, 1e-40, 3.3e38, 7.7):
            for signed in (value, -value):
                found = down(signed)
                self.assertEqual(found, single(found))
                self.assertLessEqual(found, signed)
                self.assertGreater(above(found), signed)
        self.assertEqual(down(1e300), tree_tables.FLOAT_MAX)
        self.assertEqual(down(-1e300), -math.inf)
        self.assertEqual(down(math.inf), math.inf)
        self.assertEqual(down(1e-60), 0.0)
        self.assertEqual(down(-1e-60), -tiny)


if __name__ == "__main__":
    unittest.main()
