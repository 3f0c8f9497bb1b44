"""Asks a running server the way existing programs do: through tritonclient, from PyPI.

usage: conformance.py --grpc ADDRESS --http ADDRESS --golden FOLDER [--local ADDRESS --library SO]

One PASS or FAIL line for each check and protocol; the last line is "N passed, N failed".
"""

import argparse
import sys

import local
from checks import MODELS, checks
from golden import Golden
from protocols import InferenceServerException, all_protocols


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--golden", required=True)
    parser.add_argument("--local")
    parser.add_argument("--library", help="libmillrace_client.so")
    arguments = parser.parse_args()
    goldens = {model: Golden(arguments.golden, model) for model in MODELS}
    passed = failed = 0
    for protocol in all_protocols(arguments.grpc, arguments.http):
        for name, check, golden in checks(goldens):
            try:
                check(protocol, golden)
            except (AssertionError, InferenceServerException, KeyError, ValueError) as fault:
                failed += 1
                print(f"FAIL {protocol.name}: {name}: {type(fault).__name__}: {fault}")
            else:
                passed += 1
                print(f"PASS {protocol.name}: {name}")
    if arguments.local:
        counts = local.run(arguments.local, arguments.library, goldens)
        passed, failed = passed + counts[0], failed + counts[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
