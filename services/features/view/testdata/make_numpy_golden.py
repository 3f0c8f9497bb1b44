"""Writes numpy_golden.txt: what numpy makes of the transforms, bit by bit.

    python make_numpy_golden.py > numpy_golden.txt

Each block is a line `view <transforms as protobuf text>`, then a line for each value:
`<datatype> <the value's bytes, hex> <the float32's bits, hex>`. A NaN result is written as 7fc00000.
log1p is math.log1p (the C library's): numpy's own may differ in the last bit, see compiled_view.h.
"""

import math
import struct

import numpy as np

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}
DOUBLES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 0.1, 1 / 3, 2.5, -2.5, 3.7, 10.0, 99.99, 1e-8, -1e-8, 5e-324,
    1e-45, 7e-46, 1e-310, 16777216.0, 16777217.0, 16777219.0, 2.0**53, 2.0**53 + 2, 3.4028235e38,
    3.4028235677973366e38, 3.5e38, 1e300, -1e300, np.inf, -np.inf, np.nan, 1.0000000596046448,
    1.0000001788139343, 0.30000000000000004, 1e10, -1e10, 123456.789, 7.25, 4.0, 3.9999999999999996,
]
SPECIAL = {
    "BOOL": [False, True],
    "UINT8": [0, 1, 255], "UINT16": [0, 1, 65535], "UINT32": [0, 16777217, 2**32 - 1],
    "UINT64": [0, 2**53 + 1, 2**53 + 3, 2**63, 2**63 + 1024, 2**64 - 1],
    "INT8": [-128, -1, 127], "INT16": [-32768, 0, 32767], "INT32": [-(2**31), 16777217, 2**31 - 1],
    "INT64": [-(2**63), -(2**53) - 1, 2**53 + 1, 2**53 + 3, 2**63 - 1],
    "FP16": [0.0, -0.0, 5.96e-8, 6.1e-5, 1.0, -65504.0, np.inf, np.nan, 0.333],
    "FP32": [0.0, -0.0, 1e-45, 0.1, 3.4028235e38, np.inf, -np.inf, np.nan],
}
FINITE = [v for v in DOUBLES if abs(v) < 2.0**63 or np.isnan(v)]


def log1p(x):
    return np.array([math.log1p(v) if v > -1 else (-np.inf if v == -1 else np.nan) for v in x])


def to_int64(x):
    missing = np.isnan(x)
    return np.where(missing, np.nan, np.where(missing, 0.0, x).astype("i8").astype("f8"))


def fill(x, value):
    return np.where(np.isnan(x), value, x)


def bucketize(x, edges):
    return np.where(np.isnan(x), np.nan, np.searchsorted(edges, x, side="right").astype("f8"))


CASES = [
    ("", lambda x: x, DOUBLES),
    ("transforms { cast { } }", lambda x: x.astype("f4").astype("f8"), DOUBLES),
    ("transforms { cast { to_int64: true } }", to_int64, FINITE),
    ("transforms { fill { number: -7.1 } }", lambda x: fill(x, -7.1), DOUBLES),
    ("transforms { scale { mean: 0.1 std: 0.3 } }", lambda x: (x - 0.1) / 0.3, DOUBLES),
    ("transforms { scale { mean: 1e300 std: 1e-5 } }", lambda x: (x - 1e300) / 1e-5, DOUBLES),
    ("transforms { log1p { } }", log1p, DOUBLES),
    ("transforms { clip { lo: -0.5 hi: 10 } }", lambda x: np.clip(x, -0.5, 10.0), DOUBLES),
    ("transforms { clip { lo: 0 hi: inf } }", lambda x: np.clip(x, 0.0, np.inf), DOUBLES),
    ("transforms { clip { lo: -5 hi: -0 } }", lambda x: np.clip(x, -5.0, -0.0), DOUBLES),
    ("transforms { bucketize { edges: [-1, 0, 0.1, 4, 1e10] } }",
     lambda x: bucketize(x, [-1, 0, 0.1, 4, 1e10]), DOUBLES),
    ("transforms { cast { } } transforms { bucketize { edges: [0.1, 0.3] } }",
     lambda x: bucketize(x.astype("f4").astype("f8"), [0.1, 0.3]), DOUBLES),
    ("transforms { log1p { } } transforms { clip { lo: 0 hi: 5 } } "
     "transforms { scale { mean: 1.5 std: 0.7 } } transforms { fill { number: 0.25 } }",
     lambda x: fill((np.clip(log1p(x), 0.0, 5.0) - 1.5) / 0.7, 0.25), DOUBLES),
]


def main():
    rng = np.random.RandomState(20)
    random = np.concatenate([rng.standard_normal(20) * 10.0 ** rng.randint(-5, 6, 20), rng.uniform(-1, 5, 20)])
    for transforms, function, values in CASES:
        print("view", transforms)
        columns = [("FP64", np.array(list(values) + list(random)))]
        if not transforms:
            columns += [(name, np.array(special, dtype=DTYPES[name])) for name, special in SPECIAL.items()]
        for name, column in columns:
            with np.errstate(all="ignore"):
                result = function(column.astype("f8")).astype("<f4")
            for value, out in zip(column, result):
                bits = 0x7FC00000 if np.isnan(out) else struct.unpack("<I", out.tobytes())[0]
                print(name, np.array(value, dtype=DTYPES[name]).tobytes().hex(), f"{bits:08x}")


main()
