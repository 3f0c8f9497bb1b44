// The bench of a death: from the SIGKILL of a worker to the answer of the request it held, given by
// another worker. tools/bench/reroute starts the server and calls this; README.md says how.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "tools/bench/subjects/rounds.h"
#include "tools/load/client.h"
#include "tools/load/golden.h"
#include "tools/millrace/admin_client.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr char kModel[] = "breast_cancer";
constexpr int64_t kPatienceMs = 60'000;
constexpr int64_t kHeldMs = 50;  // without an answer so long, the stopped worker has the request
constexpr int kMostTries = 100;
// Asked at once, since the choice between idle workers may always fall on the same one.
constexpr int kAskers = 4;

struct Options {
  std::string grpc, admin, rows_file, expect_file, json_file;
  int rounds = 21;
  int64_t resident_mib = 512;
};

struct Figures {
  std::vector<double> undisturbed_us, death_to_sight_us, death_to_roster_us, death_to_answer_us,
      pidfd_us;
  int64_t kill_ns = 0;      // the last
  double resident_mib = 0;  // the least of all victims
};

struct Answered {
  int64_t at_ns = 0;
  double took_us = 0;
  bool right = false;
};

// A connection with one request at a time.
class Asker {
 public:
  Asker(const std::string& address, const GoldenSet& set)
      : client_(MakeGrpcClient(address, kPatienceMs)), set_(set) {}

  std::future<Answered> Ask(size_t n) {
    const GoldenRequest& golden = set_.requests[n % set_.requests.size()];
    return std::async(std::launch::async, [this, &golden] {
      const int64_t begin_ns = MonotonicNanos();
      const auto answer = client_->Infer(golden.request);
      const int64_t now = MonotonicNanos();
      Answered result{now, static_cast<double>(now - begin_ns) / 1e3, answer.ok()};
      for (size_t i = 0; result.right && i < golden.expected.size(); ++i) {
        result.right = answer->raw_output_contents(static_cast<int>(i)) == golden.expected[i];
      }
      return result;
    });
  }

 private:
  std::unique_ptr<Client> client_;
  const GoldenSet& set_;
};

double ResidentMib(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

bool IsStopped(pid_t pid) {
  std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  std::getline(stat, line);
  const size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") T") == 0;
}

// The pids of the execution workers, once two are ready.
absl::StatusOr<std::vector<pid_t>> ReadyWorkers(const std::string& admin) {
  const int64_t until = MonotonicNanos() + kPatienceMs * kNanosPerMilli;
  while (MonotonicNanos() < until) {
    const absl::StatusOr<json> answer = AskAdmin(admin, {{"verb", "status"}}, kPatienceMs);
    if (!answer.ok()) return answer.status();
    std::vector<pid_t> pids;
    for (const json& process : (*answer)["processes"]) {
      if (process["stage"] == "execution" && process["state"] == "ready") {
        pids.push_back(process["pid"]);
      }
    }
    if (pids.size() == 2) return pids;
    usleep(20'000);
  }
  return absl::DeadlineExceededError("two execution workers did not become ready");
}

int64_t WaitForPidfd(int pidfd) {
  pollfd p = {pidfd, POLLIN, 0};
  poll(&p, 1, kPatienceMs);
  return MonotonicNanos();
}

// Asks on every connection at once; what is not answered within the time is held.
absl::StatusOr<std::vector<std::future<Answered>>> AskAll(std::vector<Asker>* askers, size_t n,
                                                          std::vector<double>* answered_us) {
  std::vector<std::future<Answered>> answers, held;
  for (Asker& asker : *askers) answers.push_back(asker.Ask(n++));
  for (std::future<Answered>& answer : answers) {
    if (answer.wait_for(std::chrono::milliseconds(kHeldMs)) != std::future_status::ready) {
      held.push_back(std::move(answer));
      continue;
    }
    const Answered got = answer.get();
    if (!got.right) return absl::InternalError("a wrong answer");
    answered_us->push_back(got.took_us);
  }
  return held;
}

// Kills the worker; the time until the last of the requests that it held is answered.
absl::Status Kill(pid_t victim, std::vector<std::future<Answered>> held, Figures* figures) {
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, victim, 0));
  std::future<int64_t> ended = std::async(std::launch::async, WaitForPidfd, pidfd);
  const int64_t kill_ns = MonotonicNanos();
  figures->kill_ns = kill_ns;
  kill(victim, SIGKILL);
  int64_t last_ns = 0;
  for (std::future<Answered>& answer : held) {
    const Answered got = answer.get();
    if (!got.right) return absl::InternalError("a held request was not answered right");
    last_ns = std::max(last_ns, got.at_ns);
  }
  figures->death_to_answer_us.push_back(static_cast<double>(last_ns - kill_ns) / 1e3);
  figures->pidfd_us.push_back(static_cast<double>(ended.get() - kill_ns) / 1e3);
  close(pidfd);
  return absl::OkStatus();
}

