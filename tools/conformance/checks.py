"""What is checked, through any of the protocols. Each check is a function that raises on failure."""

import numpy

from golden import same_bits
from protocols import InferenceServerException, status

MODELS = ["breast_cancer", "digits", "randhie_xgb", "randhie_lgbm", "randhie"]


def expect(condition, sentence):
    if not condition:
        raise AssertionError(sentence)


def expect_fault(code, call, *parts):
    """`call` fails with `code`, in a sentence that holds every part."""
    try:
        call()
    except InferenceServerException as fault:
        expect(status(fault) == code, f"{status(fault)} instead of {code}: {fault.message()}")
        for part in parts:
            expect(part in fault.message(), f"'{part}' is not in: {fault.message()}")
        return
    raise AssertionError(f"no fault; {code} was expected")


def compare(answer, golden, outputs, rows):
    for output in outputs:
        wanted = golden.output(output["name"], output["datatype"], rows)
        expect(wanted is not None, f"the golden file has no output {output['name']}")
        expect(same_bits(answer.as_numpy(output["name"]), wanted),
               f"{output['name']} differs from the golden answer")


def rows_of(protocol, golden):
    """The rows that the protocol can carry."""
    rows = golden.every_row() if protocol.carries_nan else golden.finite()
    expect(len(rows) > 20, f"only {len(rows)} rows to ask about")
    return rows


def whole_tensor(protocol, golden):
    """All rows in one request, no output named: every output comes, bit-equal."""
    outputs = protocol.model_metadata(golden.model)["outputs"]
    rows = rows_of(protocol, golden)
    answer = protocol.infer(golden.model, [protocol.input("input", golden.tensor[rows], "FP32")])
    compare(answer, golden, outputs, rows)


def row_by_row(protocol, golden):
    """Single rows, outputs named: what a prediction is does not depend on its batch."""
    outputs = protocol.model_metadata(golden.model)["outputs"]
    names = [output["name"] for output in outputs]
    for row in rows_of(protocol, golden)[:20]:
        tensor = protocol.input("input", golden.tensor[[row]], "FP32")
        compare(protocol.infer(golden.model, [tensor], names), golden, outputs, [row])


def raw_inputs(protocol, golden, rows):
    inputs = []
    for name in golden.raw[0]:
        array, datatype = golden.raw_column(name, rows)
        inputs.append(protocol.input(name, array, datatype))
    return inputs


def raw_columns(protocol, golden):
    """Named raw columns, missing values among them, through the feature view."""
    outputs = protocol.model_metadata(golden.model)["outputs"]
    rows = rows_of(protocol, golden)
    compare(protocol.infer(golden.model, raw_inputs(protocol, golden, rows)), golden, outputs, rows)


def one_row(protocol, golden):
    return protocol.input("input", golden.tensor[:1], "FP32")


def health(protocol, golden):
    expect(protocol.client.is_server_live(), "the server is not live")
    expect(protocol.client.is_server_ready(), "the server is not ready")
    for model in MODELS:
        expect(protocol.client.is_model_ready(model), f"{model} is not ready")
    expect(protocol.client.is_model_ready(golden.model, "1"), "version 1 is not ready")


def metadata(protocol, golden):
    server = protocol.server_metadata()
    expect(server["name"] == "millrace", f"the server's name is {server['name']}")
    expect("schedule_policy" in server["extensions"], f"extensions: {server['extensions']}")
    model = protocol.model_metadata(golden.model)
    expect(model["name"] == golden.model, f"the model's name is {model['name']}")
    expect(model["versions"] == ["1"], f"versions: {model['versions']}")
    shape = [int(size) for size in model["inputs"][0]["shape"]]
    expect(shape == [-1, golden.tensor.shape[1]], f"the input's shape is {shape}")
    expect(model["inputs"][0]["datatype"] == "FP32", "the input is not FP32")


def head_of_the_answer(protocol, golden):
    answer = protocol.infer(golden.model, [one_row(protocol, golden)], request_id="ask-7",
                            model_version="1")
    head = protocol.answer_head(answer)
    wanted = {"id": "ask-7", "model_name": golden.model, "model_version": "1"}
    expect(head == wanted, f"the answer's head is {head}")


