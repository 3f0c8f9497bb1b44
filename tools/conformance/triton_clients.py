"""What tritonclient does beyond plain requests: asyncio, streams, compression, shared memory.

usage: triton_clients.py --grpc ADDRESS --http ADDRESS --golden FOLDER
"""

import argparse
import queue
import sys
import os

import numpy
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as http_aio
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as shm

from golden import Golden, same_bits
from report import Report

MODEL = "breast_cancer"


def expect(condition, sentence):
    if not condition:
        raise AssertionError(sentence)


class Ask:
    """The golden rows as a request of either module, and the check of its answer."""

    def __init__(self, folder):
        self.golden = Golden(folder, MODEL)
        self.rows = self.golden.finite()
        self.tensor = self.golden.tensor[self.rows]

    def inputs(self, module):
        tensor = module.InferInput("input", list(self.tensor.shape), "FP32")
        tensor.set_data_from_numpy(self.tensor)
        return [tensor]

    def wanted(self, name, datatype="FP32"):
        return self.golden.output(name, datatype, self.rows)

    def compare(self, answer):
        expect(same_bits(answer.as_numpy("prediction"), self.wanted("prediction")),
               "the prediction differs from the golden answer")


async def http_asyncio(address, ask):
    async with http_aio.InferenceServerClient(address) as client:
        expect(await client.is_server_ready(), "not ready")
        ask.compare(await client.infer(MODEL, ask.inputs(http_aio)))
        expect((await client.get_model_config(MODEL))["name"] == MODEL, "another configuration")


async def grpc_asyncio(address, ask):
    async with grpc_aio.InferenceServerClient(address) as client:
        expect(await client.is_model_ready(MODEL), "not ready")
        ask.compare(await client.infer(MODEL, ask.inputs(grpc_aio)))


async def grpc_asyncio_stream(address, ask):
    async with grpc_aio.InferenceServerClient(address) as client:

        async def requests():
            for i in range(20):
                yield {"model_name": MODEL, "inputs": ask.inputs(grpc_aio), "request_id": str(i)}

        seen = set()
        async for answer, fault in client.stream_infer(requests()):
            expect(fault is None, f"{fault}")
            ask.compare(answer)
            seen.add(answer.get_response().id)
        expect(len(seen) == 20, f"{len(seen)} of 20 answers")


def grpc_stream(address, ask):
    """Many in flight on one stream, a fault among them ends nothing."""
    answers = queue.Queue()
    client = triton_grpc.InferenceServerClient(address)
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for i in range(50):
        client.async_stream_infer(MODEL if i != 7 else "no_such", ask.inputs(triton_grpc),
                                  request_id=str(i))
    faults = 0
    for _ in range(50):
        result, error = answers.get(timeout=20)
        if error is not None:
            faults += 1
            expect("no_such" in error.message(), error.message())
        else:
            ask.compare(result)
    client.stop_stream()
    expect(faults == 1, f"{faults} faults, 1 was expected")


def grpc_asynchronous(address, ask):
    answers = queue.Queue()
    client = triton_grpc.InferenceServerClient(address)
    for _ in range(20):
        client.async_infer(MODEL, ask.inputs(triton_grpc),
                           callback=lambda result, error: answers.put((result, error)))
    for _ in range(20):
        result, error = answers.get(timeout=20)
        expect(error is None, f"{error}")
        ask.compare(result)


def http_asynchronous(address, ask):
    client = triton_http.InferenceServerClient(address, concurrency=4)
    pending = [client.async_infer(MODEL, ask.inputs(triton_http)) for _ in range(20)]
    for request in pending:
        ask.compare(request.get_result())


def compression(address, ask, request, response):
    client = triton_http.InferenceServerClient(address)
    ask.compare(client.infer(MODEL, ask.inputs(triton_http), request_compression_algorithm=request,
                             response_compression_algorithm=response))


def catalog(client, as_dictionary):
    """Configuration, index, metadata."""
    arguments = {"as_json": True} if as_dictionary else {}
    config = client.get_model_config(MODEL, **arguments)
    config = config.get("config", config)
    expect(config["name"] == MODEL and config["input"][0]["name"] == "input", f"config: {config}")
    index = client.get_model_repository_index(**arguments)
    models = index["models"] if as_dictionary else index
    expect(any(m["name"] == MODEL and m["state"] == "READY" for m in models), f"index: {models}")
    server = client.get_server_metadata(**arguments)
    expect("system_shared_memory" in server["extensions"], f"extensions: {server['extensions']}")
    expect("cuda_shared_memory" not in server["extensions"], f"extensions: {server['extensions']}")


def refused(call, *parts):
    try:
        call()
    except InferenceServerException as fault:
        for part in parts:
            expect(part in str(fault), f"'{part}' is not in: {fault}")
        return
    raise AssertionError("no fault")


def classes(answer, name, rows, count):
    """The (score, index, label) of each row, as Triton's clients take them apart."""
    texts = answer.as_numpy(name)
    expect(texts.shape == (rows, count), f"shape {texts.shape}")
    return [[text.decode().split(":") for text in row] for row in texts]


