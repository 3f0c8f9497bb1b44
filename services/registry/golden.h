// The golden requests of a model: what ingress asks to find out whether the model is served right.
//
// Purpose: a request for each way through the stages, with what must come back as far as it is
// known
//   from elsewhere than the workers that serve: from the file golden.json beside the version, else
//   from the scalar reference, which the compiler's child ran, and what follows from it here.
// Who may call: any thread; nothing is kept.
// Invariants:
//   1. A model has a golden request for its tensor, and one for the raw columns of its view.
//   2. Whatever the file says fits the model's signature in names, types, shapes and sizes.
// What fails: ReadGolden with a sentence that names the field of the file.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/catalog.pb.h"
#include "services/registry/signature.h"

namespace millrace {

inline constexpr char kGoldenFile[] = "golden.json";

// `model` is complete but for its golden requests, which are added.
void AddGolden(const ModelFacts& facts, Model* model);

// The file's request takes the place of the one that AddGolden made for the same way.
absl::Status ReadGolden(const std::string& text, Model* model);

// A request in the form of that file, without its name in the sentence; for the model, and not yet
// added to it.
absl::StatusOr<Golden> ParseGolden(const std::string& text, const Model& model);
// In the place of the one of the same way, as ReadGolden does.
void PlaceGolden(const Golden& golden, Model* model);
// Whether its inputs are raw columns.
bool IsRaw(const Model& model, const Golden& golden);
// What follows from margins and prediction of a row, for each output where it does.
Golden ExpectedOf(const ModelFacts& facts, const Model& model);

// What is different in an answer from what is expected of it, in a sentence's end; "": they agree,
// the floats within `tolerance` (common/near.h).
std::string GoldenDifference(const GoldenTensor& expected, const GoldenTensor& actual,
                             double tolerance);

// What an ensemble's prediction for the golden row must be; nothing where a member's is not known.
std::vector<double> CombineGolden(Combine combine, const std::vector<double>& weights,
                                  const std::vector<const std::vector<double>*>& members);

}  // namespace millrace
