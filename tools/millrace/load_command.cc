// `millrace load`: the load generator. tools/load/README.md has its page.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "tools/load/client.h"
#include "tools/load/driver.h"
#include "tools/load/generate.h"
#include "tools/load/golden.h"
#include "tools/load/progress.h"
#include "tools/load/report.h"
#include "tools/load/transport.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/load_options.h"
#include "tools/millrace/rows.h"

namespace millrace {
namespace {

constexpr char kDefaultGrpc[] = "127.0.0.1:8001";
constexpr int64_t kMetadataTimeoutMs = 10'000;
constexpr int kMostInFlight = 65'536;
constexpr double kMostPerSecond = 1e7;
// Of an open loop, where nothing else is said. Over HTTP each one is a connection.
constexpr int kGrpcOpenInFlight = 4096;
constexpr int kHttpOpenInFlight = 256;
constexpr int kLocalOpenInFlight = 128;
constexpr double kUsualWarmUpS = 1;
constexpr double kUsualDurationS = 10;

std::atomic<bool> stop = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler stores it");

struct LoadFlags {
  std::string model, version, grpc, http, local, rows_file, expect_file, json_file;
  std::string rates, in_flight, arrivals = "poisson";
  std::vector<std::string> shapes;
  std::optional<double> duration_s, warm_up_s;
  int64_t requests = 0, rows_per_request = 1, distinct = 64, deadline_ms = 10'000;
  int connections = 1, max_in_flight = 0, retries = 0;
  uint64_t seed = 42;
  double max_error_rate = 0;
  Identity identity;

  bool over_http() const { return !http.empty(); }
  bool is_local() const { return !local.empty(); }
  std::string address() const {
    if (is_local()) return local;
    if (over_http()) return http;
    return grpc.empty() ? kDefaultGrpc : grpc;
  }
};

int Refuse(int exit_code, const absl::Status& status) {
  std::cerr << "millrace load: " << status.message() << "\n";
  return exit_code;
}

// The model could not be asked: is there no server, or is the question wrong?
int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitLoadNoServer;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kInvalidArgument:
      return kExitLoadUsage;
    default:
      return kExitLoadErrors;
  }
}

// The points of the sweep, each with all that it needs but the requests.
absl::StatusOr<std::vector<DriveOptions>> Points(const LoadFlags& flags) {
  DriveOptions base;
  base.seed = flags.seed;
  base.requests = flags.requests;
  base.retries = flags.retries;
  base.stop = &stop;
  base.arrivals = flags.arrivals == "constant" ? ArrivalKind::kConstant : ArrivalKind::kPoisson;
  const bool by_count = flags.requests > 0;
  const auto nanos = [](double s) { return static_cast<int64_t>(s * kNanosPerSecond); };
  base.duration_ns = nanos(flags.duration_s.value_or(by_count ? 0 : kUsualDurationS));
  base.warm_up_ns = nanos(flags.warm_up_s.value_or(by_count ? 0 : kUsualWarmUpS));
  std::vector<DriveOptions> points;
  if (flags.rates.empty()) {
    const auto counts =
        ParseCounts("--in-flight", flags.in_flight.empty() ? "1" : flags.in_flight, kMostInFlight);
    if (!counts.ok()) return counts.status();
    for (const int count : *counts) {
      points.push_back(base);
      points.back().in_flight = count;
    }
    return points;
  }
  const auto rates = ParseNumbers("--rate", flags.rates, kMostPerSecond);
  if (!rates.ok()) return rates.status();
  for (const double rate : *rates) {
    points.push_back(base);
    points.back().rate_per_s = rate;
    points.back().in_flight = flags.max_in_flight > 0 ? flags.max_in_flight
                              : flags.is_local()      ? kLocalOpenInFlight
                              : flags.over_http()     ? kHttpOpenInFlight
                                                      : kGrpcOpenInFlight;
  }
  return points;
}

// Files are read before the server is asked: a wrong name need not wait for it.
struct Files {
  std::optional<Csv> rows, expect;
};

absl::StatusOr<Files> ReadFiles(const LoadFlags& flags) {
  Files files;
  if (!flags.rows_file.empty()) {
    absl::StatusOr<Csv> rows = ReadRows(flags.rows_file);
    if (!rows.ok()) return rows.status();
    files.rows = std::move(*rows);
  }
  if (!flags.expect_file.empty()) {
    absl::StatusOr<Csv> expect = ReadCsv(flags.expect_file);
    if (!expect.ok()) return expect.status();
    files.expect = std::move(*expect);
  }
  return files;
}

