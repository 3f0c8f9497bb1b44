#include "services/execution/cpu_backend.h"

#include "kernels/cpu/cpu_kernel.h"

namespace millrace {

const KernelBackend& ServingBackend() { return CpuBackend(); }

}  // namespace millrace
