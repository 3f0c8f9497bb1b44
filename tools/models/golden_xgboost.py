"""Golden cases from the XGBoost that this interpreter imports; run by make_golden.py, once a version.

Everything is trained and predicted on one thread of the CPU. Predictions come from the model read
back from its file, by Booster.predict.
"""

import argparse
import json
import pathlib

import golden
import numpy as np
import xgboost as xgb

ROWS, FEATURES, CATEGORICAL = 400, 6, (1, 4)


def targets(kind, x, categorical=()):
    s = golden.score(x, categorical)
    rng = golden.random(99)
    return {
        "real": lambda: s,
        "big": lambda: 1000.0 + 50.0 * s,
        "above_minus_one": lambda: np.exp(s / 3) - 0.5,
        "unit": lambda: 1 / (1 + np.exp(-s)),
        "binary": lambda: (s > 0.2).astype(float),
        "skewed": lambda: (s > 1.2).astype(float),
        "count": lambda: rng.poisson(np.exp(np.clip(s, -2, 2))).astype(float),
        "positive": lambda: np.exp(s / 2),
        "classes": lambda: np.digitize(s, [-0.8, 0.1, 1.0]).astype(float),
        "grade": lambda: np.digitize(s, [-0.5, 0.5]).astype(float),
        "relevant": lambda: (s > 0.5).astype(float),
        "survival": lambda: np.exp(s / 2) * np.where(s > 0.9, -1.0, 1.0),
        "pair": lambda: np.stack([s, s * s - 1.0, np.cos(s)], axis=1),
        "labels": lambda: np.stack([s > 0, s > 0.7, np.abs(s) < 0.5], axis=1).astype(float),
        "constant": lambda: np.full(len(s), 2.75),
    }[kind]()


