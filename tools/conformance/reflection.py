"""Asks as grpcurl does: nothing is known of the service but what reflection tells.

usage: reflection.py --grpc ADDRESS --golden FOLDER
"""

import argparse
import sys

import grpc
import numpy
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import \
    ProtoReflectionDescriptorDatabase

from golden import Golden, same_bits
from report import Report

SERVICE = "inference.GRPCInferenceService"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--http", help="not used")
    parser.add_argument("--golden", required=True)
    arguments = parser.parse_args()
    channel = grpc.insecure_channel(arguments.grpc)
    told = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(told)
    golden = Golden(arguments.golden, "breast_cancer")
    report = Report("reflection")

    def call(method, request):
        method = pool.FindServiceByName(SERVICE).FindMethodByName(method)
        answer = GetMessageClass(method.output_type)
        return channel.unary_unary(f"/{SERVICE}/{method.name}",
                                   request_serializer=lambda m: m.SerializeToString(),
                                   response_deserializer=answer.FromString)(request)

    def make(method):
        method = pool.FindServiceByName(SERVICE).FindMethodByName(method)
        return GetMessageClass(method.input_type)()

    def services():
        assert SERVICE in told.get_services(), told.get_services()

    def describe():
        methods = {m.name for m in pool.FindServiceByName(SERVICE).methods}
        wanted = {"ModelInfer", "ModelStreamInfer", "ServerMetadata", "SystemSharedMemoryStatus"}
        assert wanted <= methods, methods

    def every_message():
        for method in pool.FindServiceByName(SERVICE).methods:
            GetMessageClass(method.input_type)()
            GetMessageClass(method.output_type)()

    def infer():
        request = make("ModelInfer")
        request.model_name = "breast_cancer"
        tensor = request.inputs.add(name="input", datatype="FP32", shape=golden.tensor[:4].shape)
        del tensor
        request.raw_input_contents.append(golden.tensor[:4].tobytes())
        request.outputs.add(name="prediction")
        answer = call("ModelInfer", request)
        got = numpy.frombuffer(answer.raw_output_contents[0], numpy.float32)
        wanted = golden.output("prediction", "FP32", range(4))
        assert same_bits(got.reshape(wanted.shape), wanted), got

    def live():
        assert call("ServerLive", make("ServerLive")).live

    report.check("the services are listed", services)
    report.check("the service is described", describe)
    report.check("every message can be made", every_message)
    report.check("ServerLive by what was told", live)
    report.check("ModelInfer by what was told", infer)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
