"""The Python binding of the local client against a running server: golden rows, bit by bit."""

import os
import sys

import numpy

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "ipc", "client", "python"))

import millrace_client  # noqa: E402
from golden import Golden, same_bits  # noqa: E402

IN_FLIGHT = 16


def compare(outputs, golden, model, rows):
    compared = 0
    for name, (_, datatype, _, _) in model.outputs.items():
        text = {10: "FP16", 11: "FP32", 12: "FP64", 9: "INT64", 13: "BYTES"}[datatype]
        expected = golden.output(name, text, rows)
        if expected is None:
            continue
        answer = outputs[name]
        assert not answer.flags.writeable, f"{name} can be written"
        if text == "BYTES":
            answer = numpy.array(millrace_client.decode_bytes(answer), numpy.object_)
            answer = answer.reshape(expected.shape)
        assert same_bits(answer, expected), f"{name} of rows {rows[0]} to {rows[-1]} differs"
        compared += 1
    assert compared, "nothing was compared"


def check_tensors(client, golden):
    """Every row by itself, many in flight, inputs written in place."""
    model = client.open(golden.model)
    (name,) = [n for n, info in model.inputs.items() if not info[2]]
    left, at = list(range(len(golden.tensor))), {}
    while left or at:
        while left and len(at) < IN_FLIGHT:
            request = model.begin(1)
            row = left.pop()
            request.inputs[name][:] = golden.tensor[row].reshape(request.inputs[name].shape)
            request.submit()
            at[request] = row
        for request in client.wait():
            compare(request.outputs(), golden, model, [at.pop(request)])


def check_columns(client, golden):
    """All rows at once, as named raw columns."""
    model = client.open(golden.model)
    rows = numpy.arange(min(len(golden.tensor), model.max_rows))
    inputs = {name: golden.raw_column(name, rows)[0] for name in golden.raw[0]}
    compare(model.infer(**inputs), golden, model, rows)


def check_views(client, golden):
    """An output outlives its request's name, and the next requests do not write over it."""
    model = client.open(golden.model)
    (name,) = [n for n, info in model.inputs.items() if not info[2]]
    first = model.infer(**{name: golden.tensor[:1]})
    kept = {output: array.copy() for output, array in first.items()}
    for row in range(8):
        model.infer(**{name: golden.tensor[row:row + 1]})
    for output, array in first.items():
        assert array.tobytes() == kept[output].tobytes(), f"{output} changed"


def check_errors(client, golden):
    """A wrong request has its code and a sentence, and the client goes on."""
    try:
        client.open("no_such_model")
    except millrace_client.Error as error:
        assert error.code == 5 and "no_such_model" in str(error), error
    else:
        raise AssertionError("an unknown model was opened")
    model = client.open(golden.model)
    name = next(iter(model.inputs))
    try:
        model.infer(**{name: numpy.zeros((model.max_rows + 1,) + model.inputs[name][3],
                                         golden.tensor.dtype)})
    except millrace_client.Error as error:
        assert error.code in (3, 8), error
    else:
        raise AssertionError("too many rows were answered")
    check_views(client, golden)


def run(address, library, goldens):
    """(passed, failed), with a line for each check."""
    passed = failed = 0
    with millrace_client.Client(address, library, max_request_bytes=1 << 20,
                                max_answer_bytes=1 << 20) as client:
        for model, golden in goldens.items():
            for check in (check_tensors, check_columns, check_views, check_errors):
                if check is check_columns and golden.raw is None:
                    continue
                what = f"local: {model}: {check.__doc__.splitlines()[0]}"
                try:
                    check(client, golden)
                except (AssertionError, millrace_client.Error, KeyError, ValueError) as fault:
                    failed += 1
                    print(f"FAIL {what}: {type(fault).__name__}: {fault}")
                else:
                    passed += 1
                    print(f"PASS {what}")
    return passed, failed


if __name__ == "__main__":
    models = ["breast_cancer", "digits", "randhie_xgb", "randhie_lgbm", "randhie"]
    counts = run(sys.argv[1], sys.argv[2], {m: Golden(sys.argv[3], m) for m in models})
    print("%d passed, %d failed" % counts)
    sys.exit(1 if counts[1] or not counts[0] else 0)
