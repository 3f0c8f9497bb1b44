// Whether there is a cuBLAS on this machine: looked for when asked, never linked.
//
// Who may call: any thread. The library stays loaded once it was found.
#pragma once

#include <cstdint>

namespace millrace::cuda {

// As cuBLAS numbers itself: 130100 is 13.1.0. 0: there is none of a version that we know.
int32_t CublasVersion();

}  // namespace millrace::cuda
