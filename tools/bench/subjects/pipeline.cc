// The bench's driver: one row over gRPC to Millrace and to what stands beside it, at several loads.
// tools/bench/pipeline starts the subjects and calls this; README.md says what is measured.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "tools/bench/subjects/foreign_time.h"
#include "tools/bench/subjects/paused_server.h"
#include "tools/bench/subjects/pipeline_targets.h"
#include "tools/bench/subjects/rounds.h"
#include "tools/load/client.h"

namespace millrace {
namespace {

using nlohmann::json;

// The demo's model, and one that costs nothing: what is left is the way there and back.
constexpr char kDemo[] = "breast_cancer";
constexpr char kNothing[] = "nothing";
constexpr char kNothingAnswers[] = "0.25";
// One that goes through all four stages: a feature view, two members, aggregation.
constexpr char kFourStages[] = "randhie";
constexpr int kInFlight[] = {1, 32, 128};
constexpr int kPeersInFlight = 32;  // at most, for servers that are slower by far
constexpr int kChannels = 4;        // connections, where there are that many requests

struct Options {
  std::string millrace, local, grpc_echo, grpc_in_line, grpc_xgboost;  // addresses
  std::string triton, mlserver, unobserved;                            // empty: not there
  std::string golden, json_file;    // golden: the folder of a folder for each model
  int pid = 0, unobserved_pid = 0;  // of the two Millraces; 0: there is one, which is never stopped
  int rounds = 9;
  int64_t round_ms = 300, settle_ms = 3000;
};

using Load = LoadReport (*)(const GoldenSet&, const LoadOptions&);

struct Server {
  std::string name, address;
  Load run = &RunGrpcLoad;
  bool echoes = false;       // its answers are no predictions
  bool peer = false;         // serves the demo's model alone
  bool unobserved = false;   // as a peer, and at every load
  bool four_stages = false;  // is asked for kFourStages, where the others are asked for kDemo
  int pauses = 0;            // the server's pid that holds still meanwhile; 0: none
};

std::vector<Server> Servers(const Options& options) {
  std::vector<Server> servers = {
      {.name = "millrace", .address = options.millrace},
      {.name = "millrace_local", .address = options.local, .run = &RunLocalLoad},
      {.name = "millrace_local_4_stages",
       .address = options.local,
       .run = &RunLocalLoad,
       .four_stages = true},
      {.name = "millrace_stream", .address = options.millrace, .run = &RunGrpcStreamLoad},
      {.name = "grpc_echo", .address = options.grpc_echo, .echoes = true},
      {.name = "grpc_in_line", .address = options.grpc_in_line},
      {.name = "grpc_xgboost", .address = options.grpc_xgboost}};
  if (!options.unobserved.empty()) {
    for (Server& server : servers) server.pauses = options.unobserved_pid;
    servers.insert(servers.begin() + 1, {.name = "unobserved",
                                         .address = options.unobserved,
                                         .unobserved = true,
                                         .pauses = options.pid});
  }
  if (!options.triton.empty()) {
    servers.push_back({.name = "triton", .address = options.triton, .peer = true});
  }
  if (!options.mlserver.empty()) {
    servers.push_back({.name = "mlserver", .address = options.mlserver, .peer = true});
  }
  return servers;
}

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

// For each model its rows, with their answers.
absl::StatusOr<std::map<std::string, GoldenSet>> MakeRequests(const Options& options,
                                                              Client* client) {
  struct Source {
    const char *model, *rows, *expect;
  };
  const Source sources[] = {{kDemo, "breast_cancer/rows.csv", "breast_cancer/expect.csv"},
                            {kNothing, "breast_cancer/rows.csv", "breast_cancer/expect.csv"},
                            {kFourStages, "randhie/raw.csv", "randhie/raw_expect.csv"}};
  std::map<std::string, GoldenSet> sets;
  for (const Source& source : sources) {
    const absl::StatusOr<Csv> rows = ReadCsv(absl::StrCat(options.golden, "/", source.rows));
    if (!rows.ok()) return rows.status();
    const absl::StatusOr<Csv> expect = ReadCsv(absl::StrCat(options.golden, "/", source.expect));
    if (!expect.ok()) return expect.status();
    const auto metadata = client->Metadata(source.model, "");
    if (!metadata.ok()) return metadata.status();
    Csv answers = PredictionColumn(*expect);
    if (source.model == std::string_view(kNothing)) {
      for (auto& row : answers.rows) row[0] = kNothingAnswers;
    }
    absl::StatusOr<GoldenSet> set = MakeGolden(*metadata, *rows, &answers, 1);
    if (!set.ok()) return set.status();
    sets[source.model] = std::move(*set);
  }
  return sets;
}

// Every golden row once: all answers bit-equal.
absl::Status CheckAnswers(const Server& server, const GoldenSet& set) {
  LoadOptions options;
  options.address = server.address;
  options.duration_ms = 0;
  options.requests = static_cast<int64_t>(set.requests.size());
  const LoadReport report = server.run(set, options);
  if (report.answered == options.requests) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(server.name, " does not give the golden answers: ", report.ToJson()));
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

void Print(const std::string& name, const std::vector<Figures>& all) {
  std::cout << absl::StreamFormat("\n%-36s %12s %12s %14s\n", name, "p50 us", "p99 us",
                                  "requests/s");
  for (const Figures& figures : all) {
    std::cout << absl::StreamFormat("  %-34s %12.1f %12.1f %14.0f\n", figures.subject,
                                    figures.p50_us, figures.p99_us, figures.requests_per_s);
  }
}

void AddRows(const std::string& name, const Figures& figures, json* rows) {
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
}

// What is measured of each server in one visit.
struct Case {
  const char* model;
  int in_flight;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const char* model : {kDemo, kNothing}) {
    for (const int in_flight : kInFlight) cases.push_back({model, in_flight});
  }
  return cases;
}

bool TakesPart(const Server& server, const Case& c) {
  if ((server.four_stages || server.unobserved) && c.model != kDemo) return false;
  return !server.peer || (c.model == kDemo && c.in_flight <= kPeersInFlight);
}

LoadOptions LoadOf(const Server& server, int in_flight, int64_t duration_ms) {
  LoadOptions load;
  load.address = server.address;
  load.in_flight = in_flight;
  load.channels = std::min(in_flight, kChannels);
  load.duration_ms = duration_ms;
  return load;
}

// What a server is asked in a case.
GoldenSet SetFor(const Server& server, const Case& c,
                 const std::map<std::string, GoldenSet>& sets) {
  GoldenSet set = sets.at(server.four_stages ? kFourStages : c.model);
  if (server.echoes) {
    for (GoldenRequest& golden : set.requests) golden.expected.clear();
  }
  return set;
}

// A load that others had no part in: with more of the machine in their hands than kForeignShare it
// is made again, at most kAgain times.
class Undisturbed {
 public:
  LoadReport Run(const std::function<LoadReport()>& load) {
    for (int again = 0;; ++again) {
      foreign_.TakeSeconds();
      const int64_t begin_ns = MonotonicNanos();
      LoadReport report = load();
      const double seconds = static_cast<double>(MonotonicNanos() - begin_ns) / kNanosPerSecond;
      const double cores = static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
      if (foreign_.TakeSeconds() <= kForeignShare * seconds * cores) return report;
      if (again == kAgain) {
        ++disturbed_;
        return report;
      }
      ++repeated_;
    }
  }
  int repeated() const { return repeated_; }
  int disturbed() const { return disturbed_; }

