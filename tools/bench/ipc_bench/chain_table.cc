#include "tools/bench/ipc_bench/chain_table.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "tools/bench/ipc_bench/chain.h"
#include "tools/bench/ipc_bench/chain_message.h"
#include "tools/bench/ipc_bench/child.h"
#include "tools/bench/ipc_bench/stats.h"

namespace millrace::bench {
namespace {

constexpr int64_t kWorkNs = 5 * kNanosPerMicro;
constexpr int64_t kWarmNs = 20 * kNanosPerMilli;
constexpr int kHogs = 2;
// A round in which others used more than this share of all cores is tried again, as often as
// kMostTries times the rounds wanted allow.
constexpr double kDisturbed = 0.04;
constexpr int kMostTries = 4;
constexpr int64_t kCalmNs = 100 * kNanosPerMilli;  // looked at before a round
// With hogs, what a chain learns of them is learnt before the first round that counts.
constexpr int64_t kHogWarmNs = 2 * kNanosPerSecond;

constexpr std::array kSubjects = {ChainSubject::kMillrace, ChainSubject::kMillracePark,
                                  ChainSubject::kMutexCond, ChainSubject::kMutexBatch};
using Round = std::array<ChainRound, kSubjects.size()>;

struct Case {
  std::string name;
  int in_flight;
  uint32_t work_loops;
};

struct Metric {
  const char* name;
  const char* unit;
  int digits;
  double (*of)(const ChainRound&);
};
constexpr Metric kMetrics[] = {
    {"p50", "us", 1, [](const ChainRound& r) { return r.p50_ns / 1e3; }},
    {"p99", "us", 1, [](const ChainRound& r) { return r.p99_ns / 1e3; }},
    {"throughput", "requests/s", 0, [](const ChainRound& r) { return r.requests_per_s; }},
    {"cpu", "us/request", 2, [](const ChainRound& r) { return r.cpu_ns_per_request / 1e3; }},
    {"cores", "cores", 2, [](const ChainRound& r) { return r.cores; }},
    {"sleeps", "1/request", 3, [](const ChainRound& r) { return r.parks; }},
    {"yields", "1/request", 2, [](const ChainRound& r) { return r.yields; }},
    {"switches", "1/request", 2, [](const ChainRound& r) { return r.switches + r.preempted; }},
    {"hogs", "1/round", 0, [](const ChainRound& r) { return static_cast<double>(r.hogs); }},
};

int64_t ProcessCpuNs(pid_t pid) {
  clockid_t clock;
  timespec used;
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return used.tv_sec * kNanosPerSecond + used.tv_nsec;
}

// Time that all cores together were not idle, as far as the kernel's ticks tell.
int64_t MachineBusyNs() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  int64_t user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft_irq = 0, steal = 0;
  stat >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft_irq >> steal;
  const int64_t ticks = user + nice + system + irq + soft_irq + steal;
  return ticks * kNanosPerSecond / sysconf(_SC_CLK_TCK);
}

double KiB(size_t bytes) { return static_cast<double>(bytes) / 1024; }

class ChainBench {
 public:
  ChainBench(const ChainOptions& options, std::vector<Row>* rows)
      : options_(options), rows_(rows) {}

  uint64_t Run() {
    const uint32_t loops = CalibrateWork(kWorkNs);
    empty_ = StartOrDie(ChainSubject::kEmpty);
    for (const ChainSubject subject : kSubjects) chains_.push_back(StartOrDie(subject));
    for (const bool with_hogs : {false, true}) {
      if (with_hogs) StartHogs();
      for (const uint32_t work_loops : {0u, loops}) {
        for (const int in_flight : {1, 32}) {
          const std::string name =
              absl::StrCat("chain of 5, ", work_loops > 0 ? "5 us of work" : "no work", ", ",
                           in_flight > 1 ? absl::StrCat(in_flight, " in flight") : "closed loop",
                           with_hogs ? absl::StrCat(", ", kHogs, " hogs") : "");
          if (absl::StrContains(name, options_.only)) Measure({name, in_flight, work_loops});
        }
      }
    }
    hogs_.clear();
    ReportMemory();
    return wrong_;
  }

 private:
  static std::unique_ptr<Chain> StartOrDie(ChainSubject subject) {
    auto chain = Chain::Start(subject);
    if (chain.ok()) return *std::move(chain);
    std::cerr << chain.status().message() << "\n";
    exit(1);
  }

  void StartHogs() {
    for (int i = 0; i < kHogs; ++i) {
      hogs_.push_back(Child::Fork([] {
        while (true) DoWork(1'000'000);
        return 0;
      }));
    }
  }

  int64_t OwnCpuNs() const {
    int64_t sum_ns = ProcessCpuNs(getpid());
    for (const auto& chain : chains_) sum_ns += chain->CpuNs();
    for (const Child& hog : hogs_) sum_ns += ProcessCpuNs(hog.pid());
    return sum_ns;
  }

  // All subjects once. What others used meanwhile, as a share of all cores.
  double RunRound(const Case& c, int64_t warm_ns, Round* round) {
    std::array<size_t, kSubjects.size()> order;
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    ChainLoad load;
    load.in_flight = c.in_flight;
    load.work_loops = c.work_loops;
    load.warm_ns = warm_ns;
    load.run_ns = options_.round_ms * kNanosPerMilli;
    double most = 0;
    for (const size_t i : order) {
      const int64_t begin_ns = MonotonicNanos();
      const int64_t others_ns = MachineBusyNs() - OwnCpuNs();
      (*round)[i] = chains_[i]->Run(load);
      wrong_ += (*round)[i].wrong;
      rescues_ += (*round)[i].rescues;
      const auto took_ns = static_cast<double>(MonotonicNanos() - begin_ns);
      const auto used_ns = static_cast<double>(MachineBusyNs() - OwnCpuNs() - others_ns);
      const auto cores = static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
      most = std::max(most, used_ns / took_ns / cores);
    }
    return most;
  }

