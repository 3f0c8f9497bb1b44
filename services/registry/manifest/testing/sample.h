// A manifest without a fault, that uses every field, and changes to it: for tests only.
#pragma once

#include <string>
#include <string_view>

#include "common/check.h"

namespace millrace {

inline std::string SampleManifest() {
  const std::string hash(64, 'a'), commit(40, 'b');
  return "manifest: 1\n"
         "model: churn\n"
         "version: 3\n"
         "owner: Risk team, Example Bank\n"
         "trained_at: 2026-11-20T10:00:00Z\n"
         "signature:\n"
         "  inputs:\n"
         "    - {name: input, datatype: FP32, shape: [-1, 2], ranges: [[0, 120], [null, 1.5e3]]}\n"
         "  outputs:\n"
         "    - {name: prediction, datatype: FP32, shape: [-1, 1], kind: prediction, range: [0, "
         "1]}\n"
         "files:\n"
         "  - {name: model.json, sha256: " +
         hash +
         ", bytes: 12}\n"
         "shared:\n"
         "  - {name: labels.txt, sha256: " +
         hash +
         "}\n"
         "golden:\n"
         "  - inputs: [{name: input, datatype: FP32, shape: [1, 2], data: [1, null]}]\n"
         "    outputs: [{name: prediction, datatype: FP32, shape: [1, 1], data: [0.25]}]\n"
         "    tolerance: 0.001\n"
         "lineage: {data: 'sha256:" +
         hash + "', code: 'git:" + commit +
         "', parent: 2}\n"
         "policy: CP-7\n"
         "data_protection:\n"
         "  - {field: 'input[0]', purpose: scoring, legal_basis: contract, retention_days: 90}\n"
         "view: {name: churn_v3, sha256: " +
         hash +
         "}\n"
         "reference:\n"
         "  - {field: 'input[0]', edges: [1, 2], shares: [0.25, 0.25, 0.5], missing: 0}\n"
         "  - {field: 'input[1]', values: [a], shares: [0.5, 0.5]}\n"
         "...\n";
}

// `text` with the one place where `from` stands replaced.
inline std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  MR_CHECK(at != std::string::npos, "what a test replaces is there");
  return text.replace(at, from.size(), to);
}

}  // namespace millrace
