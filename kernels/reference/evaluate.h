// The scalar evaluator of tree plans: the truth that every other kernel is held against.
//
// Purpose: margins bit for bit those of the library that trained the model, and predictions within
//   one unit in the last place of them (exp and log come from this machine's libm, not theirs).
// Who may call: any thread; the functions have no state, allocate nothing and do not throw.
// Invariants:
//   1. A row's result does not depend on the other rows, nor on how many there are.
//   2. Sums run in the order of the plan's trees and in the trainer's precision: float for XGBoost,
//      double for LightGBM. This file is compiled with -ffp-contract=off.
//   3. Any value may stand in a row: NaN is missing, infinities compare as numbers.
// Fails: nothing; a plan was checked when it was opened.
#pragma once

#include <stddef.h>

#include "kernels/plan/plan_view.h"

namespace millrace::reference {

// rows: [n, features] of `input`, which the plan must accept. out: [n, groups] of margin_type().
void Margins(const PlanView& plan, DataType input, const void* rows, size_t n, void* out);

// margins: [n, groups] of margin_type(). out: [n, prediction_columns] of prediction_type().
// `out` may be `margins` itself.
void Predictions(const PlanView& plan, const void* margins, size_t n, void* out);

}  // namespace millrace::reference
