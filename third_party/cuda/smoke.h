// One kernel behind one host function, to test that nvcc, the rule and the link work.
//
// Who may call: any thread. Fails with CUDA's own error code; 0 is success.
#pragma once

namespace millrace {

// Adds the `length` numbers of `addend` to those of `sum` on the first device. Both are host
// memory.
int AddOnDevice(const float* addend, float* sum, int length);

}  // namespace millrace
