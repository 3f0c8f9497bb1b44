"""Trains the demo's models and writes deploy/demo: the model files and what they predict.

    pip install -r requirements.txt && python train_demo.py [--out deploy/demo]

The configurations, labels and the feature view in deploy/demo/models are written by hand and read
here. The data comes with statsmodels and scikit-learn. Training runs on one thread: a second run
gives the same bytes.
"""

import argparse
import os
import pathlib
import shutil

os.environ["OMP_NUM_THREADS"] = "1"

import lightgbm as lgb  # noqa: E402
import numpy as np  # noqa: E402
import statsmodels.api  # noqa: E402
import xgboost as xgb  # noqa: E402
from feature_view import View  # noqa: E402
from sklearn import datasets  # noqa: E402

GOLDEN_ROWS = 200
TOP_K = 3


def fixed_order(rows, seed):
    return np.random.RandomState(seed).permutation(rows)


# ---- data ----------------------------------------------------------------------------------------

def randhie_raw():
    """The experiment's columns as a user would hold them: dollars, percent, words, missing cells."""
    data = statsmodels.api.datasets.randhie.load_pandas().data
    n = len(data)
    column = {name: data[name].to_numpy(np.float64) for name in data.columns}
    money = lambda logarithm: np.where(logarithm == 0, 0.0, np.round(np.exp(logarithm), 2))  # noqa: E731
    health = np.select([column["hlthg"] == 1, column["hlthf"] == 1, column["hlthp"] == 1],
                       ["good", "fair", "poor"], "excellent").tolist()
    raw = {
        "coinsurance": np.round(np.exp(column["lncoins"]) - 1),
        "plan": np.where(column["idp"] == 1, "individual", "family").tolist(),
        "incentive": money(column["lpi"]),
        "expenditure_limit": np.where(column["fmde"] == 0, np.nan, np.round(np.exp(column["fmde"]), 2)),
        "limitation": np.round(column["physlm"], 6),
        "diseases": np.round(column["disea"], 6),
        "health": health,
    }
    random = np.random.RandomState(20)
    for name, values in raw.items():  # nobody's data is complete
        for i in np.flatnonzero(random.uniform(size=n) < 0.02):
            values[i] = "" if isinstance(values, list) else np.nan
    return raw, column["mdvis"]


def take(raw, rows):
    return {name: [values[i] for i in rows] if isinstance(values, list) else values[rows]
            for name, values in raw.items()}


def with_edge_rows(raw):
    """Adds rows that decide what the view does at its edges."""
    nan = float("nan")
    edges = [
        (nan, "", nan, nan, nan, nan, ""),
        (0, "family", 0, 0, 0, 0, "excellent"),
        (100, "individual", 1, 1, 1, 58.6, "poor"),
        (150, "individual", 0.99, 5000, 1.5, -1, "fair"),
        (-3, "family", 249.99, 1000, -0.5, 1000, "good"),
        (25.9, "family", 250, 0.005, 0.333333, 10.57626, "good"),
        (-0.4, "none", 500, 1e9, 0.1, 11.244492, "excellent"),
        (99.999, "Family", 799.999999, 1e-9, 0.7, 0.1, "poor"),
        (50, "individual", 800, 123.45, 1e-300, 1e30, "fair"),
        (95, "family", 1e12, -2, 0.5, -1e30, ""),
    ]
    for name, values in zip(raw, zip(*edges)):
        raw[name] = raw[name] + list(values) if isinstance(raw[name], list) else np.append(raw[name], values)
    return raw


# ---- writing -------------------------------------------------------------------------------------

def exact(value):
    """Text that parses back to the same bits; a missing number is nan, a missing word is nothing."""
    if isinstance(value, (str, np.str_, int, np.integer)):
        return str(value)
    if np.isnan(value):
        return "nan"
    return format(float(value), ".9g" if isinstance(value, np.float32) else ".17g")


def write_csv(path, columns):
    """columns: name to values, all of one length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(columns)] + [",".join(map(exact, row)) for row in zip(*columns.values())]
    path.write_text("\n".join(lines) + "\n")


def raw_columns(raw):
    """As in a file of a user's: the shortest text of a number, an empty cell for what is missing."""
    return {name: [v if isinstance(v, str) else "" if np.isnan(v) else repr(float(v)) for v in values]
            for name, values in raw.items()}


def tensor_columns(x, names):
    return {name: x[:, j] for j, name in enumerate(names)}


def output(name, values):
    """One output's columns: its name alone, or name[0], name[1], ..."""
    values = np.asarray(values)
    if values.ndim == 1 or values.shape[1] == 1:
        return {name: values.reshape(-1)}
    return {f"{name}[{j}]": values[:, j] for j in range(values.shape[1])}


def class_outputs(prediction, labels):
    if prediction.ndim == 1:
        classes = (prediction >= 0.5).astype(np.int64)
    else:
        classes = prediction.argmax(axis=1).astype(np.int64)
    return {**output("class", classes), **output("label", [labels[c] for c in classes])}


def top_k(prediction, labels):
    order = np.argsort(-prediction, axis=1, kind="stable")[:, :TOP_K]
    texts = [[f"{row[c]:f}:{c}:{labels[c]}" for c in best] for row, best in zip(prediction, order)]
    return output("top_k", texts)


# ---- models --------------------------------------------------------------------------------------

