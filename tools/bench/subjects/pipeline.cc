// The bench's driver: one row of breast_cancer over gRPC to Millrace and to what stands beside it.
// tools/bench/pipeline starts the subjects and calls this; README.md says what is measured.
#include <stdio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/bench/subjects/rounds.h"
#include "tools/load/client.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr char kModel[] = "breast_cancer";
constexpr int kInFlight[] = {1, 32};
constexpr int kChannels = 4;  // connections, where there are that many requests

struct Options {
  std::string millrace, grpc_echo, grpc_xgboost;  // addresses
  std::string rows_file, expect_file, json_file;
  int rounds = 25;
  int64_t round_ms = 300;
};

// Only the prediction: the answer that all subjects can give.
Csv PredictionColumn(const Csv& expect) {
  Csv column;
  column.header = {"prediction"};
  for (size_t c = 0; c < expect.header.size(); ++c) {
    if (expect.header[c] != "prediction") continue;
    for (const auto& row : expect.rows) column.rows.push_back({row[c]});
  }
  return column;
}

absl::StatusOr<GoldenSet> MakeRequests(const Options& options, Client* client) {
  const absl::StatusOr<Csv> rows = ReadCsv(options.rows_file);
  if (!rows.ok()) return rows.status();
  const absl::StatusOr<Csv> expect = ReadCsv(options.expect_file);
  if (!expect.ok()) return expect.status();
  const auto metadata = client->Metadata(kModel, "");
  if (!metadata.ok()) return metadata.status();
  const Csv predictions = PredictionColumn(*expect);
  return MakeGolden(*metadata, *rows, &predictions, 1);
}

// Every golden row once: all answers bit-equal.
absl::Status CheckAnswers(const std::string& name, const std::string& address,
                          const GoldenSet& set) {
  LoadOptions options;
  options.address = address;
  options.duration_ms = 0;
  options.requests = static_cast<int64_t>(set.requests.size());
  const LoadReport report = RunGrpcLoad(set, options);
  if (report.answered == options.requests) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(name, " does not give the golden answers: ", report.ToJson()));
}

// The echo is of the same payload sizes, or it is no measure.
absl::Status CheckSizes(const Options& options, const GoldenSet& set) {
  size_t sizes[2];
  const std::string* addresses[] = {&options.millrace, &options.grpc_echo};
  for (int i = 0; i < 2; ++i) {
    const auto answer = MakeGrpcClient(*addresses[i], 10'000)->Infer(set.requests[0].request);
    if (!answer.ok()) return answer.status();
    sizes[i] = answer->ByteSizeLong();
  }
  if (sizes[0] == sizes[1]) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("Millrace answers in ", sizes[0], " bytes, the echo in ", sizes[1]));
}

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

// Adds the figures of one case to `rows`, and prints them.
int64_t Report(int in_flight, const std::vector<Figures>& all, json* rows) {
  const std::string name = absl::StrCat(kModel, ", 1 row, ", in_flight, " in flight");
  std::cout << absl::StreamFormat("\n%-36s %12s %12s %14s\n", name, "p50 us", "p99 us",
                                  "requests/s");
  int64_t failed = 0;
  for (const Figures& figures : all) {
    std::cout << absl::StreamFormat("  %-34s %12.1f %12.1f %14.0f\n", figures.subject,
                                    figures.p50_us, figures.p99_us, figures.requests_per_s);
    const auto add = [&](const char* metric, const char* unit, double value) {
      rows->push_back({{"case", name},
                       {"subject", figures.subject},
                       {"metric", metric},
                       {"unit", unit},
                       {"value", value}});
    };
    add("p50", "us", figures.p50_us);
    add("p99", "us", figures.p99_us);
    add("throughput", "requests/s", figures.requests_per_s);
    failed += figures.failed;
  }
  return failed;
}

LoadOptions RoundOptions(const Options& options, const std::string& address, int in_flight) {
  LoadOptions load;
  load.address = address;
  load.in_flight = in_flight;
  load.channels = std::min(in_flight, kChannels);
  load.duration_ms = options.round_ms;
  return load;
}

int Run(const Options& options) {
  const auto client = MakeGrpcClient(options.millrace, 10'000);
  const absl::StatusOr<GoldenSet> set = MakeRequests(options, client.get());
  absl::Status status = set.status();
  if (status.ok()) status = CheckAnswers("millrace", options.millrace, *set);
  if (status.ok()) status = CheckAnswers("grpc_xgboost", options.grpc_xgboost, *set);
  if (status.ok()) status = CheckSizes(options, *set);
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
    return 1;
  }
  GoldenSet unchecked = *set;  // for the echo, whose answers are not predictions
  for (GoldenRequest& golden : unchecked.requests) golden.expected.clear();
  std::cout << "pipeline: medians of " << options.rounds << " interleaved rounds of "
            << options.round_ms << " ms\n"
            << CpuName() << ", " << sysconf(_SC_NPROCESSORS_ONLN) << " CPUs\n";
  json rows = json::array();
  int64_t failed = 0;
  for (const int in_flight : kInFlight) {
    const auto subject = [&](const char* name, const std::string& address, const GoldenSet& of) {
      return Subject{name, [load = RoundOptions(options, address, in_flight), &of] {
                       return RunGrpcLoad(of, load);
                     }};
    };
    const std::vector<Subject> subjects = {subject("millrace", options.millrace, *set),
                                           subject("grpc_echo", options.grpc_echo, unchecked),
                                           subject("grpc_xgboost", options.grpc_xgboost, *set)};
    failed += Report(in_flight, RunRounds(subjects, options.rounds), &rows);
  }
  if (!options.json_file.empty()) {
    std::ofstream file(options.json_file);
    file << rows.dump(1) << "\n";
    if (!file.good()) {
      std::cerr << options.json_file << ": cannot be written\n";
      return 1;
    }
  }
  if (failed > 0) std::cerr << failed << " requests failed or had another answer\n";
  return failed == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("Compares running servers; tools/bench/pipeline starts them.");
  Options options;
  app.add_option("--millrace", options.millrace, "Its gRPC address")->required();
  app.add_option("--grpc_echo", options.grpc_echo)->required();
  app.add_option("--grpc_xgboost", options.grpc_xgboost)->required();
  app.add_option("--rows", options.rows_file)->required();
  app.add_option("--expect", options.expect_file)->required();
  app.add_option("--json", options.json_file, "Write the figures there too");
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_option("--round_ms", options.round_ms)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return Run(options);
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
