// Every fault of planted.h is found, and the same worlds are clean without one.
#include "services/simulation/planted.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

constexpr uint64_t kFirstSeed = 1;
constexpr uint64_t kMostSeeds = 40;
constexpr int kFound = 3;

// In a child: an invariant of the product may be what notices it. How the child ended.
int RunChild(PlantedFault fault, uint64_t seeds, std::string* says) {
  int pipes[2];
  if (pipe(pipes) != 0) abort();
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipes[1], STDERR_FILENO);
    active_fault = fault;
    Options options;
    for (options.seed = kFirstSeed; options.seed < kFirstSeed + seeds; ++options.seed) {
      const Outcome outcome = RunSeed(options);
      if (outcome.violation.empty()) continue;
      dprintf(STDERR_FILENO, "seed %d: %s\n", static_cast<int>(options.seed),
              outcome.violation.c_str());
      _exit(kFound);
    }
    _exit(0);
  }
  close(pipes[1]);
  char buffer[512];
  for (ssize_t n; (n = read(pipes[0], buffer, sizeof buffer)) > 0;) says->append(buffer, n);
  close(pipes[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

class PlantedTest : public ::testing::TestWithParam<int> {};

TEST_P(PlantedTest, IsFound) {
  std::string says;
  const int status = RunChild(static_cast<PlantedFault>(GetParam()), kMostSeeds, &says);
  const bool violated = WIFEXITED(status) && WEXITSTATUS(status) == kFound;
  const bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  EXPECT_TRUE(violated || aborted) << "not found in " << kMostSeeds << " seeds";
  printf("found by: %s", says.c_str());
}

INSTANTIATE_TEST_SUITE_P(All, PlantedTest,
                         ::testing::Range(1, static_cast<int>(PlantedFault::kCount)));

TEST(PlantedTest, WithoutAFaultTheSameWorldsAreClean) {
  std::string says;
  const int status = RunChild(PlantedFault::kNone, 10, &says);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << says;
}

}  // namespace
}  // namespace millrace::sim
