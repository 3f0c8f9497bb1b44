// Tree plans on the CPU, at the speed of its vectors.
//
// Purpose: the backend that serves wherever no device is faster. Its levels (level.h) are the same
//   engines for AVX-512, AVX2 and any processor; the best that this one has is chosen once.
// Invariants: those of kernel.h; margins are bit-equal to the reference's, predictions are made by
//   the reference's transforms.
#pragma once

#include "kernels/cpu/level.h"
#include "kernels/kernel.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {

// Lives as long as the process. Its name() is "cpu-" and the level: "cpu-avx512".
const KernelBackend& CpuBackend();

// The backend of one of cpu::SupportedLevels(), for tests and benches.
const KernelBackend& CpuBackendOf(const cpu::Level& level);

// What a process that runs the plan holds for it beside its image: tables and scratch. The same on
// every processor.
size_t CpuPrivateBytes(const TreePlan& plan);

}  // namespace millrace
