// From a model file to a plan.
//
// Purpose: reads XGBoost's JSON and UBJSON (1.x to 3.x) and LightGBM's text (v2 to v4) and writes
//   the plan that gives the same numbers. What is not supported is refused by name.
// Who may call: one thread. The server calls it only inside a throw-away child (millrace-compile):
//   a model file is untrusted, and parsing it may take memory and time in proportion to its lies.
// Invariants: the plan opens; a fault is a sentence that names the field of the file.
// Fails: InvalidArgument (malformed), Unimplemented (a feature we do not support),
//   ResourceExhausted (over the plan format's limits or out of memory).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

enum class ModelFormat { kAuto, kXgboostJson, kXgboostUbj, kLightgbmText };

// "xgboost_json"; the inverse gives nothing but kAuto for "auto".
std::string_view ModelFormatName(ModelFormat format);
absl::StatusOr<ModelFormat> ParseModelFormat(std::string_view name);

struct CompiledModel {
  std::vector<std::byte> plan;
  ModelFormat format;
  std::string producer;  // "xgboost 2.1.4", "lightgbm v4"
};

absl::StatusOr<CompiledModel> CompileModel(std::string_view file, ModelFormat format);

}  // namespace millrace
