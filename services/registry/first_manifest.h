// The first manifest of a version, from what its file is and a sample of inputs.
//
// Purpose: `millrace model init` writes down what a machine can know; what only people know is left
//   as comments to fill in. Who may call: any thread; nothing is kept.
// Invariants: the text has no fault (manifest.h), and the version it describes passes its own
//   check; 64 bins of equal shares at the most a field.
// What fails: INVALID_ARGUMENT, where the sample does not fit the model.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/catalog.pb.h"
#include "services/registry/manifest/manifest.h"
#include "services/registry/sample_table.h"

namespace millrace {

struct FirstManifest {
  const Model* model = nullptr;  // with its version
  std::vector<ManifestFile> files, shared;
  std::string view_sha256;              // of features.yaml, where the model has a view
  std::vector<Golden> golden;           // with what the model answers
  const SampleTable* sample = nullptr;  // null: none
  std::string trained_at;
};

absl::StatusOr<std::string> WriteFirstManifest(const FirstManifest& first);

// Whether the sample is of the view's raw columns (else of the tensor's), or a sentence.
absl::StatusOr<bool> SampleIsRaw(const Model& model, const SampleTable& sample);

}  // namespace millrace
