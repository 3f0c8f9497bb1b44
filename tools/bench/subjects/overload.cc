// From half of the capacity to ten times of it, open loop: what is answered within the deadline,
// how late what is admitted comes, what the rest is told, and what memory does.
#include <stdint.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "tools/bench/subjects/cpu_use.h"
#include "tools/bench/subjects/process_stat.h"
#include "tools/load/client.h"
#include "tools/load/driver.h"
#include "tools/load/golden.h"
#include "tools/load/transport.h"

namespace millrace {
namespace {

constexpr double kSteps[] = {0.5, 0.8, 1, 2, 5, 10};
constexpr int kSlots = 4096;  // open loop: more than any server here keeps
constexpr int kConnections = 4;
constexpr int kFull = 32;  // in flight, to find the capacity
// The client waits for so many deadlines: an answer that comes late is seen, and counted as late.
constexpr int64_t kPatience = 2;
constexpr double kLeastGoodput = 0.9;
constexpr double kMostGrowth = 1.1;  // of memory, from the first step's end to the last's

struct Options {
  std::string millrace, in_line, rows, expect, json, only;
  int millrace_pid = 0, in_line_pid = 0;
  int64_t deadline_ms = 500, step_ms = 5000, warm_up_ms = 1000;
};

struct Step {
  double times = 0, rate_per_s = 0, goodput_per_s = 0, p99_ms = 0;
  int64_t memory_kb = 0, too_late = 0;
  CpuUse::Report cores;
  DriveResult result;
};

struct SubjectRun {
  std::string name;
  double capacity_per_s = 0;
  std::vector<Step> steps;
};

DriveResult Load(const GoldenSet& golden, const std::string& address, const Options& options,
                 double rate_per_s, std::vector<int64_t>* times_ns) {
  const int slots = rate_per_s > 0 ? kSlots : kFull;
  TransportOptions transport_options;
  transport_options.address = address;
  transport_options.connections = kConnections;
  transport_options.deadline_ms = kPatience * options.deadline_ms;
  transport_options.open_loop = rate_per_s > 0;
  const auto transport = MakeGrpcTransport(golden, transport_options, slots);
  DriveOptions drive;
  drive.in_flight = slots;
  drive.rate_per_s = rate_per_s;
  drive.warm_up_ns = options.warm_up_ms * kNanosPerMilli;
  drive.duration_ns = options.step_ms * kNanosPerMilli;
  MonotonicClock clock;
  return Drive(transport.get(), &clock, golden.requests.size(), drive, {{}, times_ns});
}

void Print(const Step& step) {
  const DriveResult& r = step.result;
  std::cout << absl::StreamFormat(
      "  %4.1f x  %8.0f/s  goodput %7.0f/s  p99 %7.1f ms  failed %7d  too late %d  memory %7d KiB  "
      "lag: late %d (worst %.1f ms), held back %d, unsent %d\n",
      step.times, step.rate_per_s, step.goodput_per_s, step.p99_ms, r.failed, step.too_late,
      step.memory_kb, r.late, static_cast<double>(r.worst_late_ns) / kNanosPerMilli, r.held_back,
      r.unsent);
  std::cout << absl::StreamFormat("           cores: generator %.2f", step.cores.own);
  for (const auto& [name, cores] : step.cores.by_name) {
    if (cores >= 0.01) std::cout << absl::StreamFormat(", %s %.2f", name, cores);
  }
  std::cout << absl::StreamFormat("; others %.2f, idle %.2f\n", step.cores.others, step.cores.idle);
  for (const auto& [code, error] : r.errors) {
    std::cout << absl::StreamFormat("           %7d %s: %s\n", error.count, code, error.example);
  }
}

// Goodput is what was answered within the deadline by this clock; the 99th percentile is of all
// that was answered, in time or not.
Step RunStep(const std::string& address, int pid, const GoldenSet& golden, const Options& options,
             double times, double rate_per_s) {
  Step step;
  step.times = times;
  step.rate_per_s = rate_per_s;
  std::vector<int64_t> times_ns;
  CpuUse use(pid);
  use.Begin();
  step.result = Load(golden, address, options, rate_per_s, &times_ns);
  step.cores = use.End();
  const int64_t deadline_ns = options.deadline_ms * kNanosPerMilli;
  step.too_late = std::count_if(times_ns.begin(), times_ns.end(),
                                [deadline_ns](int64_t took) { return took > deadline_ns; });
  step.goodput_per_s = static_cast<double>(static_cast<int64_t>(times_ns.size()) - step.too_late) /
                       std::max(step.result.seconds, 1e-9);
  step.p99_ms = static_cast<double>(step.result.service.PercentileNs(0.99)) / kNanosPerMilli;
  step.memory_kb = ResidentKb(ProcessTree(AllProcesses(), pid));
  return step;
}

SubjectRun Run(const std::string& name, const std::string& address, int pid,
               const GoldenSet& golden, const Options& options) {
  SubjectRun run;
  run.name = name;
  const DriveResult full = Load(golden, address, options, 0, nullptr);
  run.capacity_per_s = full.AnswersPerSecond();
  std::cout << absl::StreamFormat("%s: capacity %.0f/s, %d in flight, %d failed\n", name,
                                  run.capacity_per_s, kFull, full.failed);
  if (run.capacity_per_s <= 0) return run;
  for (const double times : kSteps) {
    run.steps.push_back(RunStep(address, pid, golden, options, times, times * run.capacity_per_s));
    Print(run.steps.back());
  }
  return run;
}

bool PrintRatio(const std::string& text, double is, double asked, bool at_most) {
  const bool holds = at_most ? is <= asked : is >= asked;
  std::cout << absl::StreamFormat("  %-62s %8.2f %s %6.2f%s\n", text, is,
                                  at_most ? "<=" : ">=", asked, holds ? "" : "  MISSED");
  return holds;
}

void PrintTargets(const SubjectRun& run, const Options& options) {
  if (run.steps.empty()) return;
  double peak = 0, worst_p99 = 0;
  for (const Step& step : run.steps) {
    peak = std::max(peak, step.goodput_per_s);
    worst_p99 = std::max(worst_p99, step.p99_ms);
  }
  const Step& last = run.steps.back();
  PrintRatio(run.name + ": goodput at 10 x / its peak", last.goodput_per_s / std::max(peak, 1e-9),
             kLeastGoodput, false);
  PrintRatio(run.name + ": p99 of admitted / deadline",
             worst_p99 / static_cast<double>(options.deadline_ms), 1, true);
  const auto before = static_cast<double>(std::max<int64_t>(run.steps.front().memory_kb, 1));
  PrintRatio(run.name + ": memory after 10 x / after 0.5 x",
             static_cast<double>(last.memory_kb) / before, kMostGrowth, true);
}

nlohmann::json ToJson(const SubjectRun& run) {
  nlohmann::json steps = nlohmann::json::array();
  for (const Step& step : run.steps) {
    nlohmann::json errors = nlohmann::json::object();
    for (const auto& [code, error] : step.result.errors) errors[code] = error.count;
    nlohmann::json cores = {
        {"generator", step.cores.own}, {"others", step.cores.others}, {"idle", step.cores.idle}};
    for (const auto& [name, used] : step.cores.by_name) cores[name] = used;
    steps.push_back({{"times", step.times},
                     {"rate_per_s", step.rate_per_s},
                     {"goodput_per_s", step.goodput_per_s},
                     {"p99_ms", step.p99_ms},
                     {"memory_kb", step.memory_kb},
                     {"failed", step.result.failed},
                     {"too_late", step.too_late},
                     {"cores", cores},
                     {"errors", errors},
                     {"late", step.result.late},
                     {"worst_late_ns", step.result.worst_late_ns},
                     {"held_back", step.result.held_back},
                     {"unsent", step.result.unsent}});
  }
  return {{"subject", run.name}, {"capacity_per_s", run.capacity_per_s}, {"steps", steps}};
}

absl::StatusOr<GoldenSet> Golden(const Options& options) {
  const auto client = MakeGrpcClient(options.millrace, 10'000);
  auto metadata = client->Metadata("breast_cancer", "");
  if (!metadata.ok()) return metadata.status();
  auto rows = ReadCsv(options.rows);
  if (!rows.ok()) return rows.status();
  auto expect = ReadCsv(options.expect);
  if (!expect.ok()) return expect.status();
  auto golden = MakeGolden(*metadata, *rows, &*expect, 1);
  if (!golden.ok()) return golden.status();
  SetTimeout(options.deadline_ms, &*golden);  // the call's own is the client's patience
  return golden;
}

int Main(int argc, char** argv) {
  CLI::App app("Measures servers under more load than they can carry.");
  Options options;
  app.add_option("--millrace", options.millrace, "HOST:PORT")->required();
  app.add_option("--millrace_pid", options.millrace_pid)->required();
  app.add_option("--in_line", options.in_line, "HOST:PORT")->required();
  app.add_option("--in_line_pid", options.in_line_pid)->required();
  app.add_option("--rows", options.rows)->required();
  app.add_option("--expect", options.expect)->required();
  app.add_option("--deadline_ms", options.deadline_ms);
  app.add_option("--step_ms", options.step_ms);
  app.add_option("--warm_up_ms", options.warm_up_ms);
  app.add_option("--only", options.only, "millrace or grpc_in_line");
  app.add_option("--json", options.json);
  CLI11_PARSE(app, argc, argv);
  const auto golden = Golden(options);
  if (!golden.ok()) {
    std::cerr << golden.status() << "\n";
    return 1;
  }
  std::vector<SubjectRun> runs;
  for (const auto& [name, address, pid] :
       {std::tuple("millrace", options.millrace, options.millrace_pid),
        std::tuple("grpc_in_line", options.in_line, options.in_line_pid)}) {
    if (!options.only.empty() && options.only != name) continue;
    runs.push_back(Run(name, address, pid, *golden, options));
  }
  std::cout << absl::StreamFormat("\n%-64s %8s %9s\n", "ratios", "is", "asked");
  for (const SubjectRun& run : runs) PrintTargets(run, options);
  if (options.json.empty()) return 0;
  nlohmann::json json = nlohmann::json::array();
  for (const SubjectRun& run : runs) json.push_back(ToJson(run));
  std::ofstream(options.json) << json.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
