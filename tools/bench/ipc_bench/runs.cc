#include "tools/bench/ipc_bench/runs.h"

#include <algorithm>
#include <iostream>
#include <new>
#include <random>

#include "tools/bench/ipc_bench/child.h"
#include "tools/bench/ipc_bench/machine.h"
#include "tools/bench/ipc_bench/subjects/bare.h"
#include "tools/bench/ipc_bench/subjects/boost_mq.h"
#include "tools/bench/ipc_bench/subjects/iceoryx.h"
#include "tools/bench/ipc_bench/subjects/kernel.h"
#include "tools/bench/ipc_bench/subjects/millrace.h"
#include "tools/bench/ipc_bench/subjects/mutex_cond.h"
#include "tools/bench/ipc_bench/subjects/spsc_ring.h"

namespace millrace::bench {
namespace {

constexpr int kLimitMs = 20'000;  // of a run; hundreds of times what it should take

template <typename Subject>
SubjectEntry Entry(const char* name) {
  return {name, Subject::Refusal, [](size_t bytes) -> std::unique_ptr<Pair> {
            return std::make_unique<PairOf<Subject>>(bytes);
          }};
}

RunResult ResultOf(const Session& session, Mode mode) {
  RunResult result;
  result.floor_before = session.floor_before.ns();
  result.floor_after = session.floor_after.ns();
  result.floor = (result.floor_before + result.floor_after) / 2;
  result.unpaused_floor = (session.floor_before.unpaused_ns + session.floor_after.unpaused_ns) / 2;
  result.wrong = session.wrong;
  const uint64_t count = session.count;
  if (mode == Mode::kLatency) {
    std::vector<double> one_way_ns(count);
    for (uint64_t i = 0; i < count; ++i) one_way_ns[i] = session.ticks[i] * NsPerTick() / 2;
    result.latency_ns = PercentilesOf(one_way_ns);
  } else {
    result.stream_ns = static_cast<double>(session.elapsed_ticks) * NsPerTick() /
                       static_cast<double>(std::max<uint64_t>(count, 1));
  }
  return result;
}

}  // namespace

const std::vector<SubjectEntry>& AllSubjects() {
  static const std::vector<SubjectEntry> all = {
      Entry<Millrace>("millrace"),
      Entry<Bare>("bare"),
      Entry<SpscRing>("spsc_ring"),
      Entry<Iceoryx>("iceoryx"),
      Entry<BoostMq<true>>("boost_mq_spin"),
      Entry<BoostMq<false>>("boost_mq_block"),
      Entry<MutexCond>("mutex_cond"),
      Entry<PosixMq>("posix_mq"),
      Entry<ByteStream<true>>("unix_socket"),
      Entry<ByteStream<false>>("pipe"),
  };
  return all;
}

double Cell::Over(const std::function<double(const RunResult&)>& figure) const {
  std::vector<double> values;
  for (const RunResult& run : runs) values.push_back(figure(run));
  return Median(std::move(values));
}

std::optional<RunResult> RunOnce(const SubjectEntry& subject, size_t bytes, Mode mode,
                                 const RunOptions& options) {
  if (Interrupted()) return std::nullopt;
  const double ns_per_tick = NsPerTick();  // known before the children are forked
  const SharedArea area(sizeof(Session));
  auto* session = new (area.data()) Session;
  session->run_ticks =
      static_cast<uint64_t>(static_cast<double>(options.run_ms) * 1e6 / ns_per_tick);
  session->max_count = options.max_count;
  session->bounces = options.bounces;
  session->plant = options.plant;
  const std::unique_ptr<Pair> pair = subject.make(bytes);
  Child children[2];
  for (const Side side : {Side::kA, Side::kB}) {
    const auto i = static_cast<size_t>(side);
    children[i] = Child::Fork([&, side, i] {
      PinTo(options.cpus[i]);
      pair->Run(mode, side, options.first, session);
      return 0;
    });
  }
  for (Child& child : children) {
    // The destructors end what did not end by itself.
    if (!child.Wait(kLimitMs) || child.exit_code() != 0) {
      if (Interrupted()) return std::nullopt;
      std::cerr << subject.name << ", " << bytes
                << " bytes: a process of the run did not end well (" << child.exit_code() << ")\n";
      return std::nullopt;
    }
  }
  return ResultOf(*session, mode);
}

void RunAll(int rounds, uint64_t seed, const RunOptions& options, std::vector<Cell>* cells) {
  std::vector<size_t> order(cells->size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937_64 random(seed);
  for (int round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    for (const size_t at : order) {
      if (Interrupted()) return;
      Cell& cell = (*cells)[at];
      const auto result = RunSteady(options.tries, options.tolerance, &cell.dropped, [&] {
        return RunOnce(*cell.subject, cell.size.bytes, cell.mode, options);
      });
      if (result.has_value()) cell.runs.push_back(*result);
    }
  }
}

}  // namespace millrace::bench
