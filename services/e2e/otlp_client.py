"""One ModelInfer call with a trace: python otlp_client.py ADDRESS MODEL COLUMNS TRACEPARENT TRACESTATE

Says what came back: {"code": "OK", "traceparent": ..., "tracestate": ...}. The message is written by
hand: there is no need for its classes.
"""
import json
import struct
import sys

import grpc


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def request(model, columns):
    tensor = field(1, b"input") + field(2, b"FP32") + field(3, varint(1) + varint(columns))
    return field(1, model.encode()) + field(5, tensor) + field(7, struct.pack(f"<{columns}f", *[0] * columns))


def main():
    address, model, columns, parent, state = sys.argv[1:]
    call = grpc.insecure_channel(address).unary_unary("/inference.GRPCInferenceService/ModelInfer")
    metadata = [("traceparent", parent), ("tracestate", state)]
    try:
        _, done = call.with_call(request(model, int(columns)), metadata=metadata, timeout=30)
    except grpc.RpcError as error:
        done = error
    told = {key: value for key, value in done.initial_metadata() or ()}
    print(json.dumps({"code": done.code().name, "traceparent": told.get("traceparent", ""),
                      "tracestate": told.get("tracestate", "")}))


if __name__ == "__main__":
    main()
