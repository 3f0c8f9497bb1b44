// The driver of the pair bench: two pinned processes and one link between them, ours and others'.
// tools/bench/ipc builds and runs it; tools/bench/README.md says what is measured.
#include <stdio.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/bench/ipc_bench/child.h"
#include "tools/bench/ipc_bench/machine.h"
#include "tools/bench/ipc_bench/report.h"
#include "tools/bench/ipc_bench/runs.h"
#include "tools/bench/ipc_bench/subjects/iceoryx.h"
#include "tools/bench/ipc_bench/subjects/millrace.h"

namespace millrace::bench {
namespace {

constexpr char kIceoryx[] = "iceoryx";

struct Options {
  RunOptions run;
  int rounds = 15;
  bool quick = false;
  uint64_t seed = 0;
  std::string json_file;
  std::vector<std::string> only, without;
};

const char* NameOf(Mode mode) { return mode == Mode::kLatency ? "latency" : "stream"; }

std::string CaseOf(const Cell& cell) {
  return absl::StrCat(NameOf(cell.mode), ", ", cell.size.name);
}

// CASE/SUBJECT, either part empty for all; a part of a name is enough for a case.
bool Selected(const Options& options, const std::string& test_case, const std::string& subject) {
  if (std::count(options.without.begin(), options.without.end(), subject) > 0) return false;
  if (options.only.empty()) return true;
  for (const std::string& only : options.only) {
    const size_t slash = only.find('/');
    const std::string of_case = only.substr(0, slash);
    const std::string of_subject = slash == std::string::npos ? "" : only.substr(slash + 1);
    if (absl::StrContains(test_case, of_case) && (of_subject.empty() || of_subject == subject)) {
      return true;
    }
  }
  return false;
}

std::vector<Cell> SelectedCells(const Options& options) {
  std::vector<Cell> cells;
  for (const SubjectEntry& subject : AllSubjects()) {
    for (const SizeCase& size : kSizes) {
      for (const Mode mode : {Mode::kLatency, Mode::kStream}) {
        Cell cell{&subject, size, mode, {}, 0};
        if (!Selected(options, CaseOf(cell), subject.name)) continue;
        if (const char* refusal = subject.refusal(size.bytes)) {
          std::cout << subject.name << ", " << size.name << ": left out, " << refusal << "\n";
          break;
        }
        cells.push_back(std::move(cell));
      }
    }
  }
  return cells;
}

void AddRows(const Cell& cell, std::vector<Row>* rows) {
  if (cell.runs.empty()) return;
  const auto add = [&](const char* metric, const char* unit, auto figure) {
    rows->push_back({CaseOf(cell), cell.subject->name, metric, unit, cell.Over(figure)});
  };
  add("floor", "ns", [](const RunResult& r) { return r.floor; });
  add("unpaused_floor", "ns", [](const RunResult& r) { return r.unpaused_floor; });
  if (cell.mode == Mode::kLatency) {
    add("p50", "floors", [](const RunResult& r) { return r.latency_ns.p50 / r.floor; });
    add("p99", "floors", [](const RunResult& r) { return r.latency_ns.p99 / r.floor; });
    add("p999", "floors", [](const RunResult& r) { return r.latency_ns.p999 / r.floor; });
    add("p50", "unpaused floors",
        [](const RunResult& r) { return r.latency_ns.p50 / r.unpaused_floor; });
    add("p99", "unpaused floors",
        [](const RunResult& r) { return r.latency_ns.p99 / r.unpaused_floor; });
    add("p999", "unpaused floors",
        [](const RunResult& r) { return r.latency_ns.p999 / r.unpaused_floor; });
    add("p50", "ns", [](const RunResult& r) { return r.latency_ns.p50; });
    add("p99", "ns", [](const RunResult& r) { return r.latency_ns.p99; });
    add("p999", "ns", [](const RunResult& r) { return r.latency_ns.p999; });
  } else {
    const auto bytes = static_cast<double>(cell.size.bytes);
    add("message", "floors", [](const RunResult& r) { return r.stream_ns / r.floor; });
    add("message", "ns", [](const RunResult& r) { return r.stream_ns; });
    add("rate", "GB/s", [bytes](const RunResult& r) { return bytes / r.stream_ns; });
  }
  rows->push_back({CaseOf(cell), cell.subject->name, "runs_kept", "runs",
                   static_cast<double>(cell.runs.size())});
  rows->push_back({CaseOf(cell), cell.subject->name, "runs_dropped", "runs",
                   static_cast<double>(cell.dropped)});
}

std::string Figure(const std::vector<Row>& rows, const Cell& cell, const std::string& metric,
                   const std::string& unit) {
  for (const Row& row : rows) {
    if (row.test_case != CaseOf(cell) || row.subject != cell.subject->name) continue;
    if (row.metric != metric || row.unit != unit) continue;
    if (row.value < 10) return absl::StrFormat("%.2f", row.value);
    return absl::StrFormat(row.value < 100 ? "%.1f" : "%.0f", row.value);
  }
  return "-";
}

// A table for a case: a line for each subject.
void PrintCase(const std::string& name, const std::vector<Cell>& cells,
               const std::vector<Row>& rows) {
  const bool latency = absl::StartsWith(name, NameOf(Mode::kLatency));
  std::vector<std::vector<std::string>> lines;
  if (latency) {
    lines.push_back({"", "p50/floor", "p99/floor", "p99.9/floor", "p50/unpaused", "p99/unpaused",
                     "p50 ns", "p99 ns", "p99.9 ns", "floor ns", "unpaused", "kept+dropped"});
  } else {
    lines.push_back({"", "message ns", "GB/s", "message/floor", "floor ns", "kept+dropped"});
  }
  for (const Cell& cell : cells) {
    if (CaseOf(cell) != name) continue;
    const auto figure = [&](const char* metric, const char* unit) {
      return Figure(rows, cell, metric, unit);
    };
    const std::string runs = absl::StrCat(cell.runs.size(), "+", cell.dropped);
    if (latency) {
      lines.push_back({cell.subject->name, figure("p50", "floors"), figure("p99", "floors"),
                       figure("p999", "floors"), figure("p50", "unpaused floors"),
                       figure("p99", "unpaused floors"), figure("p50", "ns"), figure("p99", "ns"),
                       figure("p999", "ns"), figure("floor", "ns"), figure("unpaused_floor", "ns"),
                       runs});
    } else {
      lines.push_back({cell.subject->name, figure("message", "ns"), figure("rate", "GB/s"),
                       figure("message", "floors"), figure("floor", "ns"), runs});
    }
  }
  if (lines.size() > 1) PrintTable(name, lines);
}

// Wrong bytes, or a cell in which no run was steady.
int Judge(const std::vector<Cell>& cells) {
  int failures = 0;
  for (const Cell& cell : cells) {
    uint64_t wrong = 0;
    for (const RunResult& run : cell.runs) wrong += run.wrong;
    if (wrong == 0 && !cell.runs.empty()) continue;
    ++failures;
    std::cerr << CaseOf(cell) << ", " << cell.subject->name << ": "
              << (wrong > 0 ? absl::StrCat(wrong, " messages had other bytes than were sent")
                            : "no steady run")
              << "\n";
  }
  return failures;
}

int Run(Options options) {
  if (options.quick) {
    options.rounds = 1;
    options.run.run_ms = 1;
    options.run.max_count = 200;
    options.run.bounces = 200;
  }
  if (options.seed == 0) options.seed = std::random_device{}();
  std::vector<Cell> cells = SelectedCells(options);
  CatchSignals();
  RouDi roudi;
  for (const Cell& cell : cells) {
    if (cell.subject->name != kIceoryx) continue;
    if (const std::string error = roudi.Start(); !error.empty()) {
      std::cerr << error << "\nwithout it: --without iceoryx\n";
      return 1;
    }
    break;
  }
  std::cout << "ipc: medians of " << options.rounds << " interleaved runs of " << options.run.run_ms
            << " ms, seed " << options.seed << (options.run.first ? ", real-time priority" : "")
            << "\n"
            << CpuName() << ", processors " << options.run.cpus[0] << " and " << options.run.cpus[1]
            << std::endl;
  RunAll(options.rounds, options.seed, options.run, &cells);
  if (Interrupted()) return 130;
  std::vector<Row> rows;
  for (const Cell& cell : cells) AddRows(cell, &rows);
  for (const Mode mode : {Mode::kLatency, Mode::kStream}) {
    for (const SizeCase& size : kSizes) {
      PrintCase(absl::StrCat(NameOf(mode), ", ", size.name), cells, rows);
    }
  }
  int failures = Judge(cells);
  if (!options.json_file.empty() && !WriteJson(options.json_file, rows)) {
    std::cerr << options.json_file << ": cannot be written\n";
    ++failures;
  }
  return failures == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("One link between two processes: ours beside others'.");
  Options options;
  app.add_option("--json", options.json_file, "Write the figures there too");
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_option("--run_ms", options.run.run_ms)->check(CLI::PositiveNumber);
  app.add_flag("--quick", options.quick, "A glance: one round of tiny runs");
  app.add_option("--only", options.only,
                 "CASE/SUBJECT, \"256 KiB/millrace\", \"stream\", \"/pipe\"");
  app.add_option("--without", options.without, "Leave a subject out");
  app.add_option("--seed", options.seed, "Of the order of the runs");
  app.add_option("--cpu_a", options.run.cpus[0]);
  app.add_option("--cpu_b", options.run.cpus[1]);
  app.add_flag("--real_time", options.run.first, "Let nothing else preempt the runs");
  app.add_option("--tries", options.run.tries, "Of a run, until its floor is steady");
  app.add_option("--tolerance", options.run.tolerance, "Between the two floors of a run");
  app.add_flag("--plant", options.run.plant, "A fault, for the test: expect other bytes");
  app.add_option("--hot_blocks", Millrace::hot_blocks, "Of millrace; 0: what suits the size");
  CLI11_PARSE(app, argc, argv);
  return Run(options);
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) { return millrace::bench::Main(argc, argv); }
