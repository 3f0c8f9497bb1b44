#include "tools/bench/ipc_bench/chain.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "common/check.h"
#include "tools/bench/ipc_bench/chain_link.h"
#include "tools/bench/ipc_bench/chain_lock.h"
#include "tools/bench/ipc_bench/chain_process.h"

namespace millrace::bench {

// Made before the fork and seen by all six; not part of any transport.
struct Chain::Shared {
  ChainCounters counters[kChainProcesses];
  ChainAnswers answers;
};

namespace {

// What a child needs of its parent.
struct Role {
  int index;
  int command_fd, answer_fd;  // the source's
  ChainFault fault;           // the stage's
  ChainCounters* counters;
  ChainAnswers* answers;
};

template <typename Port>
[[noreturn]] void RunProcess(const Role& role, Port* port) {
  if (role.index == 0) {
    ChainSource<Port> source(port);
    ChainLoad load;
    while (read(role.command_fd, &load, sizeof(load)) == sizeof(load)) {
      source.Run(load, role.answers);
      MR_CHECK(write(role.answer_fd, "", 1) == 1, "the parent reads");
    }
    _exit(0);
  }
  ChainStage<Port> stage(port, static_cast<uint64_t>(role.index), role.fault);
  while (true) stage.Turn();
}

[[noreturn]] void RunChild(ChainSubject subject, const Role& role, const ChainWires& wires,
                           LockQueues* queues) {
  switch (subject) {
    case ChainSubject::kEmpty:
      while (true) pause();
    case ChainSubject::kMillrace:
    case ChainSubject::kMillracePark: {
      const auto mode = subject == ChainSubject::kMillrace ? WaitMode::kYield : WaitMode::kPark;
      LinkPort port(role.index, mode, wires, role.counters);
      RunProcess(role, &port);
    }
    case ChainSubject::kMutexCond:
    case ChainSubject::kMutexBatch: {
      LockPort port(role.index, subject == ChainSubject::kMutexBatch, queues, role.counters);
      RunProcess(role, &port);
    }
  }
  _exit(1);
}

// "Name:   123" of what the kernel says about a process.
uint64_t ProcNumber(pid_t pid, const std::string& name) {
  std::ifstream lines("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name, 0) == 0) return std::stoull(line.substr(name.size()));
  }
  return 0;
}

// Such a line in kB.
size_t ProcBytes(pid_t pid, const std::string& name) { return 1024 * ProcNumber(pid, name); }

// What the five have used and done so far.
struct Sums {
  double cpu_ns = 0, parks = 0, yields = 0, switches = 0, preempted = 0;
  uint64_t hogs = 0, rescues = 0;
};

Sums SumUp(const Chain& chain, const ChainCounters* counters) {
  Sums sums;
  sums.cpu_ns = static_cast<double>(chain.CpuNs());
  for (int i = 0; i < kChainProcesses; ++i) {
    sums.switches += static_cast<double>(ProcNumber(chain.pid(i), "voluntary_ctxt_switches:"));
    sums.preempted += static_cast<double>(ProcNumber(chain.pid(i), "nonvoluntary_ctxt_switches:"));
    sums.parks += static_cast<double>(counters[i].parks);
    sums.yields += static_cast<double>(counters[i].yields);
    sums.hogs += counters[i].hogs;
    sums.rescues += counters[i].rescues;
  }
  return sums;
}

}  // namespace

const char* ChainSubjectName(ChainSubject subject) {
  switch (subject) {
    case ChainSubject::kEmpty:
      return "empty";
    case ChainSubject::kMillrace:
      return "millrace";
    case ChainSubject::kMillracePark:
      return "millrace_park";
    case ChainSubject::kMutexCond:
      return "mutex_cond";
    case ChainSubject::kMutexBatch:
      return "mutex_cond_batch";
  }
  return "";
}

absl::StatusOr<std::unique_ptr<Chain>> Chain::Start(ChainSubject subject, ChainFault fault,
                                                    int fault_stage) {
  std::unique_ptr<Chain> chain(new Chain());
  chain->shared_.emplace(sizeof(Shared));
  Shared* const shared = new (chain->shared_->data()) Shared();
  std::optional<SharedArea> area;
  LockQueues* queues = nullptr;
  if (subject == ChainSubject::kMutexCond || subject == ChainSubject::kMutexBatch) {
    area.emplace(sizeof(LockQueues));
    queues = new (area->data()) LockQueues();
  }
  const ChainWires wires = MakeWires();
  int commands[2], answers[2];
  if (pipe2(commands, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError("no pipe for a chain");
  }
  const Fd read_commands(commands[0]), write_answers(answers[1]);
  chain->command_ = Fd(commands[1]);
  chain->answer_ = Fd(answers[0]);
  fflush(nullptr);
  for (int i = 0; i < kChainProcesses; ++i) {
    const Role role = {i,
                       read_commands.get(),
                       write_answers.get(),
                       i == fault_stage ? fault : ChainFault::kNone,
                       &shared->counters[i],
                       &shared->answers};
    chain->children_.push_back(
        Child::Fork([&]() -> int { RunChild(subject, role, wires, queues); }));
  }
  return chain;
}

Chain::~Chain() = default;

int64_t Chain::CpuNs() const {
  int64_t sum_ns = 0;
  for (const Child& child : children_) {
    const pid_t pid = child.pid();
    clockid_t clock;
    timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) continue;
    sum_ns += used.tv_sec * kNanosPerSecond + used.tv_nsec;
  }
  return sum_ns;
}

Chain::Shared* Chain::shared() const { return shared_->as<Shared>(); }

ChainRound Chain::Run(const ChainLoad& load) {
  ChainRound round;
  const Sums before = SumUp(*this, shared()->counters);
  const int64_t begin_ns = MonotonicNanos();
  MR_CHECK(write(command_.get(), &load, sizeof(load)) == sizeof(load), "the source reads");
  pollfd done = {answer_.get(), POLLIN, 0};
  const int64_t limit_ns = load.warm_ns + load.run_ns + 4 * kLostNs;
  char byte;
  if (poll(&done, 1, static_cast<int>(limit_ns / kNanosPerMilli)) != 1 ||
      read(answer_.get(), &byte, 1) != 1) {
    round.wrong = 1;
    return round;
  }
  const auto took_ns = static_cast<double>(MonotonicNanos() - begin_ns);
  const Sums after = SumUp(*this, shared()->counters);
  const ChainAnswers& answers = shared()->answers;
  round.measured = answers.measured;
  round.answers = answers.answers;
  round.wrong = answers.wrong;
  round.p50_ns = static_cast<double>(answers.latencies.PercentileNs(0.5));
  round.p99_ns = static_cast<double>(answers.latencies.PercentileNs(0.99));
  if (answers.measured_ns > 0) {
    round.requests_per_s =
        1e9 * static_cast<double>(answers.measured) / static_cast<double>(answers.measured_ns);
  }
  const double each = 1.0 / static_cast<double>(std::max<uint64_t>(answers.answers, 1));
  round.cores = (after.cpu_ns - before.cpu_ns) / took_ns;
  round.cpu_ns_per_request = (after.cpu_ns - before.cpu_ns) * each;
  round.parks = (after.parks - before.parks) * each;
  round.yields = (after.yields - before.yields) * each;
  round.switches = (after.switches - before.switches) * each;
  round.preempted = (after.preempted - before.preempted) * each;
  round.hogs = after.hogs - before.hogs;
  round.rescues = after.rescues - before.rescues;
  return round;
}

ChainMemory Chain::Memory() const {
  ChainMemory memory;
  for (int i = 0; i < kChainProcesses; ++i) {
    memory.shared += shared()->counters[i].shared_bytes;
    memory.peak += ProcBytes(pid(i), "VmHWM:");
    memory.written += ProcBytes(pid(i), "RssAnon:") + ProcBytes(pid(i), "RssShmem:");
  }
  return memory;
}

}  // namespace millrace::bench
