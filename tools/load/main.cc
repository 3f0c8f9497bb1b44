// Sends golden requests to a running server and compares every answer. See README.md.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <iostream>

#include "tools/load/client.h"
#include "tools/load/load.h"

namespace millrace {
namespace {

std::atomic<bool> stop = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler stores it");

int Fail(const absl::Status& status) {
  std::cerr << status.message() << "\n";
  return 2;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Load of golden requests, every answer compared bit for bit. SIGINT ends it early: what is "
      "in flight is awaited, and the report printed.");
  LoadOptions options;
  std::string grpc, http, local, model, rows_file, expect_file;
  size_t rows_per_request = 1;
  bool text = false;
  auto* address = app.add_option_group("address");
  address->add_option("--grpc", grpc, "Server: host:port or unix:/path");
  address->add_option("--http", http, "The same, over HTTP with JSON");
  address->add_option("--local", local, "The server's local socket, to share memory with it");
  address->require_option(1);
  app.add_option("--model", model)->required();
  app.add_option("--rows", rows_file, "CSV of rows, or of named raw columns")->required();
  app.add_option("--expect", expect_file, "CSV of the outputs that must come back");
  app.add_option("--rows_per_request", rows_per_request)->check(CLI::PositiveNumber);
  app.add_option("--in_flight", options.in_flight)->check(CLI::PositiveNumber);
  app.add_option("--channels", options.channels, "Connections (gRPC)")->check(CLI::PositiveNumber);
  app.add_option("--requests", options.requests, "Stop after so many");
  app.add_option("--duration_ms", options.duration_ms, "Stop after so long; 0: by count");
  app.add_option("--deadline_ms", options.deadline_ms);
  app.add_option("--told_ms", options.told_ms,
                 "Deadline that the server is told; the client waits --deadline_ms");
  app.add_option("--history", options.history, "File of what became of each request");
  app.add_option("--retries", options.retries, "Of a request that failed UNAVAILABLE");
  app.add_flag("--text", text, "Report in a few lines to read, not in JSON");
  CLI11_PARSE(app, argc, argv);
  absl::StatusOr<Csv> rows = ReadCsv(rows_file);
  if (!rows.ok()) return Fail(rows.status());
  absl::StatusOr<Csv> expect = expect_file.empty() ? Csv() : ReadCsv(expect_file);
  if (!expect.ok()) return Fail(expect.status());
  options.stop = &stop;
  // relaxed: a flag that nothing else depends on.
  for (int number : {SIGINT, SIGTERM}) {
    signal(number, [](int) { stop.store(true, std::memory_order_relaxed); });
  }
  options.address = !local.empty() ? local : http.empty() ? grpc : http;
  const auto client = !local.empty() ? MakeLocalClient(local, options.deadline_ms)
                      : http.empty() ? MakeGrpcClient(grpc, options.deadline_ms)
                                     : MakeHttpClient(http, options.deadline_ms);
  auto metadata = client->Metadata(model, "");
  if (!metadata.ok()) return Fail(metadata.status());
  auto golden =
      MakeGolden(*metadata, *rows, expect_file.empty() ? nullptr : &*expect, rows_per_request);
  if (!golden.ok()) return Fail(golden.status());
  if (options.told_ms > 0) SetTimeout(options.told_ms, &*golden);
  const LoadReport report = !local.empty() ? RunLocalLoad(*golden, options)
                            : http.empty() ? RunGrpcLoad(*golden, options)
                                           : RunHttpLoad(*golden, options);
  std::cout << (text ? report.ToText() : report.ToJson() + "\n") << std::flush;
  return report.failed + report.mismatched == 0 ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
