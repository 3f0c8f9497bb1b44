"""KServe's inference clients, REST and gRPC.

usage: kserve_clients.py --grpc ADDRESS --http ADDRESS --golden FOLDER
"""

import argparse
import sys

import numpy

# KServe's package reads the command line as it is imported, for a server that is not wanted here.
ARGUMENTS, sys.argv = sys.argv[1:], sys.argv[:1]

# pylint: disable=wrong-import-position
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig

from golden import Golden, same_bits
from report import Report

MODEL = "breast_cancer"


def expect(condition, sentence):
    if not condition:
        raise AssertionError(sentence)


def request_of(tensor):
    item = InferInput("input", list(tensor.shape), "FP32")
    item.set_data_from_numpy(tensor, binary_data=False)
    return InferRequest(MODEL, [item])


async def rest_v2(url, golden):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    expect(await client.is_server_live(url), "not live")
    expect(await client.is_server_ready(url), "not ready")
    expect(await client.is_model_ready(url, MODEL), "the model is not ready")
    tensor = golden.tensor[golden.finite()]
    answer = await client.infer(url, request_of(tensor), model_name=MODEL)
    got = next(o for o in answer.outputs if o.name == "prediction").as_numpy()
    wanted = golden.output("prediction", "FP32", golden.finite())
    expect(same_bits(got.astype(numpy.float32), wanted), "the prediction differs")
    await client.close()


async def rest_v1(url, golden):
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    expect(await client.is_model_ready(url, MODEL), "the model is not ready")
    rows = golden.finite()[:3]
    answer = await client.infer(url, {"instances": golden.tensor[rows].tolist()}, model_name=MODEL)
    expect(len(answer["predictions"]) == 3, f"answer: {answer}")
    await client.close()


async def grpc_v2(address, golden):
    client = InferenceGRPCClient(url=address)
    expect(await client.is_server_live(), "not live")
    expect(await client.is_server_ready(), "not ready")
    expect(await client.is_model_ready(MODEL), "the model is not ready")
    tensor = golden.tensor[golden.finite()]
    answer = await client.infer(request_of(tensor))
    got = next(o for o in answer.outputs if o.name == "prediction").as_numpy()
    wanted = golden.output("prediction", "FP32", golden.finite())
    expect(same_bits(got.astype(numpy.float32), wanted), "the prediction differs")
    await client.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--golden", required=True)
    arguments = parser.parse_args(ARGUMENTS)
    golden = Golden(arguments.golden, MODEL)
    report = Report("kserve")
    report.check("REST, v2", rest_v2, "http://" + arguments.http, golden)
    report.check("REST, v1", rest_v1, "http://" + arguments.http, golden)
    report.check("gRPC, v2", grpc_v2, arguments.grpc, golden)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