  // Until others use next to nothing, or what all cases together may wait is spent.
  void WaitForCalm() {
    while (waited_ns_ < options_.patience_s * kNanosPerSecond) {
      const int64_t before_ns = MachineBusyNs() - OwnCpuNs();
      const int64_t begin_ns = MonotonicNanos();
      usleep(kCalmNs / kNanosPerMicro);
      const int64_t used_ns = MachineBusyNs() - OwnCpuNs() - before_ns;
      if (used_ns <= kCalmNs / 10) return;
      waited_ns_ += MonotonicNanos() - begin_ns;
    }
  }

  void Measure(const Case& c) {
    Round round;
    RunRound(c, hogs_.empty() ? kWarmNs : kHogWarmNs, &round);
    std::vector<std::pair<double, Round>> tries;
    int calm = 0, count = 0;
    for (; calm < options_.rounds && count < options_.rounds * kMostTries; ++count) {
      WaitForCalm();
      const double others = RunRound(c, kWarmNs, &round);
      if (others <= kDisturbed) ++calm;
      tries.emplace_back(others, round);
    }
    std::stable_sort(tries.begin(), tries.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    tries.resize(static_cast<size_t>(options_.rounds));
    Report(c, tries, count);
  }

  void Report(const Case& c, const std::vector<std::pair<double, Round>>& rounds, int tries) {
    std::vector<std::vector<std::string>> lines = {{"subject"}};
    for (const Metric& metric : kMetrics) {
      lines[0].push_back(absl::StrCat(metric.name, " ", metric.unit));
    }
    for (size_t i = 0; i < kSubjects.size(); ++i) {
      const std::string subject = ChainSubjectName(kSubjects[i]);
      std::vector<std::string> line = {subject};
      for (const Metric& metric : kMetrics) {
        const double value = MedianOf(metric, rounds, i);
        rows_->push_back({c.name, subject, metric.name, metric.unit, value});
        line.push_back(absl::StrFormat("%.*f", metric.digits, value));
      }
      lines.push_back(std::move(line));
    }
    AddRatios(rounds, &lines);
    std::vector<double> others;
    for (const auto& [share, round] : rounds) others.push_back(share);
    rows_->push_back({c.name, "others", "cpu", "share", Median(others)});
    PrintTable(absl::StrFormat("%s (%d of %d rounds; others used %.0f %% of the cores)", c.name,
                               options_.rounds, tries, 100 * Median(others)),
               lines);
    std::cout << std::flush;
  }

  static double MedianOf(const Metric& metric, const std::vector<std::pair<double, Round>>& rounds,
                         size_t subject) {
    std::vector<double> values;
    for (const auto& [share, round] : rounds) values.push_back(metric.of(round[subject]));
    return Median(std::move(values));
  }

  // Of the first subject to each other.
  static void AddRatios(const std::vector<std::pair<double, Round>>& rounds,
                        std::vector<std::vector<std::string>>* lines) {
    for (size_t i = 1; i < kSubjects.size(); ++i) {
      std::vector<std::string> line = {
          absl::StrCat(ChainSubjectName(kSubjects[0]), " / ", ChainSubjectName(kSubjects[i]))};
      for (const Metric& metric : kMetrics) {
        const double other = MedianOf(metric, rounds, i);
        const double ratio = other > 0 ? MedianOf(metric, rounds, 0) / other : 0;
        line.push_back(other > 0 ? absl::StrFormat("%.2f", ratio) : "");
      }
      lines->push_back(std::move(line));
    }
  }

  void ReportMemory() {
    const ChainMemory base = empty_->Memory();
    std::vector<std::vector<std::string>> lines = {
        {"subject", "shared KiB", "written KiB", "with text KiB"}};
    for (size_t i = 0; i < kSubjects.size(); ++i) {
      const ChainMemory memory = chains_[i]->Memory();
      const std::string subject = ChainSubjectName(kSubjects[i]);
      const std::pair<const char*, double> values[] = {
          {"shared", KiB(memory.shared)},
          {"written", KiB(memory.written) - KiB(base.written)},
          {"with_text", KiB(memory.peak) - KiB(base.peak)}};
      std::vector<std::string> line = {subject};
      for (const auto& [metric, value] : values) {
        rows_->push_back({"chain of 5, memory", subject, metric, "KiB", value});
        line.push_back(absl::StrFormat("%.0f", value));
      }
      lines.push_back(std::move(line));
    }
    PrintTable("chain of 5, memory: made to be shared; resident in the five, above five empty ones",
               lines);
    std::cout << "sleeps that no wake ended: " << rescues_ << "; wrong answers: " << wrong_ << "\n";
  }

  const ChainOptions options_;
  std::vector<Row>* const rows_;
  std::mt19937 random_{std::random_device{}()};
  std::unique_ptr<Chain> empty_;
  std::vector<std::unique_ptr<Chain>> chains_;  // as kSubjects
  std::vector<Child> hogs_;
  uint64_t wrong_ = 0, rescues_ = 0;
  int64_t waited_ns_ = 0;
};

}  // namespace

uint64_t RunChainBench(const ChainOptions& options, std::vector<Row>* rows) {
  return ChainBench(options, rows).Run();
}

}  // namespace millrace::bench
