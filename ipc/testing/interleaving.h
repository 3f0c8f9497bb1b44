// Runs a suite under relacy: many schedules, and one that fails again.
//
// Purpose: a search that says what it found, how to see it again, and every step of it.
// Who may call: tests, from their main thread, one search at a time. A suite is an rl::test_suite
//   of the words in ipc/testing/relacy_memory.h; it draws with rl::rand and has no other chance,
//   clock or static state, and asserts with RL_ASSERT.
// Invariants:
//   1. The same suite, search and `state` give the same schedule, in each build of the same source.
//      A failed test prints its state; with MILLRACE_REPLAY=STATE in the environment that test
//      begins with that schedule (and a random search ends with it).
// What fails: nothing here; Found says what failed in the suite.
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include <ostream>
#include <string>

#include "common/check.h"
#include "ipc/testing/relacy_memory.h"

namespace millrace {

// Random: so many schedules.
struct Random {
  template <rl::thread_id_t kThreads>
  using Scheduler = rl::random_scheduler<kThreads>;
  static constexpr rl::scheduler_type_e kType = rl::sched_random;
  uint64_t iterations;
  unsigned switches = 0;
};
// Each schedule with at most so many switches away from a thread that could go on.
struct Bounded {
  template <rl::thread_id_t kThreads>
  using Scheduler = rl::context_bound_scheduler<kThreads>;
  static constexpr rl::scheduler_type_e kType = rl::sched_bound;
  unsigned switches;
  uint64_t iterations = 0;
};
// Each schedule.
struct Full {
  template <rl::thread_id_t kThreads>
  using Scheduler = rl::full_search_scheduler<kThreads>;
  static constexpr rl::scheduler_type_e kType = rl::sched_full;
  uint64_t iterations = 0;
  unsigned switches = 0;
};

struct Found {
  rl::test_result_e what = rl::test_result_success;
  uint64_t iterations = 0;  // the last one is the one that failed
  std::string state;        // of the one that failed
  std::string steps;
};
inline std::ostream& operator<<(std::ostream& out, const Found& found) {
  out << rl::test_result_str(found.what) << " in iteration " << found.iterations << "\n";
  if (found.what == rl::test_result_success) return out;
  return out << found.steps << "to see it again: MILLRACE_REPLAY='" << found.state << "'\n";
}

// `state`: a Found's, to begin there.
template <typename Suite, typename How>
Found Search(const How& how, std::string state = "") {
  using Scheduler = typename How::template Scheduler<Suite::params::thread_count>;
  const char* replay = getenv("MILLRACE_REPLAY");
  if (state.empty() && replay != nullptr) state = replay;
  rl::ostringstream steps, progress, failed, same;
  rl::test_params params;
  params.search_type = How::kType;
  params.iteration_count = state.empty() ? how.iterations : strtoull(state.c_str(), nullptr, 10);
  params.context_bound = how.switches;
  params.initial_state = state.c_str();
  params.output_stream = &steps;
  params.progress_stream = &progress;
  const rl::test_result_e what = rl::run_test<Suite, Scheduler>(params, failed, false);
  const Found found = {what, params.stop_iteration, failed.str().c_str(), ""};
  if (what == rl::test_result_success) return found;
  // Once more, with each step kept.
  params.initial_state = failed.str();
  params.collect_history = true;
  MR_CHECK((rl::run_test<Suite, Scheduler>(params, same, true)) == what,
           "a suite has chance, a clock or static state of its own");
  return {what, found.iterations, found.state, steps.str().c_str()};
}

}  // namespace millrace