class XgboostModel:
    def __init__(self, path, params, rounds, x, y):
        path.parent.mkdir(parents=True, exist_ok=True)
        params = {"nthread": 1, "seed": 1, "tree_method": "hist", **params}
        xgb.train(params, xgb.DMatrix(x, y), rounds).save_model(str(path))
        self.booster = xgb.Booster({"nthread": 1}, model_file=str(path))

    def outputs(self, x):
        matrix = xgb.DMatrix(x, nthread=1)
        return {"prediction": self.booster.predict(matrix),
                "margin": self.booster.predict(matrix, output_margin=True)}


class LightgbmModel:
    def __init__(self, path, params, rounds, x, y):
        path.parent.mkdir(parents=True, exist_ok=True)
        params = {"num_threads": 1, "seed": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
                  **params}
        lgb.train(params, lgb.Dataset(x, y), rounds).save_model(str(path))
        self.booster = lgb.Booster(model_file=str(path))

    def outputs(self, x):
        return {"prediction": self.booster.predict(x, num_threads=1),
                "margin": self.booster.predict(x, raw_score=True, num_threads=1)}


def write_golden(folder, x, names, answer):
    write_csv(folder / "rows.csv", tensor_columns(x, names))
    write_csv(folder / "expect.csv", answer)


def all_outputs(answer):
    return {key: values for name, part in answer.items() for key, values in output(name, part).items()}


def randhie(out):
    models, golden = out / "models", out / "golden"
    for member in ("randhie_xgb", "randhie_lgbm"):
        shutil.copyfile(models / "randhie" / "features.yaml", models / member / "features.yaml")
    view = View(models / "randhie" / "features.yaml")
    raw, visits = randhie_raw()
    x, names = view.apply(raw)
    cut = int(len(x) * 0.8)  # a person's years stand together: no person on both sides

    members = {
        "randhie_xgb": XgboostModel(models / "randhie_xgb/1/model.json",
                                    {"objective": "count:poisson", "max_depth": 4, "eta": 0.1}, 100,
                                    x[:cut], visits[:cut]),
        "randhie_lgbm": LightgbmModel(models / "randhie_lgbm/1/model.txt",
                                      {"objective": "poisson", "num_leaves": 15, "learning_rate": 0.1,
                                       "min_data_in_leaf": 50}, 100, x[:cut], visits[:cut]),
    }

    def answers(rows):
        found = {name: model.outputs(rows) for name, model in members.items()}
        first, second = (found[name]["prediction"].astype(np.float64) for name in members)
        found["randhie"] = {"prediction": (0.5 * first + 0.5 * second) / (0.5 + 0.5)}
        return found

    held_out = answers(x[cut:])
    for name, answer in held_out.items():
        p, y = answer["prediction"].astype(np.float64), visits[cut:]
        deviance = 2 * np.mean(np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / p), 0) - (y - p))
        base = np.mean(visits[:cut])
        null = 2 * np.mean(np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / base), 0) - (y - base))
        print(f"{name}: mean Poisson deviance {deviance:.3f} on {len(y)} held-out rows; of a constant {null:.3f}")

    sample = with_edge_rows(take(raw, cut + fixed_order(len(x) - cut, 3)[:GOLDEN_ROWS - 10]))
    sample = {name: sample[name] for name in view.columns()}
    rows, _ = view.apply(sample)
    for name, answer in answers(rows).items():
        write_golden(golden / name, rows, names, all_outputs(answer))
        write_csv(golden / name / "raw.csv", raw_columns(sample))
        write_csv(golden / name / "raw_expect.csv", all_outputs(answer))


def classifier(out, name, data, make, golden_rows, names):
    labels = (out / "models" / name / "labels.txt").read_text().split("\n")[:-1]
    order = fixed_order(len(data.data), 4)
    x, y = data.data.astype(np.float32)[order], data.target[order]
    cut = int(len(x) * 0.6)
    answer = make(x[:cut], y[:cut]).outputs(x[cut:])
    classes = class_outputs(answer["prediction"], labels)
    print(f"{name}: accuracy {np.mean(classes['class'] == y[cut:]):.3f} on {len(y) - cut} held-out rows")
    answer = {key: values[:golden_rows] for key, values in answer.items()}
    columns = {**all_outputs(answer), **class_outputs(answer["prediction"], labels)}
    if answer["prediction"].ndim == 2:
        columns.update(top_k(answer["prediction"], labels))
    write_golden(out / "golden" / name, x[cut:][:golden_rows], names, columns)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "demo"
    parser.add_argument("--out", type=pathlib.Path, default=default)
    out = parser.parse_args().out

    randhie(out)
    cancer = datasets.load_breast_cancer()
    classifier(out, "breast_cancer", cancer,
               lambda x, y: XgboostModel(out / "models/breast_cancer/1/model.ubj",
                                         {"objective": "binary:logistic", "max_depth": 3, "eta": 0.2}, 60, x, y),
               GOLDEN_ROWS, [name.replace(" ", "_") for name in cancer.feature_names])
    digits = datasets.load_digits()
    classifier(out, "digits", digits,
               lambda x, y: LightgbmModel(out / "models/digits/1/model.txt",
                                          {"objective": "multiclass", "num_class": 10, "num_leaves": 8,
                                           "learning_rate": 0.2, "min_data_in_leaf": 5}, 40, x, y),
               GOLDEN_ROWS, [f"pixel_{j // 8}_{j % 8}" for j in range(64)])


if __name__ == "__main__":
    main()
