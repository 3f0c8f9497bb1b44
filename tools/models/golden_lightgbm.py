"""Golden cases from the LightGBM that this interpreter imports; run by make_golden.py, once a version.

Everything is trained and predicted on one thread. Predictions come from the model read back from its
text file, which holds only the trees up to the best iteration where training stopped early.
"""

import argparse
import pathlib

import golden
import lightgbm as lgb
import numpy as np

ROWS, FEATURES, CATEGORICAL = 400, 6, (1, 4)


def targets(kind, x, categorical=()):
    s = golden.score(x, categorical)
    rng = golden.random(99)
    return {
        "real": lambda: s,
        "big": lambda: 1000.0 + 50.0 * s,
        "signed": lambda: 30.0 * s * np.abs(s),
        "unit": lambda: 1 / (1 + np.exp(-s)),
        "binary": lambda: (s > 0.2).astype(float),
        "count": lambda: rng.poisson(np.exp(np.clip(s, -2, 2))).astype(float),
        "positive": lambda: np.exp(s / 2),
        "classes": lambda: np.digitize(s, [-0.8, 0.1, 1.0]).astype(float),
        "grade": lambda: np.digitize(s, [-0.5, 0.5]).astype(float),
        "constant": lambda: np.full(len(s), 2.75),
    }[kind]()


