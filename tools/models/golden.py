"""What the golden cases of every library share: the rows that are asked, and the files of a case.

A case is a folder: case.json, the model, rows.bin, margin.bin, prediction.bin (see README.md).
"""

import json
import pathlib

import numpy as np

ORDINARY, SPARSE, TIES, SPECIAL = 20, 12, 28, 20

# Missing, both infinities, both zeros, subnormals, the extremes, LightGBM's zero threshold (1e-35f).
_SPECIAL_VALUES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1e-40, 1.1754944e-38, -1.1754944e-38,
                   3.4028235e38, -3.4028235e38, 1e30, -1e30, 1e-35, -1e-35, 1.0000001e-35, 9.999999e-36,
                   1e-34, 1.0, -1.0, 16777216.0]
_SPECIAL_DOUBLES = [5e-324, -5e-324, 1e-300, 1.7976931348623157e308, -1.7976931348623157e308,
                    float(np.float32(1e-35)), float(np.nextafter(np.float64(np.float32(1e-35)), 1.0))]

# Unseen, negative, fractional, at and past XGBoost's limit of 2^24, past an int, missing.
_SPECIAL_CATEGORIES = [np.nan, 0.0, -0.0, 1.0, 2.0, 2.7, 0.5, -0.5, -1.0, -7.0, 31.0, 32.0, 33.0, 63.0, 64.0, 65.0,
                       1000.0, 16777215.0, 16777216.0, 2147483520.0, 2147483648.0, 3e9, -3e9, np.inf, -np.inf]


def random(seed):
    """The legacy generator: its stream is frozen, so every version of numpy makes the same data."""
    return np.random.RandomState(seed)


def training_data(rng, rows, features, categorical=(), categories=6, missing=0.1, zeros=0.0):
    """Numeric features on very different scales, the named columns as category codes."""
    x = rng.standard_normal((rows, features)) * (10.0 ** (np.arange(features) % 4 - 1))
    for column in categorical:
        x[:, column] = rng.randint(0, categories, rows)
    if zeros:
        x[rng.uniform(size=x.shape) < zeros] = 0.0
    if missing:
        x[rng.uniform(size=x.shape) < missing] = np.nan
    return x.astype(np.float32)


def score(x, categorical=()):
    """A smooth, non-additive target with a little of every column."""
    clean = np.nan_to_num(x.astype(np.float64), nan=0.25)
    total = np.zeros(len(x))
    for j in range(x.shape[1]):
        if j in categorical:
            total += np.cos(clean[:, j] * 2.1 + j)
        else:
            total += np.sin(clean[:, j] / (10.0 ** (j % 4 - 1)) * (1 + 0.3 * j)) / (1 + j % 3)
    return total


def _neighbours(thresholds, dtype):
    out = []
    for threshold in thresholds:
        with np.errstate(over="ignore"):
            t = dtype(threshold)
            out += [t, np.nextafter(t, dtype(np.inf)), np.nextafter(t, dtype(-np.inf))]
    return out


def rows_to_ask(rng, sample, thresholds, categorical=(), dtype=np.float32):
    """Rows that decide every edge: thresholds[j] lists the model's own split values of feature j."""
    features = sample.shape[1]
    specials = _SPECIAL_VALUES + (_SPECIAL_DOUBLES if dtype is np.float64 else [])

    def draw(count, choices):
        out = np.empty((count, features), dtype)
        for j in range(features):
            pool = np.array(choices(j), dtype)
            out[:, j] = pool[np.arange(count) % len(pool)] if count >= len(pool) else rng.choice(pool, count, False)
            rng.shuffle(out[:, j])
        return out

    ordinary = sample[rng.randint(0, len(sample), ORDINARY)].astype(dtype)
    sparse = sample[rng.randint(0, len(sample), SPARSE)].astype(dtype)
    hole = rng.uniform(size=sparse.shape)
    sparse[hole < 0.6] = np.nan
    sparse[hole < 0.3] = 0.0
    sparse[hole < 0.1] = -0.0
    ties = draw(TIES, lambda j: _SPECIAL_CATEGORIES if j in categorical
                else _neighbours(thresholds.get(j, []), dtype) or [0.0])
    special = draw(SPECIAL, lambda j: _SPECIAL_CATEGORIES if j in categorical else specials)
    uniform = np.repeat(np.array([np.nan, 0.0, -0.0, np.inf, -np.inf, 1.0], dtype)[:, None], features, 1)
    return np.ascontiguousarray(np.concatenate([ordinary, sparse, ties, special, uniform]), dtype)


def as_columns(values, rows):
    """[rows] or [rows, k] to [rows, k]."""
    return np.ascontiguousarray(np.asarray(values).reshape(rows, -1))


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def write_case(out, name, *, model, rows, margin, prediction, **facts):
    """Writes one folder; the model file is there already, made by the library itself."""
    folder = pathlib.Path(out) / name
    margin, prediction = as_columns(margin, len(rows)), as_columns(prediction, len(rows))
    case = {
        "format": facts.pop("format"),
        "model": model,
        "rows": rows.shape[0],
        "features": rows.shape[1],
        "groups": margin.shape[1],
        "input_dtype": str(rows.dtype),
        "margin_dtype": str(margin.dtype),
        "prediction_dtype": str(prediction.dtype),
        "prediction_columns": prediction.shape[1],
        **facts,
    }
    for file, array in (("rows", rows), ("margin", margin), ("prediction", prediction)):
        array.astype(array.dtype.newbyteorder("<")).tofile(folder / f"{file}.bin")
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")