absl::StatusOr<GoldenSet> MakeRequests(const LoadFlags& flags, const Files& files,
                                       const inference::ModelMetadataResponse& metadata) {
  GenerateOptions made_up;
  made_up.rows = flags.rows_per_request;
  made_up.distinct = flags.distinct;
  made_up.seed = flags.seed;
  const auto shapes = ParseShapes(flags.shapes);
  if (!shapes.ok()) return shapes.status();
  made_up.shapes = *shapes;
  absl::StatusOr<GoldenSet> set =
      files.rows ? MakeGolden(metadata, *files.rows, files.expect ? &*files.expect : nullptr,
                              static_cast<size_t>(flags.rows_per_request))
                 : GenerateRequests(metadata, made_up);
  if (!set.ok()) return set;
  for (GoldenRequest& golden : set->requests) {
    golden.request.set_model_name(flags.model);
    golden.request.set_model_version(flags.version);
  }
  return set;
}

absl::StatusOr<std::unique_ptr<Transport>> Connect(const LoadFlags& flags,
                                                   const DriveOptions& drive,
                                                   const GoldenSet& set) {
  TransportOptions options;
  options.address = flags.address();
  options.connections = flags.connections;
  options.deadline_ms = flags.deadline_ms;
  options.open_loop = drive.rate_per_s > 0;
  options.identity = flags.identity;
  if (flags.is_local()) return MakeLocalTransport(set, options, drive.in_flight);
  if (flags.over_http()) return MakeHttpTransport(set, options, drive.in_flight);
  return MakeGrpcTransport(set, options, drive.in_flight);
}

absl::Status RunPoints(const LoadFlags& flags, const std::vector<DriveOptions>& points,
                       const GoldenSet& set, LoadRun* run) {
  MonotonicClock clock;
  ProgressBar bar(STDERR_FILENO);
  for (const DriveOptions& drive : points) {
    LoadPoint point;
    point.rate_per_s = drive.rate_per_s;
    point.in_flight = drive.in_flight;
    const auto transport = Connect(flags, drive, set);
    if (!transport.ok()) return transport.status();
    DriveWatch watch;
    watch.progress = [&](const DriveProgress& progress) { bar.Show(point.Name(), progress); };
    point.result = Drive(transport->get(), &clock, set.requests.size(), drive, watch);
    run->points.push_back(point);
    if (point.result.stopped) break;
  }
  return absl::OkStatus();
}

LoadRun Describe(const LoadFlags& flags) {
  LoadRun run;
  run.model = flags.model;
  run.protocol = flags.is_local() ? "local" : flags.over_http() ? "HTTP" : "gRPC";
  run.address = flags.address();
  run.arrivals = flags.arrivals;
  run.seed = flags.seed;
  run.connections = flags.connections;
  run.deadline_ms = flags.deadline_ms;
  run.rows_per_request = flags.rows_per_request;
  run.generated = flags.rows_file.empty();
  run.compared = !flags.expect_file.empty();
  return run;
}

// With `--json -` stdout holds the JSON alone.
absl::Status Tell(const LoadFlags& flags, const LoadRun& run) {
  const bool json_only = flags.json_file == "-";
  if (!json_only) std::cout << RenderLoad(run) << std::flush;
  if (flags.json_file.empty()) return absl::OkStatus();
  const std::string json =
      LoadJson(run).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (json_only) {
    std::cout << json << std::flush;
    return absl::OkStatus();
  }
  std::ofstream file(flags.json_file);
  file << json << std::flush;
  if (file.good()) return absl::OkStatus();
  return absl::InvalidArgumentError(flags.json_file + ": cannot be written");
}

int Load(const LoadFlags& flags) {
  const auto points = Points(flags);
  if (!points.ok()) return Refuse(kExitLoadUsage, points.status());
  if (const absl::Status status = CheckIdentity(flags.identity); !status.ok()) {
    return Refuse(kExitLoadUsage, status);
  }
  const absl::StatusOr<Files> files = ReadFiles(flags);
  if (!files.ok()) return Refuse(kExitLoadUsage, files.status());
  const auto client = flags.is_local() ? MakeLocalClient(flags.address(), kMetadataTimeoutMs)
                      : flags.over_http()
                          ? MakeHttpClient(flags.address(), kMetadataTimeoutMs, flags.identity)
                          : MakeGrpcClient(flags.address(), kMetadataTimeoutMs, flags.identity);
  const auto metadata = client->Metadata(flags.model, flags.version);
  if (!metadata.ok()) return Refuse(ExitCodeOf(metadata.status()), metadata.status());
  const absl::StatusOr<GoldenSet> set = MakeRequests(flags, *files, *metadata);
  if (!set.ok()) return Refuse(kExitLoadUsage, set.status());
  for (const int number : {SIGINT, SIGTERM}) {
    // relaxed: a flag that nothing else depends on.
    signal(number, [](int) { stop.store(true, std::memory_order_relaxed); });
  }
  LoadRun run = Describe(flags);
  absl::Status status = RunPoints(flags, *points, *set, &run);
  if (status.ok()) status = Tell(flags, run);
  if (!status.ok()) return Refuse(kExitLoadUsage, status);
  return LoadIsGood(run, flags.max_error_rate) ? kExitGood : kExitLoadErrors;
}

