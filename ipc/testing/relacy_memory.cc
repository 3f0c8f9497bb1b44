// relacy counts what a suite allocates: its headers replace new and delete of the whole program.
#include "ipc/testing/relacy_memory.h"

// They are from before C++14: without these, deletes that know the size would go past it.
void operator delete(void* block, size_t) noexcept { operator delete(block); }
void operator delete[](void* block, size_t) noexcept { operator delete[](block); }

namespace millrace {

// They are inline: without these, where all calls were inlined the libraries would find others, and
// free with one pair what the other gave.
extern void* (*const kReplacedNew[])(size_t);
extern void (*const kReplacedDelete[])(void*);
void* (*const kReplacedNew[])(size_t) = {operator new, operator new[] };
void (*const kReplacedDelete[])(void*) = {operator delete, operator delete[] };

}  // namespace millrace
