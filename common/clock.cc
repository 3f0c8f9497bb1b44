#include "common/clock.h"

#include <time.h>

#include <fstream>
#include <string>

namespace millrace {
namespace {

bool ReadKernelCounts() {
  std::ifstream file("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  std::string source;
  return file >> source && source == "tsc";
}

const bool kernel_counts = ReadKernelCounts();

}  // namespace

constinit thread_local ThreadClock thread_clock;

int64_t MachineTime::KernelNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}

bool MachineTime::KernelCounts() { return kernel_counts; }

}  // namespace millrace
