// manifest.yaml: what one version of a model is, beside its file.
//
// Purpose: read it, and say everything that is wrong with it, each by line and field.
// Who may call: any thread; nothing is kept.
// Invariants:
//   1. The form is the table's (manifest_fields.h) and nothing beside it: an unknown field is a
//      fault. The text is UTF-8, one YAML document of at most 1 MiB. Its last line is YAML's end of
//      a document (...) or that of the signature: a file that was cut short is never taken for
//      whole.
//   2. What faults leave over is filled in section by section: a section at the top that has a
//      fault of form is empty in the result, the others are whole. So a caller can go on finding
//      faults.
//   3. Of a manifest without faults: names stand once; a range's low end is not above its high
//      end; edges ascend; shares are one for each bin and together 1; times are dates that exist; a
//      signature block is last.
// What fails: see `faults`. Nothing here looks at files, keys or the time.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"
#include "common/datatype.h"

namespace millrace {

inline constexpr char kManifestFile[] = "manifest.yaml";
// How one ends that is not signed.
inline constexpr std::string_view kManifestEnd = "\n...\n";

struct ValueRange {
  double low = 0, high = 0;  // infinite: open
};

struct ManifestTensor {
  std::string name;
  DataType datatype = DataType::kInvalid;
  int64_t columns = 0;
  std::string kind;                // of an output
  std::vector<ValueRange> ranges;  // none, one for all columns, or one a column
  int line = 0;
};

struct ManifestFile {
  std::string name;
  std::string sha256;
  int64_t bytes = -1;  // not told
  int line = 0;
};

struct ManifestGolden {
  std::string json;  // as golden.json has it (services/registry/golden.h)
  int line = 0;
};

struct ManifestLineage {
  std::string data, code;
  int64_t parent = 0;  // none
  int line = 0;
};

struct DataTag {
  std::string field, purpose, legal_basis;
  int64_t retention_days = 0;
  int line = 0;
};

struct ManifestView {
  std::string name, sha256;
  int line = 0;
};

struct ReferenceBins {
  std::string field;
  std::vector<double> edges;
  std::vector<std::string> values;  // or these
  std::vector<double> shares;
  double missing = 0;
  int line = 0;
};

struct ManifestSignature {
  std::string key, at, until, ed25519;  // hexadecimal digits; `until` may be empty
  int line = 0;
};

struct Manifest {
  std::string model, owner, trained_at, policy;
  int64_t version = 0;
  std::vector<ManifestTensor> inputs, outputs;
  std::vector<ManifestFile> files, shared;
  std::vector<ManifestGolden> golden;
  std::vector<DataTag> data_protection;
  std::vector<ReferenceBins> reference;
  std::optional<ManifestLineage> lineage;
  std::optional<ManifestView> view;
  std::optional<ManifestSignature> signature_block;
};

struct ManifestResult {
  Manifest manifest;
  std::vector<ConfigFault> faults;
};

ManifestResult ReadManifest(std::string_view yaml);

}  // namespace millrace
