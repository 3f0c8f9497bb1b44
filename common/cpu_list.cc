#include "common/cpu_list.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace millrace {
namespace {

// -1: not a CPU's number.
int CpuNumber(absl::string_view text) {
  int number = -1;
  if (text.empty() || text.size() > 4) return -1;
  for (char c : text) {
    if (c < '0' || c > '9') return -1;
  }
  return absl::SimpleAtoi(text, &number) && number < kMaxCpus ? number : -1;
}

}  // namespace

absl::StatusOr<CpuList> ParseCpuList(std::string_view text) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (text.empty()) return CpuList();
  for (absl::string_view part : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    const size_t dash = part.find('-');
    const int first = CpuNumber(part.substr(0, dash));
    const int last = dash == absl::string_view::npos ? first : CpuNumber(part.substr(dash + 1));
    if (first < 0 || last < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("must be a list of CPUs such as 0-1,4, each from 0 to ", kMaxCpus - 1));
    }
    if (last < first) return absl::InvalidArgumentError("a range of CPUs goes upwards");
    for (int cpu = first; cpu <= last; ++cpu) {
      if (CPU_ISSET(cpu, &mask)) {
        return absl::InvalidArgumentError(absl::StrCat("names CPU ", cpu, " twice"));
      }
      CPU_SET(cpu, &mask);
    }
  }
  return CpusOf(mask);
}

std::string FormatCpuList(const CpuList& cpus) {
  std::string text;
  for (size_t i = 0; i < cpus.size();) {
    size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    absl::StrAppend(&text, text.empty() ? "" : ",", cpus[i]);
    if (last > i) absl::StrAppend(&text, "-", cpus[last]);
    i = last + 1;
  }
  return text;
}

cpu_set_t MaskOf(const CpuList& cpus) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (int cpu : cpus) CPU_SET(cpu, &mask);
  return mask;
}

CpuList CpusOf(const cpu_set_t& mask) {
  CpuList cpus;
  for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  }
  return cpus;
}

CpuList AllowedCpus(pid_t pid) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(pid, sizeof mask, &mask) != 0) return {};
  return CpusOf(mask);
}

}  // namespace millrace
