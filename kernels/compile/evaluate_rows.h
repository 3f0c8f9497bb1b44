// Runs the scalar reference on a compiled plan, for the compiler's other mode.
//
// Purpose: golden vectors are held against the plan that is to be served, before it is, in a child
//   that can do no harm. Who may call: the compiler's main(), once, after it entered the sandbox.
// Invariants: 1. The plan is opened like any untrusted image. 2. `rows` is taken as it is: a row is
//   features() values of `input`, and what is over or under is refused.
// What fails: INVALID_ARGUMENT with a sentence.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/datatype.h"

namespace millrace {

// Of each row its margins, then its predictions, all as doubles.
absl::StatusOr<std::vector<double>> EvaluateRows(const std::string& plan, DataType input,
                                                 const std::string& rows);

}  // namespace millrace