def classification(module, client, golden):
    """The k highest of each row, with labels where the model has them."""
    rows = golden.finite()
    scores = golden.output("prediction", "FP64", rows)
    tensor = module.InferInput("input", list(golden.tensor[rows].shape), "FP32")
    tensor.set_data_from_numpy(golden.tensor[rows])
    for count, given in ((3, 3), (99, scores.shape[1])):
        asked = module.InferRequestedOutput("prediction", class_count=count)
        answer = client.infer("digits", [tensor], outputs=[asked])
        found = classes(answer, "prediction", len(scores), given)
        for row, parts in zip(scores, found):
            best = numpy.argsort(-row, kind="stable")[:given]
            expect([int(p[1]) for p in parts] == list(best), f"{parts} of {row}")
            expect([p[0] for p in parts] == [f"{row[i]:f}" for i in best], f"{parts} of {row}")
            expect(all(len(p) == 3 and p[2] for p in parts), f"no labels: {parts}")
    asked = module.InferRequestedOutput("class", class_count=1)
    answer = client.infer("digits", [tensor], outputs=[asked])
    expect(all(len(p) == 2 for row in classes(answer, "class", len(scores), 1) for p in row),
           "a class has no label of its own")
    label = module.InferRequestedOutput("label", class_count=1)
    refused(lambda: client.infer("digits", [tensor], outputs=[label]), "classification", "BYTES")
    server = client.get_server_metadata(**({} if module is triton_http else {"as_json": True}))
    expect("classification" in server["extensions"], f"extensions: {server['extensions']}")


def shared_memory(module, client, ask):
    """Input and one output in shared memory, another in the answer; then a client that shrinks it."""
    size = ask.tensor.nbytes
    out = ask.wanted("prediction").nbytes
    key = f"/conformance_{os.getpid()}_{module.__name__.rsplit('.', 1)[-1]}"
    handle = shm.create_shared_memory_region("tensors", key, size + out)
    try:
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory()
        shm.set_shared_memory_region(handle, [ask.tensor])
        client.register_system_shared_memory("tensors", key, size + out)
        status = client.get_system_shared_memory_status()
        listed = [r["name"] for r in status] if isinstance(status, list) else list(status.regions)
        expect(listed == ["tensors"], f"regions: {listed}")
        tensor = module.InferInput("input", list(ask.tensor.shape), "FP32")
        tensor.set_shared_memory("tensors", size)
        placed = module.InferRequestedOutput("prediction")
        placed.set_shared_memory("tensors", out, offset=size)
        plain = module.InferRequestedOutput("margin")
        for _ in range(3):
            answer = client.infer(MODEL, [tensor], outputs=[placed, plain])
            got = shm.get_contents_as_numpy(handle, numpy.float32,
                                            list(ask.wanted("prediction").shape), offset=size)
            expect(same_bits(numpy.array(got), ask.wanted("prediction")), "shared memory differs")
            expect(same_bits(answer.as_numpy("margin"), ask.wanted("margin")), "margin differs")
        placed.set_shared_memory("tensors", out - 4, offset=size)
        refused(lambda: client.infer(MODEL, [tensor], outputs=[placed]), "shared_memory_byte_size")
        refused(lambda: client.register_system_shared_memory("tensors", key, 4), "already")
        for bad in ("/proc/self/fd/3", "../etc/passwd", "/no_such_region", "memfd:arena"):
            refused(lambda: client.register_system_shared_memory("bad", bad, 4), "key: ")
        os.truncate("/dev/shm" + key, 16)
        refused(lambda: client.infer(MODEL, [tensor]), "shorter than was registered")
        client.unregister_system_shared_memory("tensors")
        refused(lambda: client.infer(MODEL, [tensor]), "no region")
        ask.compare(client.infer(MODEL, ask.inputs(module)))
    finally:
        os.truncate("/dev/shm" + key, size + out)
        shm.destroy_shared_memory_region(handle)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--golden", required=True)
    arguments = parser.parse_args()
    ask = Ask(arguments.golden)
    report = Report("tritonclient")
    report.check("http, asyncio", http_asyncio, arguments.http, ask)
    report.check("grpc, asyncio", grpc_asyncio, arguments.grpc, ask)
    report.check("grpc, asyncio stream", grpc_asyncio_stream, arguments.grpc, ask)
    report.check("grpc, stream", grpc_stream, arguments.grpc, ask)
    report.check("grpc, asynchronous", grpc_asynchronous, arguments.grpc, ask)
    report.check("http, asynchronous", http_asynchronous, arguments.http, ask)
    for coding in ("gzip", "deflate"):
        report.check(f"http, {coding}", compression, arguments.http, ask, coding, coding)
    grpc_client = triton_grpc.InferenceServerClient(arguments.grpc)
    http_client = triton_http.InferenceServerClient(arguments.http)
    report.check("grpc, catalog", catalog, grpc_client, True)
    report.check("http, catalog", catalog, http_client, False)
    digits = Golden(arguments.golden, "digits")
    for name, module, client in (("grpc", triton_grpc, grpc_client),
                                 ("http", triton_http, http_client)):
        report.check(f"{name}, classification", classification, module, client, digits)
    report.check("grpc, shared memory", shared_memory, triton_grpc, grpc_client, ask)
    report.check("http, shared memory", shared_memory, triton_http, http_client, ask)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
