// The lines of a LightGBM text model, before they mean anything.
//
// Purpose: cuts the file into a header and trees of `key=value` fields, and reads lists of numbers
//   out of fields, with faults named by path ("Tree=3.left_child[7]: ...").
// Invariants: fields refer to the file's text, which outlives them; a key stands once a block.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

struct LightgbmBlock {
  std::string path;                                     // "header" or "Tree=3"
  std::map<std::string_view, std::string_view> fields;  // a bare flag has an empty value

  bool Has(std::string_view key) const { return fields.count(key) != 0; }
  std::string Path(std::string_view key) const { return path + "." + std::string(key); }
};

struct LightgbmFile {
  LightgbmBlock header;
  std::vector<LightgbmBlock> trees;
};

// Fails where the file is cut off, a line is no field, or a field is not one of LightGBM's.
absl::StatusOr<LightgbmFile> SplitLightgbmFile(std::string_view text);

absl::StatusOr<std::string_view> FieldText(const LightgbmBlock& block, std::string_view key);
absl::StatusOr<int64_t> FieldInteger(const LightgbmBlock& block, std::string_view key, int64_t low,
                                     int64_t high);
// Exactly `count` numbers.
absl::StatusOr<std::vector<int64_t>> FieldIntegers(const LightgbmBlock& block, std::string_view key,
                                                   uint64_t count);
absl::StatusOr<std::vector<double>> FieldDoubles(const LightgbmBlock& block, std::string_view key,
                                                 uint64_t count);

// Words between spaces; several spaces count as one.
std::vector<std::string_view> SplitWords(std::string_view text);

}  // namespace millrace
