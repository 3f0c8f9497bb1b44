// Sends golden requests to a running server and compares every answer. See README.md.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "common/api/inference.grpc.pb.h"
#include "tools/load/grpc_load.h"

namespace millrace {
namespace {

absl::StatusOr<inference::ModelMetadataResponse> FetchMetadata(const std::string& address,
                                                               const std::string& model) {
  auto stub = inference::GRPCInferenceService::NewStub(
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  context.set_wait_for_ready(true);
  inference::ModelMetadataRequest request;
  request.set_name(model);
  inference::ModelMetadataResponse response;
  const grpc::Status status = stub->ModelMetadata(&context, request, &response);
  if (status.ok()) return response;
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

int Fail(const absl::Status& status) {
  std::cerr << status.message() << "\n";
  return 2;
}

int Main(int argc, char** argv) {
  CLI::App app("Load of golden requests over gRPC, every answer compared bit for bit.");
  LoadOptions options;
  std::string model, rows_file, expect_file;
  size_t rows_per_request = 1;
  app.add_option("--grpc", options.address, "Server: host:port or unix:/path")->required();
  app.add_option("--model", model)->required();
  app.add_option("--rows", rows_file, "CSV of rows, or of named raw columns")->required();
  app.add_option("--expect", expect_file, "CSV of the outputs that must come back");
  app.add_option("--rows_per_request", rows_per_request)->check(CLI::PositiveNumber);
  app.add_option("--in_flight", options.in_flight)->check(CLI::PositiveNumber);
  app.add_option("--channels", options.channels, "Connections")->check(CLI::PositiveNumber);
  app.add_option("--requests", options.requests, "Stop after so many");
  app.add_option("--duration_ms", options.duration_ms, "Stop after so long; 0: by count");
  app.add_option("--deadline_ms", options.deadline_ms);
  app.add_option("--retries", options.retries, "Of a request that failed UNAVAILABLE");
  CLI11_PARSE(app, argc, argv);
  absl::StatusOr<Csv> rows = ReadCsv(rows_file);
  if (!rows.ok()) return Fail(rows.status());
  absl::StatusOr<Csv> expect = expect_file.empty() ? Csv() : ReadCsv(expect_file);
  if (!expect.ok()) return Fail(expect.status());
  auto metadata = FetchMetadata(options.address, model);
  if (!metadata.ok()) return Fail(metadata.status());
  auto golden =
      MakeGolden(*metadata, *rows, expect_file.empty() ? nullptr : &*expect, rows_per_request);
  if (!golden.ok()) return Fail(golden.status());
  const LoadReport report = RunGrpcLoad(*golden, options);
  std::cout << report.ToJson() << std::endl;
  return report.failed + report.mismatched == 0 ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
