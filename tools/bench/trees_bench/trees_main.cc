// The bench of trees: see tools/bench/README.md. Exit codes: 0 measured, whatever the speed; 1 a
// wrong bit, a peer that failed, or one that used a second thread; 2 wrong arguments.
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tools/bench/ipc_bench/machine.h"
#include "tools/bench/trees_bench/cases.h"
#include "tools/bench/trees_bench/measure.h"
#include "tools/bench/trees_bench/shared_library.h"
#include "tools/bench/trees_bench/subject.h"
#include "tools/bench/trees_bench/summary.h"

namespace millrace::bench {
namespace {

struct Arguments {
  std::string list, json;
  std::vector<std::string> cases;
  std::vector<size_t> batches = {1, 16, 64, 256, 4096};
  MeasureOptions measure;
  int64_t loop_ms = 20;
  uint64_t seed = 1;
};

using SubjectList = std::vector<std::unique_ptr<Subject>>;

// Ours, every version of the library that trained the model, and ONNX Runtime; those that the list
// has.
absl::StatusOr<SubjectList> MakeSubjects(const CaseList& list, const Case& test_case) {
  SubjectList subjects;
  const auto add = [&](SubjectOr made) {
    if (made.ok()) subjects.push_back(*std::move(made));
    return made.status();
  };
  MR_BENCH_RETURN_IF_ERROR(add(MakeMillrace(test_case)));
  for (const PeerLibrary& peer : list.libraries) {
    if (peer.library == "onnxruntime") {
      if (!test_case.onnx.empty()) MR_BENCH_RETURN_IF_ERROR(add(MakeOnnxRuntime(test_case, peer)));
    } else if (peer.library != test_case.library) {
      continue;
    } else if (peer.library == "xgboost") {
      MR_BENCH_RETURN_IF_ERROR(add(MakeXgboost(test_case, peer)));
    } else {
      MR_BENCH_RETURN_IF_ERROR(add(MakeLightgbm(test_case, peer)));
      MR_BENCH_RETURN_IF_ERROR(add(MakeLightgbmRows(test_case, peer)));
    }
  }
  return subjects;
}

absl::StatusOr<std::vector<Figure>> RunCase(const Arguments& arguments, const CaseList& list,
                                            const Case& test_case, std::mt19937_64* random) {
  const PeerLibrary* trainer = list.Trainer(test_case);
  if (trainer == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the list has no ", test_case.library));
  }
  auto truth = test_case.library == "xgboost" ? XgboostTruth(test_case, *trainer)
                                              : LightgbmTruth(test_case, *trainer);
  if (!truth.ok()) return truth.status();
  auto subjects = MakeSubjects(list, test_case);
  if (!subjects.ok()) return subjects.status();
  std::vector<Figure> figures;
  for (const size_t batch : arguments.batches) {
    std::vector<Subject*> asked;
    for (const auto& subject : *subjects) {
      // For one row there is nothing to do otherwise.
      const bool by_rows = absl::EndsWith(subject->name(), kRowsSuffix);
      if (batch > 1 || !by_rows) asked.push_back(subject.get());
    }
    auto timings = Measure(asked, test_case.view(), {truth->data(), test_case.margin_type()}, batch,
                           arguments.measure, random);
    if (!timings.ok()) return timings.status();
    const auto found = Figures(test_case.name, batch, *timings);
    figures.insert(figures.end(), found.begin(), found.end());
  }
  PrintFigures(absl::StrFormat("%s: %d trees, %d leaves, depth %d, %d features, %d outputs (%s)",
                               test_case.name, test_case.trees, test_case.leaves, test_case.depth,
                               test_case.features, test_case.groups, test_case.library),
               figures);
  std::cout << std::flush;
  return figures;
}

int Run(const Arguments& arguments, const CaseList& list) {
  std::vector<std::string> versions = {absl::StrCat(kOurs, " ", MillraceBackend())};
  for (const PeerLibrary& peer : list.libraries) {
    versions.push_back(absl::StrCat(peer.library, " ", peer.version));
  }
  std::cout << CpuName() << "; one process, one thread; " << absl::StrJoin(versions, ", ") << "\n"
            << "Medians of " << arguments.measure.rounds << " rounds of " << arguments.loop_ms
            << " ms or one call\n";
  std::mt19937_64 random(arguments.seed);
  std::vector<Figure> figures;
  for (const Case& test_case : list.cases) {
    const auto found = RunCase(arguments, list, test_case, &random);
    if (!found.ok()) {
      std::cerr << test_case.name << ": " << found.status().message() << "\n";
      return 1;
    }
    figures.insert(figures.end(), found->begin(), found->end());
  }
  std::cout << "\n" << absl::StrJoin(Claims(figures), "\n") << "\n";
  if (!arguments.json.empty() && !WriteJson(arguments.json, JsonRows(figures))) {
    std::cerr << "cannot write " << arguments.json << "\n";
    return 1;
  }
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("Trees: Millrace beside XGBoost, LightGBM and ONNX Runtime, one thread each.");
  Arguments arguments;
  app.add_option("--list", arguments.list, "cases.json, as prepare.py writes it")->required();
  app.add_option("--json", arguments.json, "Writes the rows into this file");
  app.add_option("--cases", arguments.cases, "Only these, with commas between")->delimiter(',');
  app.add_option("--batches", arguments.batches, "Rows a call, with commas between")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--rounds", arguments.measure.rounds)->check(CLI::PositiveNumber);
  app.add_option("--round_ms", arguments.loop_ms, "Shortest timed loop")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", arguments.seed, "Of the order of the subjects");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& fault) {
    return app.exit(fault) == 0 ? 0 : 2;
  }
  arguments.measure.loop_ns = arguments.loop_ms * 1'000'000;
  // Whatever a peer's thread pool would do without being asked. Read when its library is loaded.
  setenv("OMP_NUM_THREADS", "1", 1);
  const auto list = ReadCases(arguments.list, arguments.cases);
  if (!list.ok()) {
    std::cerr << list.status().message() << "\n";
    return 2;
  }
  for (const Case& test_case : list->cases) {
    for (const size_t batch : arguments.batches) {
      if (batch <= test_case.rows) continue;
      std::cerr << test_case.name << " has " << test_case.rows << " rows, no batch of " << batch
                << "\n";
      return 2;
    }
  }
  return Run(arguments, *list);
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) { return millrace::bench::Main(argc, argv); }
