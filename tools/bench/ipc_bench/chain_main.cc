// The chain alone: five processes in a ring, on as many cores as there are.
// ../README.md says what is measured.
#include <CLI/CLI.hpp>
#include <iostream>

#include "tools/bench/ipc_bench/chain_table.h"
#include "tools/bench/ipc_bench/report.h"

namespace millrace::bench {
namespace {

int Main(int argc, char** argv) {
  CLI::App app("Five processes in a ring, over links and over queues under a lock.");
  ChainOptions options;
  std::string json_file;
  app.add_option("--json", json_file, "Write the figures there too");
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_option("--round_ms", options.round_ms)->check(CLI::PositiveNumber);
  app.add_option("--patience_s", options.patience_s, "To wait until other processes are calm");
  app.add_option("--only", options.only, "Cases whose name holds this");
  CLI11_PARSE(app, argc, argv);
  std::vector<Row> rows;
  const uint64_t wrong = RunChainBench(options, &rows);
  if (!json_file.empty() && !WriteJson(json_file, rows)) {
    std::cerr << json_file << ": cannot be written\n";
    return 1;
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) { return millrace::bench::Main(argc, argv); }