def train(spec, x, y, categorical):
    params = {"num_threads": 1, "seed": 7, "deterministic": True, "force_row_wise": True, "verbosity": -1,
              "num_leaves": 12, "min_data_in_leaf": 5, "learning_rate": 0.2, "objective": spec["objective"],
              **spec.get("params", {})}
    group = [20] * (len(x) // 20) if spec["objective"] in ("lambdarank", "rank_xendcg") else None
    data = lgb.Dataset(x, y, group=group, params=params,
                       categorical_feature=list(categorical) if categorical else "auto")
    if not spec.get("early"):
        return lgb.train(params, data, spec.get("rounds", 5))
    held_out = lgb.Dataset(x[::3], 0.7 * y[::3], reference=data)
    return lgb.train({**params, "early_stopping_round": 4}, data, 40, valid_sets=[held_out])


def _walk(node, found):
    if "split_feature" in node:
        if node["decision_type"] == "<=":
            found.setdefault(node["split_feature"], set()).add(float(node["threshold"]))
        _walk(node["left_child"], found)
        _walk(node["right_child"], found)


def thresholds(booster):
    found = {}
    for tree in booster.dump_model()["tree_info"]:
        _walk(tree["tree_structure"], found)
    return {feature: sorted(values) for feature, values in found.items()}


def predict(booster, rows, raw):
    """The whole batch, checked against one row at a time."""
    batch = booster.predict(rows, raw_score=raw, num_threads=1)
    alone = np.concatenate([booster.predict(rows[i:i + 1], raw_score=raw, num_threads=1) for i in range(len(rows))])
    assert golden.same_bits(batch, alone.reshape(batch.shape)), "batch and single rows differ"
    return batch


def make(out, name, spec):
    folder = pathlib.Path(out) / name
    folder.mkdir(parents=True, exist_ok=True)
    categorical = CATEGORICAL if spec.get("categorical") else ()
    dtype = np.float64 if spec.get("double") else np.float32
    rng = golden.random(sum(map(ord, name)))
    x = golden.training_data(rng, ROWS, FEATURES, categorical, spec.get("categories", 6),
                             missing=spec.get("missing", 0.1), zeros=spec.get("zeros", 0.0)).astype(dtype)
    trained = train(spec, x, targets(spec["target"], x, categorical), categorical)
    trained.save_model(str(folder / "model.txt"))

    booster = lgb.Booster(model_file=str(folder / "model.txt"))
    rows = golden.rows_to_ask(rng, x, thresholds(booster), categorical, dtype)
    extra = {}
    if spec.get("early"):
        extra = {"best_iteration": trained.best_iteration, "trained_iterations": trained.current_iteration()}
    if spec.get("note"):
        extra["note"] = spec["note"]
    golden.write_case(
        out, name, format="lightgbm_text", model="model.txt", rows=rows,
        margin=predict(booster, rows, raw=True), prediction=predict(booster, rows, raw=False),
        library="lightgbm", version=lgb.__version__, objective=spec["objective"],
        iterations=booster.current_iteration(), **extra)


def objectives():
    o = {}

    def add(name, target, objective=None, **more):
        o[name] = {"objective": objective or name, "target": target, **more}

    four = {"num_class": 4, "num_leaves": 7}
    add("regression", "real")
    add("regression_l1", "big")
    add("huber", "real")
    add("fair", "real")
    add("quantile", "real", params={"alpha": 0.8})
    add("mape", "big")
    add("poisson", "count")
    add("gamma", "positive")
    add("tweedie", "count", params={"tweedie_variance_power": 1.3})
    add("binary", "binary")
    add("binary_sigmoid", "binary", "binary", params={"sigmoid": 1.7})
    add("multiclass", "classes", params=four, rounds=3)
    add("multiclassova", "classes", params=four, rounds=3)
    add("multiclassova_sigmoid", "classes", "multiclassova", params={**four, "sigmoid": 0.6}, rounds=3)
    add("cross_entropy", "unit")
    add("cross_entropy_lambda", "unit")
    add("lambdarank", "grade")
    add("rank_xendcg", "grade")
    add("reg_sqrt", "signed", "regression", params={"reg_sqrt": True})
    return o


def shapes():
    """Boosters, sizes, missing values, categories, linear trees: what is not an objective."""
    bagged = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7, "feature_fraction": 0.8}
    dart = {"boosting": "dart", "drop_rate": 0.5, "skip_drop": 0.0}
    categories = {"cat_smooth": 1.0, "min_data_per_group": 5, "max_cat_to_onehot": 1}
    real = {"objective": "regression", "target": "real"}
    binary = {"objective": "binary", "target": "binary"}
    four = {"objective": "multiclass", "target": "classes", "rounds": 3}
    return {
        "rf": {**real, "params": bagged, "rounds": 7},
        "rf_binary": {**binary, "params": bagged, "rounds": 6},
        "rf_multiclass": {**four, "params": {**bagged, "num_class": 4, "num_leaves": 7}},
        "dart": {**real, "params": dart, "rounds": 8},
        "dart_multiclass": {**four, "params": {**dart, "num_class": 4, "num_leaves": 7}, "rounds": 4},
        "goss": {**real, "params": {"boosting": "goss", "learning_rate": 0.5}},
        "double": {**real, "double": True},
        "double_binary": {**binary, "double": True},
        "no_missing": {**real, "missing": 0.0},
        "many_missing": {**real, "missing": 0.5},
        "zero_as_missing": {**real, "zeros": 0.3, "params": {"zero_as_missing": True}},
        "zero_as_missing_double": {**real, "zeros": 0.3, "double": True, "params": {"zero_as_missing": True}},
        "no_use_missing": {**real, "params": {"use_missing": False}},
        "categorical": {**real, "categorical": True, "params": categories},
        "categorical_onehot": {**binary, "categorical": True, "params": {**categories, "max_cat_to_onehot": 64}},
        "categorical_many": {**real, "categorical": True, "categories": 90, "params": categories},
        "categorical_no_missing": {**real, "categorical": True, "missing": 0.0, "params": categories},
        "categorical_no_use_missing": {**real, "categorical": True, "params": {**categories, "use_missing": False}},
        "categorical_zero_as_missing": {**real, "categorical": True,
                                        "params": {**categories, "zero_as_missing": True}},
        "categorical_double": {**real, "categorical": True, "double": True, "params": categories},
        "linear": {**real, "params": {"linear_tree": True, "linear_lambda": 0.1, "num_leaves": 6}},
        "linear_double": {**real, "double": True,
                          "params": {"linear_tree": True, "linear_lambda": 0.1, "num_leaves": 6}},
        "linear_binary": {**binary, "missing": 0.0,
                          "params": {"linear_tree": True, "linear_lambda": 0.1, "num_leaves": 6}},
        "linear_categorical": {**real, "categorical": True,
                               "params": {**categories, "linear_tree": True, "linear_lambda": 0.1, "num_leaves": 6}},
        "constant": {"objective": "regression", "target": "constant",
                     "note": "no split was possible: a single tree with one leaf"},
        "constant_binary": {**binary, "params": {"min_data_in_leaf": 300}},
        "constant_multiclass": {**four, "params": {"num_class": 4, "min_data_in_leaf": 300}},
        "stumps": {**real, "params": {"num_leaves": 2}, "rounds": 15},
        "max_bin": {**real, "params": {"max_bin": 4}},
        "early_stopped": {**real, "early": True,
                          "note": "save_model writes the trees up to best_iteration only; predict uses all of the file"},
    }


def cases(version):
    everything = {**objectives(), **shapes()}
    if version >= (4, 0):
        return everything
    names = ["regression", "binary", "multiclass", "poisson", "rf", "dart", "categorical", "zero_as_missing",
             "no_use_missing", "constant", "double"]
    if version >= (3, 2):
        names += ["linear", "multiclassova", "cross_entropy_lambda", "early_stopped"]
    return {name: everything[name] for name in names}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", help="one case's name, without the prefix")
    options = parser.parse_args()
    numbers = [int(part) for part in lgb.__version__.split(".")[:2]]
    prefix = f"lgb{numbers[0]}{numbers[1]}_"
    for name, spec in cases(tuple(numbers)).items():
        if options.only in (None, name):
            make(options.out, prefix + name, spec)
            print(prefix + name, flush=True)


if __name__ == "__main__":
    main()
