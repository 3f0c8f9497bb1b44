// simulate [--seed=N] [--seeds=COUNT] [--trace]: runs worlds and tells what the checker found.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

uint64_t running_seed = 0;

// An invariant of the product that broke ends the process; the seed replays it.
void TellSeed(int) {
  char line[64];
  const int n = snprintf(line, sizeof line, "aborted in seed %" PRIu64 "\n", running_seed);
  if (write(STDERR_FILENO, line, n) < 0) return;
}

double Seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

bool Flag(const char* argument, const char* name, uint64_t* value) {
  const size_t length = strlen(name);
  if (strncmp(argument, name, length) != 0 || argument[length] != '=') return false;
  *value = strtoull(argument + length + 1, nullptr, 10);
  return true;
}

int Run(Options options, uint64_t seeds) {
  Outcome sum;
  uint64_t failed = 0;
  const double began = Seconds();
  for (uint64_t i = 0; i < seeds; ++i, ++options.seed) {
    running_seed = options.seed;
    const Outcome outcome = RunSeed(options);
    sum.requests += outcome.requests;
    sum.answered_ok += outcome.answered_ok;
    sum.refused += outcome.refused;
    sum.reset += outcome.reset;
    sum.replayed += outcome.replayed;
    sum.faults += outcome.faults;
    sum.deaths += outcome.deaths;
    sum.rescues += outcome.rescues;
    sum.events += outcome.events;
    if (seeds == 1) printf("hash %016" PRIx64 "\n", outcome.hash);
    if (i % 100 == 99) fflush(stdout);
    if (outcome.violation.empty()) continue;
    ++failed;
    printf("seed %" PRIu64 ": %s\n", outcome.seed, outcome.violation.c_str());
  }
  const double took = Seconds() - began;
  const double cpu = static_cast<double>(clock()) / CLOCKS_PER_SEC;
  printf("%" PRIu64 " seeds, %" PRIu64
         " violated; %.1f s, of the CPU %.1f s: %.0f seeds a minute of it\n",
         seeds, failed, took, cpu, 60 * static_cast<double>(seeds) / cpu);
  printf(
      "requests %zu: ok %zu, refused %zu, reset %zu; replays %zu; faults %zu, worker deaths %zu, "
      "rescues %zu; events %" PRIu64 "\n",
      sum.requests, sum.answered_ok, sum.refused, sum.reset, sum.replayed, sum.faults, sum.deaths,
      sum.rescues, sum.events);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace millrace::sim

int main(int argc, char** argv) {
  using namespace millrace::sim;
  Options options;
  uint64_t seeds = 1;
  for (int i = 1; i < argc; ++i) {
    uint64_t value = 0;
    if (Flag(argv[i], "--seed", &options.seed) || Flag(argv[i], "--seeds", &seeds)) continue;
    if (Flag(argv[i], "--requests", &value)) {
      options.requests = value;
    } else if (strcmp(argv[i], "--trace") == 0) {
      options.trace = true;
    } else {
      fprintf(stderr, "usage: simulate [--seed=N] [--seeds=COUNT] [--requests=N] [--trace]\n");
      return 64;
    }
  }
  signal(SIGABRT, TellSeed);
  return Run(options, seeds);
}
