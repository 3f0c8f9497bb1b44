// A manifest held against the model that its file turned out to be.
//
// Purpose: find a version that is not what it says before anybody may ask it: tensors that changed
//   name, type or shape, fields that no input has, golden vectors whose answers differ.
// Who may call: one thread (a child is started). Ownership: `model` is the caller's.
// Invariants: every fault is told, with the manifest's line. Golden vectors of the tensor are run
//   on the plan itself, by the scalar reference in the compiler's sandbox; those of raw columns
//   need the feature stage and are asked by ingress once the model is served. The first of each
//   kind takes the place of the model's own golden request.
// What fails: see `faults`.
#pragma once

#include <vector>

#include "common/config.h"
#include "ipc/catalog.pb.h"
#include "services/registry/compile.h"
#include "services/registry/manifest/manifest.h"
#include "services/registry/signature.h"

namespace millrace {

void CheckAgainstModel(const Manifest& manifest, const Model& model,
                       std::vector<ConfigFault>* faults);

// `plan` of no plan (-1): an ensemble's vectors are only read.
void CheckGoldenVectors(const Manifest& manifest, const ModelFacts& facts, int plan,
                        const CompileOptions& options, Model* model,
                        std::vector<ConfigFault>* faults);

// Names of what a request may hold: the tensor's columns as TENSOR[i], and the view's raw columns.
std::vector<std::string> FieldsOf(const Model& model);

}  // namespace millrace
