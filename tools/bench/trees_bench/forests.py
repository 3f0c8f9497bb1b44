"""The generated forests of the bench: what they learn, and how they are trained.

Rows have 64 float32 features of several kinds, with cells missing in some columns. The label is a sum
of terms in a few of them, with interactions, under noise: trees keep finding splits, and no two rows
walk alike. Seeds and threads are fixed: on one machine a second run gives the same files. Two minutes on two
cores that have nothing else to do.
"""

import lightgbm as lgb
import numpy as np
import xgboost as xgb

FEATURES = 64
TRAINING_ROWS = 30_000
TEST_ROWS = 4_096
THREADS = 2  # sums of gradients depend on it


def make_rows(count, seed):
    """Normal, correlated, uniform, heavy-tailed and integer columns; cells missing in every fourth."""
    random = np.random.RandomState(seed)
    x = random.normal(size=(count, FEATURES))
    x[:, 16:24] += x[:, :8]
    x[:, 24:40] = random.uniform(-1, 1, size=(count, 16))
    x[:, 40:52] = np.exp(x[:, 40:52])
    x[:, 52:] = random.poisson(5, size=(count, 12))
    for column in range(0, FEATURES, 4):
        x[random.uniform(size=count) < 0.1, column] = np.nan
    return x.astype(np.float32)


def make_labels(x, seed):
    random = np.random.RandomState(seed)
    z = np.where(np.isnan(x), 0.5, x).astype(np.float64)
    score = (np.sin(2 * z[:, 0]) + z[:, 1] * z[:, 17] + 1.5 * (z[:, 25] > z[:, 26]) * z[:, 2]
             + np.log(z[:, 41]) * z[:, 27] + 0.3 * (z[:, 53] - 5) * np.sign(z[:, 3])
             + 0.7 * np.isnan(x[:, 8]) - 0.5 * (z[:, 30] ** 2 + z[:, 31] ** 2)
             + 0.1 * z[:, :40].sum(axis=1))
    return (score + random.logistic(size=len(x)) > 0).astype(np.float32)


def test_rows():
    """Rows that no forest has seen. Every 64th has missing cells in any column, a few nothing else."""
    x = make_rows(TEST_ROWS, seed=2)
    random = np.random.RandomState(3)
    odd = np.arange(0, TEST_ROWS, 64)
    x[odd] = np.where(random.uniform(size=(len(odd), FEATURES)) < 0.5, np.nan, x[odd])
    x[odd[::16]] = np.nan
    return x


def train_xgboost(x, y, rounds, params):
    params = {"objective": "binary:logistic", "tree_method": "hist", "seed": 1, "nthread": THREADS, "eta": 0.05,
              "min_child_weight": 0.1, **params}
    return xgb.train(params, xgb.DMatrix(x, y), rounds)


def train_lightgbm(x, y, rounds, params):
    params = {"objective": "binary", "seed": 1, "num_threads": THREADS, "deterministic": True,
              "force_row_wise": True, "learning_rate": 0.02, "min_data_in_leaf": 10, "min_sum_hessian_in_leaf": 0.01,
              "verbosity": -1, **params}
    return lgb.train(params, lgb.Dataset(x, y), rounds)


# name: the library, its rounds and its parameters.
FORESTS = {
    "xgb_100x4": ("xgboost", 100, {"max_depth": 4}),
    "xgb_500x6": ("xgboost", 500, {"max_depth": 6}),
    "lgb_1000x255": ("lightgbm", 1000, {"num_leaves": 255}),
    # The same shape by XGBoost, so that its library can be asked too.
    "xgb_1000x255": ("xgboost", 1000, {"grow_policy": "lossguide", "max_leaves": 255, "max_depth": 0,
                                       "eta": 0.02}),
}


def train(name, path):
    """Trains one forest and writes its file."""
    library, rounds, params = FORESTS[name]
    x = make_rows(TRAINING_ROWS, seed=0)
    y = make_labels(x, seed=1)
    make = train_xgboost if library == "xgboost" else train_lightgbm
    make(x, y, rounds, params).save_model(str(path))
