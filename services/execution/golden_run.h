// The golden row of a model, run through a plan that was just opened.
//
// Purpose: a worker that says it is warm has run each of its models once, so that the first request
//   finds code and plan in memory; and a plan that answers wrong here is told of before anybody
//   asks. The whole way of a golden request, through every stage, is ingress's to prove.
// Who may call: the control thread. Ownership: none. Invariants: 1. it runs on the CPU: a device
//   was measured and compared when its plan was opened.
// What fails: nothing; a model without a golden row of the plan's own input has no answer.
#pragma once

#include "absl/types/span.h"
#include "ipc/catalog.pb.h"
#include "kernels/device/dispatch.h"

namespace millrace {

enum class GoldenRun { kNone, kRight, kWrong };

GoldenRun RunGoldenRow(const Model& model, const DispatchKernel& kernel,
                       absl::Span<std::byte> scratch);

}  // namespace millrace
