// The cases of the bench, as prepare.py lists them: a model, its ONNX file, its rows.
//
// Purpose: reads cases.json and the rows. Who may call: one thread. Ownership: a Case owns its
// rows. Fails: InvalidArgument or NotFound with a sentence that names the file.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/datatype.h"
#include "tools/bench/subjects/aligned_bytes.h"

namespace millrace::bench {

// What a subject is given: `rows` float32 rows of `features` columns.
struct Rows {
  const float* data;
  size_t rows, features, groups;
  const float* Chunk(size_t chunk, size_t batch) const { return data + chunk * batch * features; }
};

struct Case {
  std::string name, library;  // "xgboost" or "lightgbm": whose model it is
  std::string model, onnx;    // files; without an ONNX file its Runtime is not asked
  size_t rows, features, groups;
  size_t trees, leaves, depth;
  AlignedBytes data;

  Rows view() const {
    return {reinterpret_cast<const float*>(data.data()), rows, features, groups};
  }
  // XGBoost's margins are float, LightGBM's double.
  DataType margin_type() const { return library == "xgboost" ? DataType::kFp32 : DataType::kFp64; }
};

struct PeerLibrary {
  std::string subject;  // what it is called here: "xgboost_3.2"
  std::string library;  // "xgboost", "lightgbm" or "onnxruntime"
  std::string version, path;
};

struct CaseList {
  std::vector<PeerLibrary> libraries;  // the first of each kind is the one that trained the models
  std::vector<Case> cases;

  // The library whose margins are the truth for a case; null where the list has none.
  const PeerLibrary* Trainer(const Case& test_case) const {
    for (const PeerLibrary& peer : libraries) {
      if (peer.library == test_case.library) return &peer;
    }
    return nullptr;
  }
};

// `names`: which cases, in the list's order; all where it is empty. Every name must be there.
absl::StatusOr<CaseList> ReadCases(const std::string& file, const std::vector<std::string>& names);

}  // namespace millrace::bench