def outputs_as_asked(protocol, golden):
    """Only the named outputs."""
    answer = protocol.infer(golden.model, [one_row(protocol, golden)], ["margin"])
    expect(answer.as_numpy("margin") is not None, "the named output did not come")
    expect(answer.as_numpy("prediction") is None, "an output came that was not asked for")


def parameters(protocol, golden):
    """Priority and a time limit that is long enough are taken."""
    answer = protocol.infer(golden.model, [one_row(protocol, golden)], priority=1,
                            timeout=5_000_000)
    expect(answer.as_numpy("prediction") is not None, "no answer")


def unknown_model(protocol, golden):
    expect_fault("NOT_FOUND", lambda: protocol.infer("no_such", [one_row(protocol, golden)]),
                 "no_such")
    expect_fault("NOT_FOUND", lambda: protocol.model_metadata("no_such"), "no_such")


def unknown_version(protocol, golden):
    expect_fault(
        "NOT_FOUND", lambda: protocol.infer(
            golden.model, [one_row(protocol, golden)], model_version="99"), "99")


def wrong_shape(protocol, golden):
    short = golden.tensor[:1, :-1]
    expect_fault("INVALID_ARGUMENT",
                 lambda: protocol.infer(golden.model, [protocol.input("input", short, "FP32")]),
                 "shape")


def wrong_datatype(protocol, golden):
    doubles = golden.tensor[:1].astype(numpy.float64)
    expect_fault("INVALID_ARGUMENT",
                 lambda: protocol.infer(golden.model, [protocol.input("input", doubles, "FP64")]),
                 "datatype")


def wrong_input_name(protocol, golden):
    tensor = protocol.input("inputt", golden.tensor[:1], "FP32")
    expect_fault("INVALID_ARGUMENT", lambda: protocol.infer(golden.model, [tensor]), "inputt")


def unknown_output(protocol, golden):
    expect_fault("INVALID_ARGUMENT",
                 lambda: protocol.infer(golden.model, [one_row(protocol, golden)], ["no_such"]),
                 "no_such")


def missing_column(protocol, golden):
    inputs = raw_inputs(protocol, golden, golden.finite()[:1])[:-1]
    expect_fault("INVALID_ARGUMENT", lambda: protocol.infer(golden.model, inputs), golden.raw[0][-1])


def word_not_in_the_vocabulary(protocol, golden):
    inputs = raw_inputs(protocol, golden, golden.finite()[:1])[:-1]
    word = numpy.array([b"splendid"], numpy.object_)
    inputs.append(protocol.input("health", word, "BYTES"))
    expect_fault("INVALID_ARGUMENT", lambda: protocol.infer(golden.model, inputs), "health")


def missing_value(protocol, golden):
    """Where the protocol cannot carry NaN, the server says what to send instead."""
    tensor = golden.tensor[:1].copy()
    tensor[0, 3] = numpy.nan
    ask = lambda: protocol.infer(golden.model, [protocol.input("input", tensor, "FP32")])
    if protocol.carries_nan:
        expect(ask().as_numpy("prediction") is not None, "no answer")
    else:
        expect_fault("INVALID_ARGUMENT", ask, "inputs[0].data[3]", "null")


def good_after_bad(protocol, golden):
    """The client goes on after a fault, on the same connection."""
    for _ in range(3):
        wrong_shape(protocol, golden)
        row_by_row(protocol, golden)


def checks(goldens):
    """(name, function, golden) of everything."""
    for model in MODELS:
        golden = goldens[model]
        yield f"{model}: all golden rows at once", whole_tensor, golden
        yield f"{model}: golden rows one by one", row_by_row, golden
        if golden.raw is not None:
            yield f"{model}: golden raw columns", raw_columns, golden
    for check in (health, metadata, head_of_the_answer, outputs_as_asked, parameters, unknown_model,
                  unknown_version, wrong_shape, wrong_datatype, wrong_input_name, unknown_output,
                  missing_value, good_after_bad):
        yield check.__name__.replace("_", " "), check, goldens["breast_cancer"]
    for check in (missing_column, word_not_in_the_vocabulary):
        yield check.__name__.replace("_", " "), check, goldens["randhie"]
