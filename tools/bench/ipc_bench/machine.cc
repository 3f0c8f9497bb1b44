#include "tools/bench/ipc_bench/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>

#include "common/clock.h"

namespace millrace::bench {
namespace {

double MeasureNsPerTick() {
  const int64_t start_ns = MonotonicNanos();
  const uint64_t start = ReadTicks();
  while (MonotonicNanos() - start_ns < 20 * kNanosPerMilli) Pause();
  const int64_t end_ns = MonotonicNanos();
  return static_cast<double>(end_ns - start_ns) / static_cast<double>(ReadTicks() - start);
}

}  // namespace

double NsPerTick() {
  static const double ns = MeasureNsPerTick();
  return ns;
}

void Die(const char* sentence) {
  perror(sentence);
  _exit(1);
}

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) Die("cannot be pinned to a processor");
}

void RunFirst() {
  sched_param param = {};
  param.sched_priority = 1;
  if (sched_setscheduler(0, SCHED_FIFO, &param) != 0) Die("may not run with real-time priority");
}

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

SharedArea::SharedArea(size_t bytes) : bytes_(bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
                  -1, 0);
  if (at == MAP_FAILED) Die("no shared memory");
  data_ = static_cast<std::byte*>(at);
}

SharedArea::~SharedArea() { munmap(data_, bytes_); }

}  // namespace millrace::bench
