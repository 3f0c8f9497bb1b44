"""A feature view (features.yaml) as numpy: what training and serving must agree on, bit by bit.

All is done in double and rounded to float32 at the end. Missing is NaN for a number and None or ""
for a string. log1p is the C library's (math.log1p), since numpy's own differs with the CPU.
"""

import math

import numpy as np
import yaml


def _cast(values, to):
    if to == "float32":
        return values.astype(np.float32).astype(np.float64)
    return np.where(np.isnan(values), values, np.trunc(values) + 0.0)  # + 0.0: never -0.0


def _log1p(x):
    if math.isnan(x) or x < -1:
        return math.nan
    return -math.inf if x == -1 else math.log1p(x)


def _vocabulary(texts, values, unknown):
    position = {value: float(i) for i, value in enumerate(values)}
    out = np.empty(len(texts))
    for i, text in enumerate(texts):
        if text is None or text == "":
            out[i] = math.nan
        elif text in position:
            out[i] = position[text]
        elif unknown == "reject":
            raise ValueError(f"{text!r} is not in the vocabulary")
        else:
            out[i] = math.nan if unknown == "missing" else float(unknown)
    return out


def _one_hot(values, width):
    out = np.zeros((len(values), width))
    for i, value in enumerate(values):
        if not math.isnan(value):
            out[i, int(value)] = 1.0
    return out


def _apply(transforms, values):
    width = None
    for transform in transforms:
        name, argument = (transform, None) if isinstance(transform, str) else next(iter(transform.items()))
        if name == "cast":
            values = _cast(values, argument)
        elif name == "fill" and isinstance(argument, str):
            values = [argument if text is None or text == "" else text for text in values]
        elif name == "fill":
            values = np.where(np.isnan(values), float(argument), values)
        elif name == "scale":
            values = (values - float(argument["mean"])) / float(argument["std"])
        elif name == "log1p":
            values = np.array([_log1p(x) for x in values])
        elif name == "clip":
            low, high = map(float, argument)
            values = np.where(values < low, low, np.where(values > high, high, values))
        elif name == "bucketize":
            edges, width = np.array(argument, float), len(argument) + 1
            values = np.where(np.isnan(values), values, np.searchsorted(edges, values, side="right"))
        elif name == "vocabulary":
            width = len(argument["values"])
            values = _vocabulary(values, argument["values"], argument["unknown"])
        elif name == "one_hot":
            values = _one_hot(values, width)
        else:
            raise ValueError(f"no transform is called {name}")
    return values


def _names(feature, width):
    kind = next((next(iter(t)) for t in feature["transforms"] if isinstance(t, dict)
                 and next(iter(t)) in ("vocabulary", "bucketize")), None)
    if width == 1:
        return [feature["column"]]
    if kind == "vocabulary":
        words = next(t["vocabulary"]["values"] for t in feature["transforms"]
                     if isinstance(t, dict) and "vocabulary" in t)
        return [f"{feature['column']}={word}" for word in words]
    return [f"{feature['column']}#{i}" for i in range(width)]


class View:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.features = yaml.safe_load(file)["features"]

    def columns(self):
        """The raw columns' names, each once, in the order in which features name them."""
        return list(dict.fromkeys(feature["column"] for feature in self.features))

    def apply(self, raw):
        """raw: name to a float64 array or a list of strings. Returns the tensor and its columns' names."""
        parts, names = [], []
        for feature in self.features:
            values = raw[feature["column"]]
            values = list(values) if feature["type"] == "string" else np.asarray(values, np.float64)
            part = np.asarray(_apply(feature.get("transforms", []), values)).reshape(len(values), -1)
            names += _names(feature, part.shape[1])
            parts.append(part)
        return np.concatenate(parts, axis=1).astype(np.float32), names
