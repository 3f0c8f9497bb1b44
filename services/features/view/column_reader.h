// Raw columns, read from memory that a peer may be writing, into chunks of our own.
//
// Purpose: whoever reads a column goes through here: each element is copied once, and what is
//   checked and used is the copy. Who may call: any thread.
// Invariants: 1. no element, and no length of a string, is read twice. 2. Reads stay in the column.
// What fails: NextStrings returns the row whose string passes the end.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/datatype.h"

namespace millrace {

// Elements first .. first + values.size() of a column of numbers; `data` may have any alignment.
// The datatype is a numeric one or BOOL; the caller has checked that they lie in the column.
void LoadNumbers(DataType datatype, const std::byte* data, size_t first, absl::Span<double> values);

// Walks a BYTES column once, from its first element to its last.
class StringCursor {
 public:
  StringCursor(const std::byte* data, size_t bytes) : next_(data), left_(bytes) {}

  // The next texts.size() elements; nothing, or the index of the first that passes the end. The
  // views point into the column: their bytes are not ours and may change.
  std::optional<size_t> NextStrings(absl::Span<absl::string_view> texts);

  size_t bytes_left() const { return left_; }

 private:
  const std::byte* next_;
  size_t left_;
};

}  // namespace millrace
