// Answers beside the expected ones, bit by bit.
//
// Purpose: `millrace verify`. Who may call: one thread. Ownership: owns copies of what it tells.
// Invariants: 1. every expected value is counted once: equal only if all its bits (of a text: all
//   its bytes) are. 2. A value that the answer does not hold is a difference.
// What fails: nothing; a difference is a result.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "tools/load/golden.h"

namespace millrace {

class Comparison {
 public:
  struct Value {
    size_t row = 0;      // from 0
    std::string column;  // "prediction", "margin[2]"
    std::string answered, expected;
    bool equal = false;
  };

  // Keeps the values of the first `shown_rows` rows and the first `shown_differences` that differ.
  Comparison(size_t shown_rows, size_t shown_differences)
      : shown_rows_(shown_rows), shown_differences_(shown_differences) {}

  // The answer to `golden`, whose first row is row `first_row` of the file.
  void Add(const GoldenSet& set, const GoldenRequest& golden,
           const inference::ModelInferResponse& response, size_t first_row);

  int64_t values() const { return values_; }
  int64_t equal() const { return equal_; }
  const std::vector<Value>& shown() const { return shown_; }
  const std::vector<Value>& differences() const { return differences_; }

 private:
  void AddOutput(const std::string& name, const std::string& datatype, size_t rows,
                 std::string_view expected, std::string_view answered, size_t first_row);

  const size_t shown_rows_, shown_differences_;
  int64_t values_ = 0, equal_ = 0;
  std::vector<Value> shown_, differences_;
};

}  // namespace millrace