// Stops the worker, asks until it holds a request, kills it, and waits for the answer.
absl::Status KillOne(pid_t victim, std::vector<Asker>* askers, Figures* figures) {
  std::vector<double> first_us;  // on new connections
  if (const auto held = AskAll(askers, 0, &first_us); !held.ok()) return held.status();
  if (kill(victim, SIGSTOP) != 0) return absl::InternalError("cannot stop the worker");
  while (!IsStopped(victim)) usleep(100);
  for (int n = 0; n < kMostTries; ++n) {
    auto held = AskAll(askers, n * kAskers, &figures->undisturbed_us);
    if (!held.ok()) return held.status();
    if (!held->empty()) return Kill(victim, std::move(*held), figures);
  }
  kill(victim, SIGCONT);
  return absl::InternalError("the stopped worker never held a request");
}

absl::Status Measure(const Options& options, const GoldenSet& set, Figures* figures) {
  std::vector<Asker> askers;
  for (int i = 0; i < kAskers; ++i) askers.emplace_back(options.grpc, set);
  for (int round = 0; round < options.rounds; ++round) {
    const auto pids = ReadyWorkers(options.admin);
    if (!pids.ok()) return pids.status();
    const pid_t victim = (*pids)[round % 2];
    const double resident = ResidentMib(victim);
    if (resident < static_cast<double>(options.resident_mib)) {
      return absl::FailedPreconditionError(
          absl::StrCat("only ", resident, " MiB are resident in the victim"));
    }
    figures->resident_mib = round == 0 ? resident : std::min(figures->resident_mib, resident);
    const absl::Status killed = KillOne(victim, &askers, figures);
    if (!killed.ok()) return killed;
    const absl::StatusOr<json> after = AskAdmin(options.admin, {{"verb", "status"}}, kPatienceMs);
    if (!after.ok()) return after.status();
    const auto sight_us =
        static_cast<double>((*after)["last_death_ns"].get<int64_t>() - figures->kill_ns) / 1e3;
    figures->death_to_sight_us.push_back(sight_us);
    figures->death_to_roster_us.push_back(sight_us + (*after)["last_reroute_us"].get<double>());
  }
  return absl::OkStatus();
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

void Report(const Figures& figures, json* rows) {
  const std::string name =
      absl::StrFormat("execution worker killed, %.0f MiB resident", figures.resident_mib);
  std::cout << absl::StreamFormat("%s, %d deaths\n  %-34s %10s %10s %10s\n", name,
                                  figures.death_to_answer_us.size(), "microseconds", "median",
                                  "p90", "worst");
  const auto add = [&](const char* subject, const char* metric, std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const double figures_of[] = {Median(values), values[values.size() * 9 / 10], values.back()};
    std::cout << absl::StreamFormat("  %-34s %10.0f %10.0f %10.0f\n", metric, figures_of[0],
                                    figures_of[1], figures_of[2]);
    const char* names[] = {", median", ", p90", ", worst"};
    for (int i = 0; i < 3; ++i) {
      rows->push_back({{"case", name},
                       {"subject", subject},
                       {"metric", absl::StrCat(metric, names[i])},
                       {"unit", "us"},
                       {"value", figures_of[i]}});
    }
  };
  add("millrace", "a request undisturbed", figures.undisturbed_us);
  add("millrace", "death to its sight", figures.death_to_sight_us);
  add("millrace", "death to roster", figures.death_to_roster_us);
  add("millrace", "death to answer by another worker", figures.death_to_answer_us);
  add("pidfd", "death to pidfd", figures.pidfd_us);
}

int Main(int argc, char** argv) {
  CLI::App app("Kills workers of a running server; tools/bench/reroute starts it.");
  Options options;
  app.add_option("--grpc", options.grpc, "Its gRPC address")->required();
  app.add_option("--admin", options.admin, "Its admin socket")->required();
  app.add_option("--rows", options.rows_file)->required();
  app.add_option("--expect", options.expect_file)->required();
  app.add_option("--json", options.json_file, "Write the figures there too");
  app.add_option("--rounds", options.rounds, "Deaths")->check(CLI::PositiveNumber);
  app.add_option("--resident_mib", options.resident_mib, "What a victim must have at least");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<GoldenSet> set = MakeRequests(options);
  Figures figures;
  absl::Status status = set.status();
  if (status.ok()) status = Measure(options, *set, &figures);
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
    return 1;
  }
  json rows = json::array();
  Report(figures, &rows);
  if (options.json_file.empty()) return 0;
  std::ofstream file(options.json_file);
  file << rows.dump(1) << "\n";
  return file.good() ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