 private:
  static constexpr double kForeignShare = 0.02;
  static constexpr int kAgain = 10;

  ForeignTime foreign_{getppid()};  // the script that started all subjects
  int repeated_ = 0, disturbed_ = 0;
};

Subject SubjectOf(const Server& server, const Options& options, const std::vector<Case>& cases,
                  const std::map<std::string, GoldenSet>& sets, Undisturbed* undisturbed) {
  Subject subject;
  subject.name = server.name;
  for (const Case& c : cases) {
    subject.cases.emplace_back();
    if (!TakesPart(server, c)) continue;
    subject.cases.back() = [run = server.run, set = SetFor(server, c, sets), undisturbed,
                            load = LoadOf(server, c.in_flight, options.round_ms)] {
      return undisturbed->Run([&] { return run(set, load); });
    };
  }
  subject.settle = [run = server.run, set = SetFor(server, cases[0], sets), pauses = server.pauses,
                    load = LoadOf(server, kInFlight[0], options.settle_ms)] {
    if (pauses != 0) PausedServer(pauses).Pause();
    run(set, load);
  };
  if (server.pauses != 0) {
    subject.leave = [pauses = server.pauses] { PausedServer(pauses).Resume(); };
  }
  return subject;
}

absl::Status Check(const Options& options, const std::vector<Server>& servers,
                   const std::map<std::string, GoldenSet>& sets) {
  for (const Server& server : servers) {
    for (const auto& [model, set] : sets) {
      if (server.echoes || ((server.peer || server.unobserved) && model != kDemo)) continue;
      if (server.four_stages != (model == kFourStages)) continue;
      if (absl::Status status = CheckAnswers(server, set); !status.ok()) return status;
    }
  }
  return CheckSizes(options, sets.at(kDemo));
}

int Run(const Options& options) {
  const auto client = MakeGrpcClient(options.millrace, 10'000);
  const auto sets = MakeRequests(options, client.get());
  const std::vector<Server> servers = Servers(options);
  const absl::Status status = sets.ok() ? Check(options, servers, *sets) : sets.status();
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
    return 1;
  }
  std::cout << "pipeline: one row a request; medians of " << options.rounds
            << " interleaved rounds of " << options.round_ms << " ms\n"
            << CpuName() << ", " << sysconf(_SC_NPROCESSORS_ONLN) << " CPUs\n";
  const std::vector<Case> cases = Cases();
  Undisturbed undisturbed;
  std::vector<Subject> subjects;
  for (const Server& server : servers) {
    subjects.push_back(SubjectOf(server, options, cases, *sets, &undisturbed));
  }
  const std::vector<std::vector<Figures>> all = RunRounds(subjects, options.rounds);
  if (undisturbed.repeated() > 0) {
    std::cout << "other programs ran: " << undisturbed.repeated() << " loads were made again, "
              << undisturbed.disturbed() << " were kept nevertheless\n";
  }
  json rows = json::array();
  std::vector<CaseFigures> figures;
  int64_t failed = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const std::string name = absl::StrCat(c.model, ", 1 row, ", c.in_flight, " in flight");
    figures.push_back({c.model == kNothing, c.in_flight, all[i]});
    Print(name, all[i]);
    for (const Figures& of : all[i]) {
      AddRows(name, of, &rows);
      failed += of.failed;
    }
  }
  PrintTargets(figures);
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
  app.add_option("--local", options.local, "Its local socket")->required();
  app.add_option("--grpc_echo", options.grpc_echo)->required();
  app.add_option("--grpc_in_line", options.grpc_in_line)->required();
  app.add_option("--grpc_xgboost", options.grpc_xgboost)->required();
  app.add_option("--triton", options.triton);
  app.add_option("--mlserver", options.mlserver);
  app.add_option("--unobserved", options.unobserved, "Millrace without observer and traces");
  app.add_option("--pid", options.pid, "Leader of Millrace's session, to stop it in turns");
  app.add_option("--unobserved_pid", options.unobserved_pid, "Likewise of the unobserved one");
  app.add_option("--golden", options.golden, "Folder of the demo's golden files")->required();
  app.add_option("--json", options.json_file, "Write the figures there too");
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_option("--round_ms", options.round_ms)->check(CLI::PositiveNumber);
  app.add_option("--settle_ms", options.settle_ms, "Load before the rounds of a visit")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return Run(options);
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
