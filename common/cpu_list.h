// A set of CPUs as people and the kernel write it: "0-1,4".
//
// Purpose: the configuration's `cpus` fields, what the kernel allows, and what `status` shows are
//   one form. Who may call: any thread; nothing is kept.
// Invariants: 1. a CpuList is sorted and names each CPU once. 2. Formatting and parsing are each
//   other's inverse; the empty text is the empty list.
// What fails: ParseCpuList, with what is wrong with the text.
#pragma once

#include <sched.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

using CpuList = std::vector<int>;

inline constexpr int kMaxCpus = CPU_SETSIZE;  // what one affinity mask holds

absl::StatusOr<CpuList> ParseCpuList(std::string_view text);
std::string FormatCpuList(const CpuList& cpus);

cpu_set_t MaskOf(const CpuList& cpus);
CpuList CpusOf(const cpu_set_t& mask);

// The CPUs that the main thread of a process (0: of the caller) may use; empty: it is not there.
CpuList AllowedCpus(pid_t pid);

}  // namespace millrace
