// The options of Triton's FIL backend (`backend: "fil"`), with the meaning that they have there.
//
// Purpose: a repository made for it is served as it is. Its one output, output__0, is FP32: the
//   class as a number (output_class or is_classifier, without predict_proba), else the prediction
//   (of a binary classifier with dims [2] both classes: 1 - p and p).
// Who may call: any thread; nothing is kept. Parameters that only tune are left unused, and named
//   in `unused`; those whose value nobody knows are faults.
// What fails: INVALID_ARGUMENT with the parameter's name and line.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/registry/config_parameters.h"

namespace millrace {

inline constexpr char kFil[] = "fil";

struct FilOptions {
  std::string format;              // as the compiler names it: "xgboost_json" and so on
  std::vector<std::string> files;  // names of the model's file
  bool classes = false;            // the output is the class, not its probability
  bool probabilities = false;      // predict_proba
  float threshold = 0.5f;          // of one column: class 1 is above it
};

absl::StatusOr<FilOptions> TakeFilOptions(Parameters* parameters, std::vector<std::string>* unused);

// output__0, as it is declared or filled in, and no other.
absl::Status CheckFilOutputs(const ConfigLines& lines, registry::ModelConfig* config);

}  // namespace millrace