def training_matrix(spec, x, y):
    options = {}
    if spec.get("categorical"):
        options = {"enable_categorical": True,
                   "feature_types": ["c" if j in CATEGORICAL else "float" for j in range(FEATURES)]}
    if spec.get("frame"):
        import pandas
        frame = pandas.DataFrame(x, columns=[f"f{j}" for j in range(FEATURES)])
        for j in CATEGORICAL:
            codes = np.where(np.isnan(x[:, j]), -1, x[:, j]).astype(int)
            names = [f"name {c}" for c in range(6)]
            frame[f"f{j}"] = pandas.Categorical.from_codes(codes, categories=names)
        return xgb.DMatrix(frame, label=y, enable_categorical=True)
    matrix = xgb.DMatrix(x, **options)
    if spec["objective"] == "survival:aft":
        matrix.set_float_info("label_lower_bound", np.abs(y))
        matrix.set_float_info("label_upper_bound", np.where(y < 0, np.inf, np.abs(y)))
    else:
        matrix.set_label(y)
    if spec["objective"].startswith("rank:"):
        matrix.set_group([20] * (len(x) // 20))
    return matrix


def train(spec, x, y):
    params = {"nthread": 1, "seed": 7, "max_depth": 4, "eta": 0.3, "verbosity": 0, "tree_method": "hist",
              "objective": spec["objective"], **spec.get("params", {})}
    matrix = training_matrix(spec, x, y)
    if not spec.get("early"):
        return xgb.train(params, matrix, spec.get("rounds", 6))
    held_out = training_matrix(spec, x[::3], 0.7 * y[::3])
    return xgb.train(params, matrix, 40, evals=[(held_out, "held_out")], early_stopping_rounds=4, verbose_eval=False)


def thresholds(document):
    found = {}
    booster = document["learner"]["gradient_booster"]
    for tree in booster.get("gbtree", booster)["model"]["trees"]:
        kinds = tree.get("split_type") or [0] * len(tree["left_children"])
        for left, feature, value, kind in zip(tree["left_children"], tree["split_indices"],
                                              tree["split_conditions"], kinds):
            if left != -1 and kind == 0:
                found.setdefault(feature, set()).add(np.float32(value))
    return {feature: sorted(values) for feature, values in found.items()}


def iterations(document):
    booster = document["learner"]["gradient_booster"]
    model = booster.get("gbtree", booster)["model"]
    if "iteration_indptr" in model:
        return len(model["iteration_indptr"]) - 1
    a_round = max(model["tree_info"], default=0) + 1
    return len(model["tree_info"]) // a_round // int(model["gbtree_model_param"].get("num_parallel_tree", 1))


def ask(booster, rows, margin):
    """Booster.predict. A DMatrix takes an infinity as a value only if the other one stands for missing."""
    out, options = None, {}
    if getattr(booster, "feature_types", None):
        options = {"feature_names": booster.feature_names, "feature_types": booster.feature_types,
                   "enable_categorical": True}
    has_low = np.isneginf(rows).any(axis=1)
    for part, missing in ((~has_low, -np.inf), (has_low, np.inf)):
        if not part.any():
            continue
        matrix = xgb.DMatrix(rows[part], missing=missing, nthread=1, **options)
        answer = booster.predict(matrix, output_margin=margin)
        out = np.empty((len(rows), *answer.shape[1:]), np.float32) if out is None else out
        out[part] = answer
    return out


def predict(booster, rows, margin, inplace):
    """The whole batch, checked against one row at a time and, where it agrees, inplace_predict."""
    batch = ask(booster, rows, margin)
    alone = np.concatenate([ask(booster, rows[i:i + 1], margin) for i in range(len(rows))])
    assert golden.same_bits(batch, alone), "batch and single rows differ"
    if inplace:
        other = booster.inplace_predict(rows, predict_type="margin" if margin else "value")
        assert golden.same_bits(batch, other.astype(np.float32)), "predict and inplace_predict differ"
    return batch


def make(out, name, spec):
    folder = pathlib.Path(out) / name
    folder.mkdir(parents=True, exist_ok=True)
    categorical = CATEGORICAL if spec.get("categorical") or spec.get("frame") else ()
    rng = golden.random(sum(map(ord, name.removesuffix("_ubj"))))
    x = golden.training_data(rng, ROWS, FEATURES, categorical, spec.get("categories", 6),
                             missing=spec.get("missing", 0.1))
    trained = train(spec, x, targets(spec["target"], x, categorical))

    model = "model.ubj" if spec.get("ubj") else "model.json"
    trained.save_model(str(folder / model))
    scratch = folder / "scratch.json"
    trained.save_model(str(scratch))
    document = json.loads(scratch.read_text())
    scratch.unlink()

    booster = xgb.Booster({"nthread": 1}, model_file=str(folder / model))
    rows = golden.rows_to_ask(rng, x, thresholds(document), categorical)
    both = np.isposinf(rows).any(axis=1, keepdims=True) & np.isneginf(rows)
    rows[both] = -3.4028235e38
    # Up to 3.3, inplace_predict of a DART adds (base + leaf) - base, rounded, where predict adds the leaf.
    inplace = hasattr(booster, "inplace_predict") and document["learner"]["gradient_booster"]["name"] != "dart"
    extra = {}
    if spec.get("early"):
        extra["best_iteration"] = int(trained.attributes()["best_iteration"])
    if spec.get("note"):
        extra["note"] = spec["note"]
    golden.write_case(
        out, name, format="xgboost_ubj" if spec.get("ubj") else "xgboost_json", model=model, rows=rows,
        margin=predict(booster, rows, True, inplace), prediction=predict(booster, rows, False, inplace),
        library="xgboost", version=xgb.__version__, objective=spec["objective"],
        iterations=iterations(document), **extra)


def objectives():
    o = {}

    def add(name, objective, target, **more):
        o[name] = {"objective": objective, "target": target, **more}

    add("squarederror", "reg:squarederror", "real")
    add("squaredlogerror", "reg:squaredlogerror", "above_minus_one")
    add("reg_logistic", "reg:logistic", "unit")
    add("pseudohubererror", "reg:pseudohubererror", "real")
    add("absoluteerror", "reg:absoluteerror", "big")
    add("quantileerror", "reg:quantileerror", "real", params={"quantile_alpha": 0.8})
    add("quantileerror_three", "reg:quantileerror", "real", params={"quantile_alpha": [0.1, 0.5, 0.9]}, rounds=4)
    add("logistic", "binary:logistic", "binary")
    add("logitraw", "binary:logitraw", "skewed")
    add("hinge", "binary:hinge", "binary", params={"base_score": 0.3})
    add("poisson", "count:poisson", "count")
    add("gamma", "reg:gamma", "positive")
    add("tweedie", "reg:tweedie", "count", params={"tweedie_variance_power": 1.3})
    add("softmax", "multi:softmax", "classes", params={"num_class": 4, "max_depth": 3}, rounds=4)
    add("softprob", "multi:softprob", "classes", params={"num_class": 4, "max_depth": 3}, rounds=4)
    add("rank_pairwise", "rank:pairwise", "grade")
    add("rank_ndcg", "rank:ndcg", "grade")
    add("rank_map", "rank:map", "relevant")
    add("cox", "survival:cox", "survival", params={"base_score": 0.7})
    add("aft", "survival:aft", "survival")
    return o


def shapes():
    """Boosters, sizes, categories, missing values: what is not an objective."""
    dart = {"booster": "dart", "rate_drop": 0.5, "one_drop": 1}
    partition = {"max_cat_to_onehot": 1, "max_depth": 5}
    return {
        "logistic_ubj": {**objectives()["logistic"], "ubj": True},
        "softprob_ubj": {**objectives()["softprob"], "ubj": True},
        "dart": {"objective": "reg:squarederror", "target": "real", "params": dart, "rounds": 8},
        "dart_logistic_ubj": {"objective": "binary:logistic", "target": "binary", "params": dart, "ubj": True},
        "dart_softprob": {"objective": "multi:softprob", "target": "classes", "rounds": 4,
                          "params": {**dart, "num_class": 4, "max_depth": 3}},
        "forest": {"objective": "reg:squarederror", "target": "real", "rounds": 1,
                   "params": {"num_parallel_tree": 8, "subsample": 0.7, "colsample_bynode": 0.7, "eta": 1.0}},
        "forest_boosted_softprob": {"objective": "multi:softprob", "target": "classes", "rounds": 2,
                                    "params": {"num_class": 4, "num_parallel_tree": 3, "subsample": 0.7,
                                               "max_depth": 3}},
        "missing": {"objective": "reg:squarederror", "target": "real", "missing": 0.5, "rounds": 8},
        "no_missing": {"objective": "binary:logistic", "target": "binary", "missing": 0.0},
        "exact": {"objective": "reg:squarederror", "target": "real", "params": {"tree_method": "exact"}},
        "lossguide": {"objective": "reg:squarederror", "target": "real",
                      "params": {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0}},
        "pruned": {"objective": "reg:squarederror", "target": "real", "rounds": 4,
                   "params": {"tree_method": "exact", "gamma": 6.0, "max_depth": 6},
                   "note": "trees were pruned: their arrays may hold deleted nodes"},
        "categorical_onehot": {"objective": "binary:logistic", "target": "binary", "categorical": True,
                               "params": {"max_cat_to_onehot": 100}},
        "categorical_partition": {"objective": "reg:squarederror", "target": "real", "categorical": True,
                                  "params": partition},
        "categorical_many": {"objective": "reg:squarederror", "target": "real", "categorical": True,
                             "categories": 90, "params": partition, "rounds": 4},
        "categorical_partition_ubj": {"objective": "reg:squarederror", "target": "real", "categorical": True,
                            "params": partition, "ubj": True},
        "base_score": {"objective": "binary:logistic", "target": "skewed", "params": {"base_score": 0.2}},
        "base_score_poisson": {"objective": "count:poisson", "target": "count", "params": {"base_score": 1.7}},
        "base_score_big": {"objective": "reg:squarederror", "target": "big", "params": {"base_score": 1234.5},
                           "rounds": 5},
        "targets": {"objective": "reg:squarederror", "target": "pair", "rounds": 4, "params": {"max_depth": 3}},
        "targets_ubj": {"objective": "reg:squarederror", "target": "pair", "rounds": 4, "ubj": True,
                        "params": {"max_depth": 3}},
        "labels": {"objective": "binary:logistic", "target": "labels", "rounds": 3, "params": {"max_depth": 3}},
        "single_leaf": {"objective": "reg:squarederror", "target": "constant", "rounds": 3,
                        "params": {"base_score": 0.5}},
        "single_leaf_logistic": {"objective": "binary:logistic", "target": "skewed", "rounds": 3,
                                 "params": {"gamma": 1e6}},
        "stumps": {"objective": "reg:squarederror", "target": "real", "rounds": 20, "params": {"max_depth": 1}},
        "no_trees": {"objective": "binary:logistic", "target": "binary", "rounds": 0, "params": {"base_score": 0.3}},
        "no_trees_softprob": {"objective": "multi:softprob", "target": "classes", "rounds": 0,
                              "params": {"num_class": 4}},
        "early_stopped": {"objective": "reg:squarederror", "target": "real", "early": True,
                          "note": "Booster.predict and inplace_predict use every tree of the file; only the "
                                  "scikit-learn wrapper stops at best_iteration"},
    }


def cases(version):
    """Every case of the newest version; of an older one, what its files write differently."""
    everything = {**objectives(), **shapes()}
    if version >= (3, 4):
        everything["categorical_names"] = {
            "objective": "reg:squarederror", "target": "real", "frame": True, "params": {"max_cat_to_onehot": 1},
            "note": "trained from a data frame: model.cats holds the categories' names; rows are their codes"}
        return everything
    names = ["squarederror", "logistic", "softprob", "dart", "base_score", "no_trees"]
    if version >= (1, 6):
        names += ["poisson", "logistic_ubj", "categorical_partition", "categorical_onehot", "dart_logistic_ubj", "targets"]
    if (2, 0) <= version < (3, 0):
        names += ["absoluteerror", "quantileerror_three", "early_stopped"]
    if version >= (3, 1):
        names += ["absoluteerror", "hinge", "logitraw", "quantileerror_three", "single_leaf_logistic"]
    return {name: everything[name] for name in names}


def ask_again(folder):
    """Replaces the answers of a case by what this version says of the same file and rows."""
    case = json.loads((folder / "case.json").read_text())
    booster = xgb.Booster({"nthread": 1}, model_file=str(folder / case["model"]))
    rows = np.fromfile(folder / "rows.bin", "<f4").reshape(case["rows"], case["features"])
    for file, margin in (("margin", True), ("prediction", False)):
        predict(booster, rows, margin, inplace=False).astype("<f4").tofile(folder / f"{file}.bin")
    case["predicted_by"] = xgb.__version__
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--only", help="one case's name, without the prefix")
    parser.add_argument("--again", help="make nothing; predict the cases whose names begin so once more")
    options = parser.parse_args()
    if options.again:
        for folder in sorted(options.out.glob(options.again + "*")):
            ask_again(folder)
        return
    numbers = [int(part) for part in xgb.__version__.split(".")[:2]]
    prefix = f"xgb{numbers[0]}{numbers[1]}_"
    for name, spec in cases(tuple(numbers)).items():
        if options.only in (None, name):
            make(options.out, prefix + name, spec)
            print(prefix + name, flush=True)


if __name__ == "__main__":
    main()
