// The CPU kernels that execution serves with.
//
// Purpose: keeps the plan format's names out of files that know the catalog's: both have a
//   `Transform` in this namespace. Who may call: any thread. Nothing fails.
#pragma once

#include "kernels/kernel.h"

namespace millrace {

// The best vectors that this machine has; lives as long as the process.
const KernelBackend& ServingBackend();

}  // namespace millrace
