// Compiles only if the shim's numbers are those of the CUDA toolkit at hand.
#include <cuda_runtime.h>

#include "kernels/simt/runtime_values.h"

#define MR_SIMT_HOLD_ERROR(name, value, sentence) static_assert(name == value, "");
#define MR_SIMT_HOLD(name, value) static_assert(name == value, "");
MR_SIMT_ERRORS(MR_SIMT_HOLD_ERROR)
MR_SIMT_ATTRIBUTES(MR_SIMT_HOLD)
MR_SIMT_FLAGS(MR_SIMT_HOLD)
MR_SIMT_ENUMERATORS(MR_SIMT_HOLD)
