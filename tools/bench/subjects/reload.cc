// The bench of a reload: model A under steady load, and model B beside it reloaded again and again.
// tools/bench/reload starts the servers and calls this; README.md says how.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "tools/bench/subjects/rounds.h"
#include "tools/bench/subjects/steady_load.h"
#include "tools/load/client.h"
#include "tools/load/golden.h"
#include "tools/load/load.h"
#include "tools/millrace/admin_client.h"

namespace millrace {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr char kModelA[] = "breast_cancer";
constexpr char kModelB[] = "randhie_xgb";
constexpr int64_t kPatienceMs = 60'000;
constexpr int kWarmUpReloads = 60;
constexpr int64_t kFillMs = 40'000;
constexpr double kMostP99 = 1.05, kMostGrowth = 1.01;

struct Options {
  std::string millrace, admin, file, in_line, said, rows, expect, json_file;
  std::vector<std::string> contents;
  int in_line_pid = 0, say_fd = -1;
  int reloads = 200, periods = 20, pause_ms = 900;
  double rate_per_s = 1000;
};

// One server: how model B is reloaded there, and which processes it has.
struct Subject {
  std::string name, address;
  std::function<absl::Status(const std::string& content)> reload;
  std::function<std::map<std::string, int>()> processes;  // pid by name
};

struct Use {
  double resident_kb = 0;
  double descriptors = 0;
};

Use UseOf(int pid) {
  Use use;
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) use.resident_kb = atof(line.c_str() + 6);
  }
  std::error_code error;
  for (fs::directory_iterator at(absl::StrCat("/proc/", pid, "/fd"), error), end;
       !error && at != end; at.increment(error)) {
    ++use.descriptors;
  }
  return use;
}

struct Measured {
  std::vector<double> p50_ratios, p99_ratios;             // of a pair of periods
  std::vector<double> quiet_ms, reloading_ms, reload_ms;  // all of them
  int64_t failed = 0;
  std::map<std::string, std::pair<Use, Use>> use;  // before, after
  DriveResult load;
};

double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

class Bench {
 public:
  Bench(const Options& options, const Subject& subject, const GoldenSet& set)
      : options_(options),
        subject_(subject),
        load_(set, subject.address, options.rate_per_s, kPatienceMs) {}

