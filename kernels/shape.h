// What a plan says of its kernel: the same for every backend.
#pragma once

#include "kernels/kernel.h"
#include "kernels/plan/plan_view.h"

namespace millrace {

KernelShape ShapeOf(const PlanView& plan);

}  // namespace millrace
