"""Makes kernels/testdata: every library version in a virtual environment of its own.

    python3.11 make_golden.py --venvs DIR [--out kernels/testdata]

Needs Python 3.11 and pip. Environments that exist in DIR are used as they are. The result does not
depend on the day, the number of cores or the order of the versions.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent

# What each environment holds beside the library. XGBoost 3.4 asks for a newer Python than 3.11 but its
# wheel runs on it, hence the flag; dependencies are named here because --no-deps keeps CUDA's away.
ENVIRONMENTS = {
    "xgboost==3.4.1": ["numpy==2.3.5", "scipy==1.16.3", "pandas==2.3.3", "python-dateutil", "pytz", "tzdata", "six"],
    "xgboost==3.2.0": ["numpy==2.3.5", "scipy==1.16.3"],
    "xgboost==3.0.5": ["numpy==1.26.4", "scipy==1.13.1"],
    "xgboost==2.1.4": ["numpy==1.26.4", "scipy==1.13.1"],
    "xgboost==1.7.6": ["numpy==1.26.4", "scipy==1.13.1"],
    "xgboost==1.0.2": ["numpy==1.23.5", "scipy==1.9.3"],
    "lightgbm==4.7.0": ["numpy==2.3.5", "scipy==1.16.3", "narwhals==2.29.0"],
    "lightgbm==3.3.5": ["numpy==1.26.4", "scipy==1.13.1", "scikit-learn==1.3.2", "joblib==1.5.2", "threadpoolctl==3.6.0"],
    "lightgbm==2.3.1": ["numpy==1.23.5", "scipy==1.11.4", "scikit-learn==1.3.2", "joblib==1.5.2", "threadpoolctl==3.6.0"],
}


def interpreter(venvs, library):
    """The Python of the library's environment, made if it is not there."""
    folder = venvs / ("venv-" + library.replace("==", "-"))
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:",
                        "--ignore-requires-python", library, *ENVIRONMENTS[library]], check=True)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venvs", required=True, type=pathlib.Path, help="where the environments are or go")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parents[1] / "kernels" / "testdata")
    options = parser.parse_args()

    for old in list(options.out.glob("xgb*_*")) + list(options.out.glob("lgb*_*")):
        shutil.rmtree(old)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(library, *arguments):
        script = HERE / f"golden_{library.split('==')[0]}.py"
        python = interpreter(options.venvs, library)
        done = subprocess.run([python, "-W", "ignore", script, "--out", options.out, *arguments], env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{library} failed:\n{done.stdout}")

    for library in ENVIRONMENTS:
        run(library)
        print(f"{library} done", flush=True)
    # Up to 1.2 the base score was added after the trees. Every later XGBoost that reads these files adds
    # it first, and so do we: their answers come from the last version that reads them all.
    run("xgboost==1.7.6", "--again", "xgb10_")

    files = [path for path in options.out.rglob("*") if path.is_file()]
    print(f"{len(list(options.out.iterdir()))} cases, {sum(path.stat().st_size for path in files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