  absl::StatusOr<Measured> Run() {
    const int each = std::max(options_.reloads / options_.periods, 1);
    if (absl::Status s = Reload(kWarmUpReloads); !s.ok()) return s;
    for (const auto& [name, pid] : subject_.processes()) measured_.use[name].first = UseOf(pid);
    measured_.reload_ms.clear();
    for (int i = 0; i < options_.periods; ++i) {
      std::vector<double> quiet, reloading;
      for (int turn = 0; turn < 2; ++turn) {
        const bool reloads = (turn + i) % 2 == 0;
        const int64_t from_ns = MonotonicNanos();
        if (reloads) {
          if (absl::Status s = Reload(each); !s.ok()) return s;
          last_ns_ = MonotonicNanos() - from_ns;
        } else {
          usleep(static_cast<useconds_t>((last_ns_ == 0 ? kNanosPerSecond : last_ns_) / 1000));
        }
        const int64_t to_ns = MonotonicNanos();
        usleep(50'000);  // what was sent has an answer
        Take(from_ns, to_ns, reloads ? &reloading : &quiet);
      }
      measured_.p50_ratios.push_back(Quantile(reloading, 0.5) / Quantile(quiet, 0.5));
      measured_.p99_ratios.push_back(Quantile(reloading, 0.99) / Quantile(quiet, 0.99));
      Append(quiet, &measured_.quiet_ms);
      Append(reloading, &measured_.reloading_ms);
    }
    for (const auto& [name, pid] : subject_.processes()) measured_.use[name].second = UseOf(pid);
    measured_.load = load_.Stop();
    return std::move(measured_);
  }

 private:
  static void Append(const std::vector<double>& from, std::vector<double>* to) {
    to->insert(to->end(), from.begin(), from.end());
  }

  absl::Status Reload(int times) {
    for (int i = 0; i < times; ++i) {
      const int64_t begin_ns = MonotonicNanos();
      const std::string& content = options_.contents[++reloads_ % options_.contents.size()];
      if (absl::Status s = subject_.reload(content); !s.ok()) return s;
      measured_.reload_ms.push_back(static_cast<double>(MonotonicNanos() - begin_ns) / 1e6);
      usleep(options_.pause_ms * 1000);
    }
    return absl::OkStatus();
  }

  void Take(int64_t from_ns, int64_t to_ns, std::vector<double>* ms) {
    for (const SteadyLoad::Answer& answer : load_.Between(from_ns, to_ns)) {
      ms->push_back(static_cast<double>(answer.took_ns) / 1e6);
      measured_.failed += answer.right ? 0 : 1;
    }
  }

  const Options& options_;
  const Subject& subject_;
  SteadyLoad load_;
  Measured measured_;
  size_t reloads_ = 0;
  int64_t last_ns_ = 0;
};

Subject Millrace(const Options& options) {
  const auto ask = [&options](const json& question) {
    return AskAdmin(options.admin, question, kPatienceMs);
  };
  struct There {
    std::string content, other;  // what the file has; where the other content lies
  };
  const auto there = std::make_shared<There>(
      There{options.contents[0], absl::StrCat(options.contents[1], ".other")});
  fs::copy_file(options.contents[1], there->other);
  const auto reload = [&options, ask, there](const std::string& content) -> absl::Status {
    // The other content takes the file's place; to copy it would be a load of this program's own.
    if (content != there->content) {
      if (renameat2(AT_FDCWD, there->other.c_str(), AT_FDCWD, options.file.c_str(),
                    RENAME_EXCHANGE) != 0) {
        return absl::ErrnoToStatus(errno, "cannot exchange the files");
      }
      there->content = content;
    }
    return ask({{"verb", "load"}, {"model", kModelB}}).status();
  };
  const auto processes = [ask] {
    std::map<std::string, int> pids;
    const absl::StatusOr<json> status = ask({{"verb", "status"}});
    if (!status.ok()) return pids;
    for (const json& process : status->at("processes")) pids[process["name"]] = process["pid"];
    return pids;
  };
  return {"millrace", options.millrace, reload, processes};
}

// Is told of a file by a line, and says a line when the model is swapped.
Subject InLine(const Options& options) {
  const auto lines = [&options] {
    std::ifstream said(options.said);
    return std::count(std::istreambuf_iterator<char>(said), {}, '\n');
  };
  const auto reload = [&options, lines](const std::string& content) -> absl::Status {
    const auto before = lines();
    const std::string line = absl::StrCat(kModelB, " ", content, "\n");
    if (write(options.say_fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      return absl::UnavailableError("the single process does not listen");
    }
    for (int64_t begin_ns = MonotonicNanos(); lines() == before; usleep(1000)) {
      if (MonotonicNanos() - begin_ns > kPatienceMs * kNanosPerMilli) {
        return absl::DeadlineExceededError("the single process did not reload");
      }
    }
    return absl::OkStatus();
  };
  return {"single process", options.in_line, reload, [&options] {
            return std::map<std::string, int>{{"grpc_in_line", options.in_line_pid}};
          }};
}

class Report {
 public:
  explicit Report(std::string subject) : subject_(std::move(subject)) {}

  void Print(const Options& options, const Measured& m) {
    std::cout << absl::StreamFormat(
        "%s: %d reloads of %s at %.0f requests/s of %s, %d periods of each kind, %d answers\n",
        subject_, m.reload_ms.size(), kModelB, options.rate_per_s, kModelA, m.p99_ratios.size(),
        m.quiet_ms.size() + m.reloading_ms.size());
    Row("a reload, median", "ms", Median(m.reload_ms));
    Row("p99 without reloads", "ms", Quantile(m.quiet_ms, 0.99));
    Row("p99 with reloads", "ms", Quantile(m.reloading_ms, 0.99));
    Row("p99.9 without reloads", "ms", Quantile(m.quiet_ms, 0.999));
    Row("p99.9 with reloads", "ms", Quantile(m.reloading_ms, 0.999));
    Row("p50, with / without, median of the pairs", "ratio", Median(m.p50_ratios));
    Row("p99, with / without, median of the pairs", "ratio", Median(m.p99_ratios), kMostP99);
    Row("p99, with / without, of all", "ratio",
        Quantile(m.reloading_ms, 0.99) / Quantile(m.quiet_ms, 0.99));
    Row("failed", "requests", static_cast<double>(m.failed + m.load.failed + m.load.mismatched), 0);
    Row("sent late by the generator", "requests", static_cast<double>(m.load.late));
    for (const auto& [name, use] : m.use) {
      Row(absl::StrCat("resident memory of ", name, ", before"), "KiB", use.first.resident_kb);
      Row(absl::StrCat("resident memory of ", name, ", after / before"), "ratio",
          use.second.resident_kb / std::max(use.first.resident_kb, 1.0), kMostGrowth);
      Row(absl::StrCat("descriptors of ", name, ", more"), "descriptors",
          use.second.descriptors - use.first.descriptors, 0);
    }
  }
  const json& rows() const { return rows_; }

 private:
  void Row(const std::string& metric, const char* unit, double value, double most = -1) {
    std::cout << absl::StreamFormat("  %-52s %12.3f %s", metric, value, unit);
    if (most >= 0) {
      std::cout << absl::StreamFormat("  (asked: <= %.2f)%s", most,
                                      value <= most ? "" : "  MISSED");
    }
    std::cout << "\n";
    rows_.push_back({{"case", "model B reloaded beside model A"},
                     {"subject", subject_},
                     {"metric", metric},
                     {"unit", unit},
                     {"value", value}});
  }

  const std::string subject_;
  json rows_ = json::array();
};

// What every server here answers.
Csv PredictionColumn(const Csv& expect) {
  Csv column;
  column.header = {"prediction"};
  for (size_t c = 0; c < expect.header.size(); ++c) {
    if (expect.header[c] != "prediction") continue;
    for (const auto& row : expect.rows) column.rows.push_back({row[c]});
  }
  return column;
}

absl::StatusOr<GoldenSet> MakeRequests(const Options& options) {
  const absl::StatusOr<Csv> rows = ReadCsv(options.rows);
  if (!rows.ok()) return rows.status();
  const absl::StatusOr<Csv> expect = ReadCsv(options.expect);
  if (!expect.ok()) return expect.status();
  const auto metadata = MakeGrpcClient(options.millrace, kPatienceMs)->Metadata(kModelA, "");
  if (!metadata.ok()) return metadata.status();
  const Csv answers = PredictionColumn(*expect);
  return MakeGolden(*metadata, *rows, &answers, 1);
}

// As much as it takes in: what keeps the last so many of something (traces, batches) is full then,
// and grows no more.
void Fill(const Subject& subject, const GoldenSet& set) {
  LoadOptions load;
  load.address = subject.address;
  load.in_flight = 32;
  load.channels = 4;
  load.duration_ms = kFillMs;
  RunGrpcLoad(set, load);
}

absl::StatusOr<json> RunAll(const Options& options) {
  const absl::StatusOr<GoldenSet> set = MakeRequests(options);
  if (!set.ok()) return set.status();
  json rows = json::array();
  for (const Subject& subject : {Millrace(options), InLine(options)}) {
    Fill(subject, *set);
    absl::StatusOr<Measured> measured = Bench(options, subject, *set).Run();
    if (!measured.ok()) return measured.status();
    Report report(subject.name);
    report.Print(options, *measured);
    rows.insert(rows.end(), report.rows().begin(), report.rows().end());
  }
  return rows;
}

int Main(int argc, char** argv) {
  CLI::App app("Reloads a model beside another; tools/bench/reload starts the servers.");
  Options options;
  app.add_option("--millrace", options.millrace, "Its gRPC address")->required();
  app.add_option("--admin", options.admin, "Its admin socket")->required();
  app.add_option("--file", options.file, "Of model B in its repository")->required();
  app.add_option("--in_line", options.in_line, "Address of the single process")->required();
  app.add_option("--in_line_pid", options.in_line_pid)->required();
  app.add_option("--say_fd", options.say_fd, "Its standard input")->required();
  app.add_option("--said", options.said, "File of its standard output")->required();
  app.add_option("--content", options.contents, "Two contents of model B; it has the first")
      ->required()
      ->expected(2);
  app.add_option("--rows", options.rows)->required();
  app.add_option("--expect", options.expect)->required();
  app.add_option("--json", options.json_file, "Write the figures there");
  app.add_option("--reloads", options.reloads)->check(CLI::PositiveNumber);
  app.add_option("--periods", options.periods)->check(CLI::PositiveNumber);
  app.add_option("--pause_ms", options.pause_ms, "After each reload");
  app.add_option("--rate", options.rate_per_s)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<json> rows = RunAll(options);
  if (!rows.ok()) {
    std::cerr << rows.status().message() << "\n";
    return 1;
  }
  if (options.json_file.empty()) return 0;
  std::ofstream file(options.json_file);
  file << rows->dump(1) << "\n";
  return file.good() ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