void AddWhat(CLI::App* load, LoadFlags* flags) {
  load->add_option("model", flags->model)->required();
  auto* grpc =
      load->add_option("--grpc", flags->grpc, "Server, host:port or unix:/path [127.0.0.1:8001]");
  auto* http = load->add_option("--http", flags->http, "Server's HTTP address, to ask in JSON");
  http->excludes(grpc);
  load->add_option("--local", flags->local,
                   "Server's local socket, unix:/path, to share memory with it")
      ->excludes(grpc)
      ->excludes(http);
  AddIdentityFlags(load, &flags->identity);
  load->add_option("--version", flags->version, "Of the model; else the latest");
  auto* rows = load->add_option("--rows", flags->rows_file,
                                "CSV or JSON of rows; without it requests are made up from the "
                                "model's metadata");
  load->add_option("--expect", flags->expect_file, "CSV of the outputs that must come back")
      ->needs(rows);
  load->add_option("--rows-per-request", flags->rows_per_request)
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  load->add_option("--shape", flags->shapes, "NAME:SIZE,SIZE... of an input that is made up")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->excludes(rows);
  load->add_option("--distinct", flags->distinct, "So many different requests are made up")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  load->add_option("--connections", flags->connections,
                   "Over gRPC; over HTTP each request in flight has one")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->excludes(http);
}

void AddHow(CLI::App* load, LoadFlags* flags) {
  auto* in_flight = load->add_option("--in-flight", flags->in_flight,
                                     "Closed loop: so many at all times; N,N,... one after the "
                                     "other [1]");
  auto* rate = load->add_option("--rate", flags->rates,
                                "Open loop: so many a second, however slow the server is; R,R,... "
                                "one after the other");
  rate->excludes(in_flight);
  load->add_option("--arrivals", flags->arrivals, "Clock of the open loop: poisson or constant")
      ->check(CLI::IsMember({"poisson", "constant"}))
      ->capture_default_str();
  load->add_option(
          "--max-in-flight", flags->max_in_flight,
          "Open loop: what is due beyond is held back, and counted [4096, HTTP 256, local 128]")
      ->check(CLI::Range(1, kMostInFlight))
      ->needs(rate);
  load->add_option("--duration", flags->duration_s, "Seconds [10; with --requests no limit]")
      ->check(CLI::Range(0.001, 1e6));
  load->add_option("--requests", flags->requests, "Stop after so many")->check(CLI::PositiveNumber);
  load->add_option("--warm-up", flags->warm_up_s,
                   "Seconds of load before, not measured [1; with --requests 0]")
      ->check(CLI::Range(0.0, 1e6));
  load->add_option("--deadline-ms", flags->deadline_ms, "Of each request")
      ->check(CLI::Range(1, 86'400'000))
      ->capture_default_str();
  load->add_option("--retries", flags->retries,
                   "Of a request that found no server, or one not ready")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  load->add_option("--seed", flags->seed, "Of arrivals and of requests that are made up")
      ->capture_default_str();
  load->add_option("--max-error-rate", flags->max_error_rate,
                   "Share that may fail, be answered wrongly or never be sent, 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  load->add_option("--json", flags->json_file, "Write the figures there too; -: to stdout alone");
}

}  // namespace

void AddLoad(CLI::App* app, int* exit_code) {
  auto flags = std::make_shared<LoadFlags>();
  CLI::App* load = app->add_subcommand(
      "load",
      "Load a model and measure what comes back. Exit code 0: all answered as expected; 1: errors "
      "beyond --max-error-rate; 2: usage; 3: no server");
  AddWhat(load, flags.get());
  AddHow(load, flags.get());
  load->callback([=] { *exit_code = Load(*flags); });
}

}  // namespace millrace
