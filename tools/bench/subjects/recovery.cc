// The bench of a recovery: from the SIGKILL of the one execution worker, under steady load, to the
// next answer. tools/bench/recovery starts the servers and calls this; README.md says how.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "tools/bench/subjects/rounds.h"
#include "tools/load/client.h"
#include "tools/load/golden.h"
#include "tools/load/transport.h"
#include "tools/millrace/admin_client.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr char kModel[] = "breast_cancer";
constexpr int64_t kPatienceMs = 60'000;
// From a restored server to the next kill.
constexpr int kLeastPauseMs = 60, kMostPauseMs = 160;

struct Options {
  std::string grpc, admin, rows_file, expect_file, json_file;
  int kills = 41;
  int in_flight = 8;
  int spare = 0;
};

struct Answer {
  int64_t sent_ns = 0, done_ns = 0;
  bool right = false;
};

// So many requests in flight without pause, from a thread of its own; every answer is kept.
class Steady {
 public:
  Steady(const GoldenSet& set, const std::string& address, int in_flight)
      : set_(set), in_flight_(in_flight) {
    TransportOptions options;
    options.address = address;
    options.deadline_ms = kPatienceMs;
    transport_ = MakeGrpcTransport(set, options, in_flight);
    thread_ = std::thread([this] { Run(); });
  }
  ~Steady() {
    stop_ = true;
    thread_.join();
  }

  size_t count() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return answers_.size();
  }
  std::vector<Answer> Since(size_t from) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return {answers_.begin() + static_cast<std::ptrdiff_t>(from), answers_.end()};
  }

 private:
  void Run() {
    std::vector<int64_t> sent_ns(in_flight_);
    const auto send = [&](int slot) {
      sent_ns[slot] = MonotonicNanos();
      transport_->Send(slot, next_++ % set_.requests.size(), false);
    };
    for (int slot = 0; slot < in_flight_; ++slot) send(slot);
    for (int busy = in_flight_; busy > 0;) {
      const std::optional<Done> done = transport_->Wait(MonotonicNanos() + kNanosPerSecond);
      if (!done.has_value()) continue;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        const bool right = done->outcome == Outcome::kExpected;
        answers_.push_back({sent_ns[done->slot], done->done_ns, right});
      }
      if (stop_) {
        --busy;
      } else {
        send(done->slot);
      }
    }
  }

  const GoldenSet& set_;
  const int in_flight_;
  std::unique_ptr<Transport> transport_;
  std::mutex mutex_;
  std::vector<Answer> answers_;
  size_t next_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

struct Recovery {
  std::vector<double> roster_ms;   // from the kill to the roster without the dead
  std::vector<double> next_ms;     // to the first answer of a request that was sent after the kill
  std::vector<double> touched_ms;  // of requests in flight at the kill or sent before that answer
  std::vector<double> undisturbed_ms;
  int64_t wrong = 0;
};

absl::StatusOr<json> Status(const Options& options) {
  return AskAdmin(options.admin, {{"verb", "status"}}, kPatienceMs);
}

