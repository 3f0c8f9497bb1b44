"""Makes what the bench of trees runs, once: forests, rows, ONNX files; prints where the list of them is.

    python prepare.py --cache FOLDER --newest FOLDER

Forests are trained anew when forests.py or a version changes, the rest when anything here changes. Each
ONNX file is run by ONNX Runtime on all rows, beside the library that trained the model.
"""

import argparse
import ctypes
import hashlib
import importlib.metadata
import json
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[2] / "deploy" / "demo"
DEMO_MODELS = {"breast_cancer": "model.ubj", "digits": "model.txt", "randhie_xgb": "model.json",
               "randhie_lgbm": "model.txt"}
TOLERANCE = 1e-5  # of a margin, or of 1: float sums in another order; a row that walks otherwise shows


def digest(paths):
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def make_once(folder, make):
    """Calls `make(empty folder)`; a folder that was not made to its end is made anew."""
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def say(text):
    print(text, file=sys.stderr, flush=True)


def train_forests(folder):
    import forests

    for name, (library, rounds, params) in forests.FORESTS.items():
        say(f"Training {name} by {library}: {rounds} rounds, {params}")
        forests.train(name, folder / (name + (".json" if library == "xgboost" else ".txt")))


def demo_rows(name, count):
    """The demo's rows, then mixtures of any two of them, cell by cell."""
    import numpy as np

    path = DEMO / "golden" / name / "rows.csv"
    x = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32, ndmin=2)
    random = np.random.RandomState(4)
    first, second = random.randint(len(x), size=(2, count - len(x)))
    mixed = np.where(random.uniform(size=(count - len(x), x.shape[1])) < 0.5, x[first], x[second])
    return np.concatenate([x, mixed])


def write_onnx(forest, path):
    from onnx import TensorProto, helper

    import tree_tables

    node = helper.make_node("TreeEnsembleRegressor", ["rows"], ["margins"], domain="ai.onnx.ml",
                            **tree_tables.onnx_attributes(forest))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph([node], "forest", [tensor("rows", TensorProto.FLOAT, [None, forest.features])],
                              [tensor("margins", TensorProto.FLOAT, [None, forest.groups])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def read_model(path, x):
    """The forest as tables, and the library's own margins of the rows."""
    import lightgbm as lgb
    import xgboost as xgb

    import tree_tables

    if path.suffix == ".txt":
        forest = tree_tables.from_lightgbm(path.read_text())
        margins = lgb.Booster(model_file=str(path)).predict(x, raw_score=True, num_threads=1)
    else:
        booster = xgb.Booster({"nthread": 1}, model_file=str(path))
        forest = tree_tables.from_xgboost(json.loads(bytes(booster.save_raw("json"))))
        margins = booster.predict(xgb.DMatrix(x, nthread=1), output_margin=True)
    return forest, margins.reshape(len(x), -1)


def check_onnx(name, path, x, margins):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {"rows": x})[0].reshape(len(x), -1).astype(np.float64)
    margins = margins.astype(np.float64)
    error = float(np.max(np.abs(found - margins) / np.maximum(1, np.abs(margins))))
    say(f"{name}: ONNX Runtime and the library differ by {error:.1e} at most")
    if not error <= TOLERANCE:
        sys.exit(f"{name}: the ONNX file does not give the model's margins")


def make_case(name, model, x, folder):
    forest, margins = read_model(model, x)
    onnx, rows = folder / (name + ".onnx"), folder / (name + ".rows")
    write_onnx(forest, onnx)
    check_onnx(name, onnx, x, margins)
    x.tofile(rows)
    copy = shutil.copy(model, folder / (name + model.suffix))  # so that all of a case lies in one folder
    return {"name": name, "library": "lightgbm" if model.suffix == ".txt" else "xgboost", "model": copy.name,
            "onnx": onnx.name, "row_file": rows.name, "rows": len(x), "features": forest.features,
            "groups": forest.groups, "trees": len(forest.trees), "leaves": forest.leaves(),
            "depth": forest.depth()}


def wheel_library(subject, library, package, pattern, folder=None):
    """The shared library inside an installed wheel."""
    if folder is None:
        distribution = importlib.metadata.distribution(package)
    else:
        distribution = next(importlib.metadata.distributions(name=package, path=[str(folder)]))
    paths = sorted(pathlib.Path(distribution.locate_file(library)).glob(pattern))
    if not paths:
        sys.exit(f"{package} {distribution.version} has no {pattern}")
    return {"subject": subject, "library": library, "version": distribution.version, "path": str(paths[0])}


def debian_xgboost():
    """Debian's XGBoost, which the loader finds by its name."""
    name = "libxgboost.so.0"
    version = [ctypes.c_int() for _ in range(3)]
    ctypes.CDLL(name).XGBoostVersion(*map(ctypes.byref, version))
    return {"subject": "xgboost_1.7", "library": "xgboost", "version": ".".join(str(part.value) for part in version),
            "path": name}


def libraries(newest):
    """The peers; the first of a library is the one that trains. Of XGBoost no version is the fastest at
    every batch: a call of 3.2 takes long before its first row, the longer the more trees; 1.7 needs more for
    each of many rows."""
    return [wheel_library("xgboost_3.0", "xgboost", "xgboost-cpu", "lib/libxgboost.so"),
            wheel_library("xgboost_3.2", "xgboost", "xgboost-cpu", "lib/libxgboost.so", newest),
            debian_xgboost(),
            wheel_library("lightgbm", "lightgbm", "lightgbm", "lib/lib_lightgbm.so"),
            wheel_library("onnxruntime", "onnxruntime", "onnxruntime", "capi/libonnxruntime.so.*")]


def make_cases(folder, trained, newest):
    import forests

    cases = []
    for name, file in DEMO_MODELS.items():
        x = demo_rows(name, forests.TEST_ROWS)
        cases.append(make_case(name, DEMO / "models" / name / "1" / file, x, folder))
    for model in sorted(trained.iterdir(), key=lambda path: list(forests.FORESTS).index(path.stem)):
        cases.append(make_case(model.stem, model, forests.test_rows(), folder))
    (folder / "cases.json").write_text(json.dumps({"libraries": libraries(newest), "cases": cases}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--newest", type=pathlib.Path, required=True,
                        help="where requirements_newest.txt is installed")
    arguments = parser.parse_args()
    cache = arguments.cache
    training = [HERE / "requirements.txt", HERE / "forests.py"]
    trained = make_once(cache / ("trees-forests-" + digest(training)), train_forests)
    demo = [path for name, file in DEMO_MODELS.items()
            for path in (DEMO / "models" / name / "1" / file, DEMO / "golden" / name / "rows.csv")]
    everything = training + [HERE / name for name in ("requirements_newest.txt", "prepare.py", "tree_tables.py")] + demo
    cases = make_once(cache / ("trees-cases-" + digest(everything)),
                      lambda folder: make_cases(folder, trained, arguments.newest))
    print(cases / "cases.json")


if __name__ == "__main__":
    main()
