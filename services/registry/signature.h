// What a model takes and makes: its config and the compiler's report, held against each other.
//
// Purpose: one place decides names, types and shapes of a model in the catalog. What the config
//   leaves out is filled in from the facts; what it declares must agree with them.
// Who may call: any thread; nothing is kept.
// Invariants of a signature that is returned:
//   1. One input [rows, features]; outputs of distinct kinds, each fit for the prediction's
//   columns.
//   2. Labels are UTF-8, not empty, and as many as there are classes.
//   3. One row of input, and one of fixed-size output, fits the limits of the server.
// What fails: INVALID_ARGUMENT with a sentence that names the field.
#pragma once

#include <stdint.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/datatype.h"
#include "ipc/catalog.pb.h"
#include "services/registry/compile_report.h"
#include "services/registry/model_definition.h"

namespace millrace {

// What is true of a model whatever its config says.
struct ModelFacts {
  std::string objective;
  uint32_t features = 0;
  uint32_t prediction_columns = 0;
  uint32_t margin_columns = 0;             // 0: it has no margins
  std::vector<DataType> input_types;       // that it takes; the first where the config says nothing
  std::vector<DataType> prediction_types;  // that it can make; likewise
  DataType margin_type = DataType::kInvalid;
  bool classifies = false;     // its prediction is of classes
  uint32_t max_rows = 0;       // 0: no limit of its own
  int64_t weights_made_s = 0;  // ModelWeights of the catalog
  bool weights_of_file = false;
  // For the golden row (common/golden_row.h); empty: not known.
  std::vector<double> golden_margins;
  std::vector<double> golden_predictions;
};

struct ServerLimits {
  int64_t max_batch_rows = 0;
  int64_t max_request_bytes = 0;
};

// Reads a file of the model's folder.
using ReadModelText = std::function<absl::StatusOr<std::string>(const std::string& name)>;

ModelFacts FactsOf(const CompileReport& report);

// Name, platform, rows, inputs, outputs, columns, objective and config_json of the model; the rest
// of it is the caller's to fill in.
absl::StatusOr<Model> MakeSignature(const ModelDefinition& definition, const ModelFacts& facts,
                                    const ServerLimits& limits, const ReadModelText& read);

}  // namespace millrace
