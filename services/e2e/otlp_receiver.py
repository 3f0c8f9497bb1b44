"""A collector for tests: takes OTLP over HTTP with JSON and over gRPC, by PyPI's opentelemetry-proto.

Usage: python otlp_receiver.py FILE. Writes there which ports it has, {"http": N, "grpc": N}, then each
request that it took, as a line of JSON: {"by": "http"|"grpc", "spans": [...]}, ids in hexadecimal, attributes as a map. What does not
fit the protocol is a line {"by": ..., "fault": sentence}, and is answered with an error.
"""
import base64
import concurrent.futures
import http.server
import json
import os
import sys
import threading
import time

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

LOCK = threading.Lock()
ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def say(line):
    with LOCK, open(sys.argv[1], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def value_of(value):
    kind = value.WhichOneof("value")
    return getattr(value, kind)


def span_of(span, resource):
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "trace_state": span.trace_state,
        "name": span.name,
        "kind": span.kind,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "attributes": {a.key: value_of(a.value) for a in span.attributes},
        "links": [{"trace_id": l.trace_id.hex(), "span_id": l.span_id.hex()} for l in span.links],
        "status": span.status.code,
        "resource": resource,
    }


def take(by, request):
    spans = []
    for group in request.resource_spans:
        resource = {a.key: value_of(a.value) for a in group.resource.attributes}
        for scope in group.scope_spans:
            spans += [span_of(span, resource) for span in scope.spans]
    say({"by": by, "spans": spans})


def with_base64(node, name=""):
    """OTLP's JSON has ids in hexadecimal where proto3's has base64, and enums as numbers only."""
    if isinstance(node, dict):
        return {key: with_base64(value, key) for key, value in node.items()}
    if isinstance(node, list):
        return [with_base64(value) for value in node]
    if name in ID_BYTES:
        raw = bytes.fromhex(node)
        if len(raw) != ID_BYTES[name] or node != node.lower():
            raise ValueError(f"{name}: {node}")
        return base64.b64encode(raw).decode()
    if name in ("kind", "code") and not isinstance(node, int):
        raise ValueError(f"{name}: an enum is a number, not {node!r}")
    if name in ("startTimeUnixNano", "endTimeUnixNano", "intValue") and not isinstance(node, str):
        raise ValueError(f"{name}: 64 bits are a string, not {node!r}")
    return node


class Http(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/json":
                raise ValueError(f"{self.path} {self.headers['Content-Type']}")
            message = trace_service_pb2.ExportTraceServiceRequest()
            json_format.ParseDict(with_base64(json.loads(body)), message)
            take("http", message)
            code, answer = 200, b"{}"
        except (ValueError, json_format.ParseError) as fault:
            say({"by": "http", "fault": str(fault)})
            code, answer = 400, b"{}"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Grpc(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        take("grpc", request)
        return trace_service_pb2.ExportTraceServiceResponse()


def main():
    by_http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http)
    by_grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Grpc(), by_grpc)
    port = by_grpc.add_insecure_port("127.0.0.1:0")
    by_grpc.start()
    threading.Thread(target=by_http.serve_forever, daemon=True).start()
    say({"http": by_http.server_address[1], "grpc": port})
    parent = os.getppid()
    while os.getppid() == parent:  # until the test ends
        time.sleep(1)


if __name__ == "__main__":
    main()
