"""Programs that people point at a server: curl, Triton's perf_analyzer, schemathesis.

usage: programs.py --grpc ADDRESS --http ADDRESS [--perf-analyzer PROGRAM --cuda-runtime FOLDER]
       [--schemathesis PROGRAM]
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

from report import Report

MODEL = "breast_cancer"
FEATURES = 30


def run(*command, **arguments):
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, **arguments)
    return done.returncode, done.stdout, done.stderr


def expect(condition, sentence):
    if not condition:
        raise AssertionError(sentence)


def curl(url, *arguments, code=200):
    status, out, err = run("curl", "-sS", "-w", "%{http_code}", *arguments, url)
    expect(status == 0, err.decode(errors="replace"))
    expect(int(out[-3:]) == code, f"{out[-3:]} for {url}: {out[:200]}")
    return out[:-3]


def every_get(base):
    """Each path of the document that takes GET, with names of the demo's filled in."""
    document = json.loads(curl(base + "/openapi.json"))
    asked = 0
    for path, item in document["paths"].items():
        if "get" not in item or "{region}" in path:
            continue
        target = path.replace("{model}", MODEL).replace("{version}", "1")
        json.loads(curl(base + target))
        asked += 1
    expect(asked >= 15, f"only {asked} paths")


def curl_json(base):
    body = {"inputs": [{"name": "input", "shape": [1, FEATURES], "datatype": "FP32",
                        "data": [1.5] * FEATURES}]}
    answer = json.loads(curl(f"{base}/v2/models/{MODEL}/infer", "-d", json.dumps(body)))
    expect(answer["outputs"][0]["shape"][0] == 1, f"{answer}")
    answer = json.loads(curl(f"{base}/v1/models/{MODEL}:predict", "-d",
                             json.dumps({"instances": [[1.5] * FEATURES] * 2})))
    expect(len(answer["predictions"]) == 2, f"{answer}")
    json.loads(curl(f"{base}/v2/repository/index", "-X", "POST"))


def curl_binary(base, folder):
    """A tensor after the JSON, and a body that is nothing but a tensor."""
    raw = b"\0\0\xc0\x3f" * FEATURES  # 1.5
    head = json.dumps({"inputs": [{"name": "input", "shape": [1, FEATURES], "datatype": "FP32",
                                   "parameters": {"binary_data_size": len(raw)}}]}).encode()
    file = os.path.join(folder, "body")
    url = f"{base}/v2/models/{MODEL}/infer"
    answers = []
    for body, size in ((head + raw, len(head)), (raw, 0)):
        with open(file, "wb") as out:
            out.write(body)
        answers.append(curl(url, "--data-binary", "@" + file, "-H",
                            f"Inference-Header-Content-Length: {size}", "-H",
                            "Content-Type: application/octet-stream"))
    first = json.loads(answers[0])["outputs"][0]["data"]
    expect(answers[1].startswith(b"{"), "no JSON before the tensors")
    decoded, _ = json.JSONDecoder().raw_decode(answers[1].decode("latin-1"))
    expect("binary_data_size" in decoded["outputs"][0]["parameters"], f"{decoded}")
    expect(len(first) == 1, f"{first}")


def curl_faults(base):
    curl(base + "/v2/models/no_such", code=404)
    curl(f"{base}/v2/models/{MODEL}/infer", "-d", "{", code=400)
    curl(f"{base}/v2/models/{MODEL}/infer", code=405)
    curl(base + "/v2/cudasharedmemory/region/r/register", "-d", "{}", code=501)


def perf_analyzer(arguments, protocol, address, folder, concurrency, *more):
    """Runs it for a moment; prints its numbers.

    Many at once from few threads: with a thread for each request in flight its own thread that sorts
    the records falls behind them on two cores, each window is longer than the last, and it never ends.
    """
    if concurrency > 1:
        more += ("--async", "--max-threads", "4")
    file = os.path.join(folder, "perf.csv")
    environment = dict(os.environ, LD_LIBRARY_PATH=arguments.cuda_runtime)
    code, out, err = run(arguments.perf_analyzer, "-m", MODEL, "-i", protocol, "-u", address,
                         "--concurrency-range", str(concurrency), "--measurement-mode",
                         "count_windows", "--measurement-request-count", "500", "-s", "500", "-r",
                         "10", "-f", file, *more, env=environment)
    expect(code == 0, (out + err).decode(errors="replace")[-600:])
    with open(file, newline="", encoding="utf-8") as rows:
        row = next(csv.DictReader(rows))
    expect(float(row["Inferences/Second"]) > 0, f"{row}")
    print(f"     perf_analyzer {protocol} {' '.join(more)} concurrency {concurrency}: "
          f"{row['Inferences/Second']}/s, p50 {row['p50 latency']} us, p99 {row['p99 latency']} us")


def schemathesis(program, base, folder):
    """Requests made from the document: no answer that it does not promise."""
    code, out, err = run(
        program, "run", base + "/openapi.json", "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance", "--max-examples", "12", "--seed", "7", "--phases",
        "examples,fuzzing", "--exclude-operation-id", "registerCudaRegion", "--no-color",
        "--suppress-health-check", "all", "--generation-database", "none", cwd=folder)
    expect(code == 0, (out + err).decode(errors="replace")[-4000:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--perf-analyzer")
    parser.add_argument("--cuda-runtime")
    parser.add_argument("--schemathesis")
    arguments = parser.parse_args()
    base = "http://" + arguments.http
    report = Report("programs")
    with tempfile.TemporaryDirectory() as folder:
        report.check("curl: every path that takes GET", every_get, base)
        report.check("curl: JSON", curl_json, base)
        report.check("curl: binary tensors, raw body", curl_binary, base, folder)
        report.check("curl: faults", curl_faults, base)
        if arguments.perf_analyzer:
            for protocol, address in (("grpc", arguments.grpc), ("http", arguments.http)):
                for concurrency in (1, 32):
                    for memory in ("none", "system"):
                        report.check(
                            f"perf_analyzer: {protocol}, {concurrency}, shared memory {memory}",
                            perf_analyzer, arguments, protocol, address, folder, concurrency,
                            "--shared-memory", memory)
            for concurrency in (1, 32):
                report.check(f"perf_analyzer: stream, {concurrency}", perf_analyzer, arguments,
                             "grpc", arguments.grpc, folder, concurrency, "--streaming",
                             *(["--async"] if concurrency == 1 else []))
        if arguments.schemathesis:
            report.check("schemathesis: the OpenAPI document", schemathesis,
                         arguments.schemathesis, base, folder)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
