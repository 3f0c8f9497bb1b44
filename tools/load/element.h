// One element of a tensor as text, and back.
//
// Purpose: cells of CSV files and what the tools print. Who may call: any thread.
// Invariants: 1. text from TakeElement, given to AppendElement, makes the same bytes again (a NaN
//   becomes the quiet NaN). 2. Bytes are little-endian, as the protocol's raw contents.
// What fails: INVALID_ARGUMENT, with a sentence that names the cell.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace {

// A cell as the bytes of one element, at the end of `raw`. `what` names it in the error.
absl::Status AppendElement(std::string_view cell, const std::string& datatype,
                           const std::string& what, std::string* raw);

// The text of the element at the front of `raw`, which it takes away.
absl::StatusOr<std::string> TakeElement(const std::string& datatype, std::string_view* raw);

// The bytes of the element at the front of `raw`, which it takes away.
absl::StatusOr<std::string_view> TakeElementBytes(const std::string& datatype,
                                                  std::string_view* raw);

}  // namespace millrace
