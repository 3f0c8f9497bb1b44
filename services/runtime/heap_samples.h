// What the allocator of this process has sampled of its heap, if it is one that samples.
//
// Purpose: gperftools' tcmalloc, where the process was started with it
// (services/supervisor/spawn.h)
//   and told to sample. Nothing is linked: it is looked for when it is asked. Who may call: any
//   thread. Nothing fails.
#pragma once

#include <stdint.h>

#include <vector>

#include "common/profile.h"

namespace millrace {

bool HeapIsSampled();
// Of this moment; empty where the heap is not sampled.
std::vector<HeapSample> HeapSamples(int64_t* period_bytes);

}  // namespace millrace
