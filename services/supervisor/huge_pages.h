// Whether the machine's pool of huge pages is large enough for what the configuration requires.
//
// Purpose: `memory.huge_pages: require` is refused before anything starts. Who may call: any
//   thread; reads one file. Invariants: 1. the pool as a whole is looked at, not what is free of
//   it: a supervisor that takes over finds its processes' pages in use. 2. As the memory budget
//   does, the need counts two incarnations of each process, spares too.
// Nothing fails: the sentence is the fault.
#pragma once

#include <stdint.h>

#include <string>

#include "common/config.h"

namespace millrace {

// Pages of 2 MiB that the arenas of two incarnations of every process take.
uint64_t HugePagesNeeded(const Config& config);

// `folder`: /sys/kernel/mm/hugepages/hugepages-2048kB, or a test's. Empty: nothing is wrong.
std::string HugePagesFault(const Config& config, const std::string& folder);

}  // namespace millrace
