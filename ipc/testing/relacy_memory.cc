// relacy counts what a suite allocates, and replaces new and delete for it. It was written before
// C++14: without these, deletes that know the size would go past it.
#include "ipc/testing/relacy_memory.h"

void operator delete(void* block, size_t) noexcept { operator delete(block); }
void operator delete[](void* block, size_t) noexcept { operator delete[](block); }