// The worker's pid, once it serves and every spare is warm.
absl::StatusOr<pid_t> Restored(const Options& options) {
  const int64_t until = MonotonicNanos() + kPatienceMs * kNanosPerMilli;
  while (MonotonicNanos() < until) {
    const absl::StatusOr<json> status = Status(options);
    if (!status.ok()) return status.status();
    pid_t worker = 0;
    int spares = 0;
    for (const json& process : (*status)["processes"]) {
      if (process["name"] == "execution0" && process["state"] == "ready") worker = process["pid"];
      spares += process["state"] == "spare" ? 1 : 0;
    }
    if (worker != 0 && spares == options.spare) return worker;
    usleep(5'000);
  }
  return absl::DeadlineExceededError("the server was not itself again in time");
}

// Kills the worker and waits for an answer to what was asked after that.
absl::Status KillOne(const Options& options, pid_t worker, Steady* load, Recovery* recovery) {
  const size_t before = load->count();
  const int64_t kill_ns = MonotonicNanos();
  kill(worker, SIGKILL);
  const int64_t killed_ns = MonotonicNanos();
  int64_t next_ns = 0;
  while (next_ns == 0) {
    usleep(200);
    for (const Answer& answer : load->Since(before)) {
      if (answer.sent_ns <= killed_ns || !answer.right) continue;
      next_ns = next_ns == 0 ? answer.done_ns : std::min(next_ns, answer.done_ns);
    }
    if (MonotonicNanos() - kill_ns > kPatienceMs * kNanosPerMilli) {
      return absl::DeadlineExceededError("no answer after a kill");
    }
  }
  usleep(50'000);  // what was touched has an answer, too
  for (const Answer& answer : load->Since(before)) {
    recovery->wrong += answer.right ? 0 : 1;
    if (answer.done_ns < kill_ns || answer.sent_ns > next_ns) continue;
    recovery->touched_ms.push_back(static_cast<double>(answer.done_ns - answer.sent_ns) / 1e6);
  }
  recovery->next_ms.push_back(static_cast<double>(next_ns - kill_ns) / 1e6);
  const absl::StatusOr<json> after = Status(options);
  if (!after.ok()) return after.status();
  const auto seen_ns = (*after)["last_death_ns"].get<int64_t>() - kill_ns;
  recovery->roster_ms.push_back(
      (static_cast<double>(seen_ns) + (*after)["last_reroute_us"].get<double>() * 1e3) / 1e6);
  return absl::OkStatus();
}

absl::Status Measure(const Options& options, const GoldenSet& set, Recovery* recovery) {
  Steady load(set, options.grpc, options.in_flight);
  std::minstd_rand random(1);
  std::uniform_int_distribution<int> pause_ms(kLeastPauseMs, kMostPauseMs);
  for (int i = 0; i < options.kills; ++i) {
    if (const auto worker = Restored(options); !worker.ok()) return worker.status();
    const size_t from = load.count();
    usleep(pause_ms(random) * 1000);
    for (const Answer& answer : load.Since(from)) {
      recovery->undisturbed_ms.push_back(static_cast<double>(answer.done_ns - answer.sent_ns) /
                                         1e6);
    }
    const absl::StatusOr<pid_t> worker = Restored(options);
    if (!worker.ok()) return worker.status();
    if (const absl::Status s = KillOne(options, *worker, &load, recovery); !s.ok()) return s;
  }
  return absl::OkStatus();
}

double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

void Report(const Options& options, const Recovery& recovery, json* rows) {
  const std::string subject = options.spare > 0 ? "with a spare" : "without a spare";
  std::cout << absl::StreamFormat(
      "%s: %d kills at %d in flight, %d requests touched, %d failed\n  %-36s %10s %10s %10s\n",
      subject, recovery.next_ms.size(), options.in_flight, recovery.touched_ms.size(),
      recovery.wrong, "milliseconds", "median", "p99.9", "worst");
  const auto add = [&](const char* metric, const std::vector<double>& values, const char* asked) {
    const std::pair<const char*, double> figures[] = {{"median", Median(values)},
                                                      {"p99.9", Quantile(values, 0.999)},
                                                      {"worst", Quantile(values, 1)}};
    std::cout << absl::StreamFormat("  %-36s %10.2f %10.2f %10.2f  %s\n", metric, figures[0].second,
                                    figures[1].second, figures[2].second, asked);
    for (const auto& [name, value] : figures) {
      rows->push_back({{"case", "SIGKILL of the execution worker"},
                       {"subject", subject},
                       {"metric", absl::StrCat(metric, ", ", name)},
                       {"unit", "ms"},
                       {"value", value}});
    }
  };
  add("a request undisturbed", recovery.undisturbed_ms, "");
  add("kill to roster", recovery.roster_ms, "");
  add("kill to next answer", recovery.next_ms,
      options.spare > 0 ? "(asked: median <= 10)" : "(asked: median <= 50)");
  add("requests touched by a kill", recovery.touched_ms, "(asked: p99.9 <= 100)");
  rows->push_back({{"case", "SIGKILL of the execution worker"},
                   {"subject", subject},
                   {"metric", "failed"},
                   {"unit", "requests"},
                   {"value", recovery.wrong}});
}

absl::StatusOr<GoldenSet> MakeRequests(const Options& options) {
  const absl::StatusOr<Csv> rows = ReadCsv(options.rows_file);
  if (!rows.ok()) return rows.status();
  const absl::StatusOr<Csv> expect = ReadCsv(options.expect_file);
  if (!expect.ok()) return expect.status();
  const auto metadata = MakeGrpcClient(options.grpc, kPatienceMs)->Metadata(kModel, "");
  if (!metadata.ok()) return metadata.status();
  return MakeGolden(*metadata, *rows, &*expect, 1);
}

// The figures of an earlier subject stand in the file already.
bool Append(const std::string& path, const json& rows) {
  json all = json::array();
  if (std::ifstream file(path); file.good()) {
    all = json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (!all.is_array()) return false;
  }
  for (const json& row : rows) all.push_back(row);
  std::ofstream file(path);
  file << all.dump(1) << "\n";
  return file.good();
}

int Main(int argc, char** argv) {
  CLI::App app("Kills the execution worker of a running server; tools/bench/recovery starts it.");
  Options options;
  app.add_option("--grpc", options.grpc, "Its gRPC address")->required();
  app.add_option("--admin", options.admin, "Its admin socket")->required();
  app.add_option("--rows", options.rows_file)->required();
  app.add_option("--expect", options.expect_file)->required();
  app.add_option("--json", options.json_file, "Add the figures to those of this file");
  app.add_option("--kills", options.kills)->check(CLI::PositiveNumber);
  app.add_option("--in_flight", options.in_flight)->check(CLI::PositiveNumber);
  app.add_option("--spare", options.spare, "Spares that the server has")->required();
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<GoldenSet> set = MakeRequests(options);
  Recovery recovery;
  absl::Status status = set.status();
  if (status.ok()) status = Measure(options, *set, &recovery);
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
    return 1;
  }
  json rows = json::array();
  Report(options, recovery, &rows);
  return options.json_file.empty() || Append(options.json_file, rows) ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
