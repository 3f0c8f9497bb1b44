// The files of one version, each read once.
//
// Purpose: what is checked is what is used. With a manifest every file that it lists is copied into
//   a sealed memfd while it is hashed, and all that is read for the version later comes from these
//   copies; without one, files are read from the repository as they are.
// Who may call: one thread. Ownership: refers to the repository, which outlives it; owns the
//   copies.
// Invariants, where the version has a manifest:
//   1. No file is opened twice: a file that is swapped meanwhile is either what was hashed or not
//      looked at. 2. Nothing is read that the manifest does not list; and of what it lists no path
//      leads through a symbolic link, and no file has another name (a hard link).
//   3. All copies together are at most `max_bytes`.
// What fails: Open with every fault at once, in the order in which they were found; Text and
//   ModelFile with a sentence.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/fd.h"
#include "services/registry/manifest/manifest.h"
#include "services/registry/manifest/signing.h"
#include "services/registry/model_definition.h"
#include "services/registry/repository.h"

namespace millrace {

inline constexpr char kViewFile[] = "features.yaml";

struct ManifestOptions {
  enum class Mode { kOff, kAccept, kRequire };
  Mode mode = Mode::kAccept;
  TrustPolicy trust;
  int64_t (*now_s)() = nullptr;  // null: the machine's clock

  // Whether a version without one is refused.
  bool Required() const { return mode == Mode::kRequire || trust.strict || !trust.allow_unsigned; }
};

ManifestOptions ManifestOptionsOf(const Config& config);

class VersionFiles {
 public:
  VersionFiles(const Repository& repository, const ModelDefinition& definition, int64_t version)
      : repository_(repository), definition_(definition), version_(version) {}

  // Reads the manifest, if there is one, and what it lists. Faults go to `faults`; none: it may be
  // gone on.
  void Open(const ManifestOptions& options, size_t max_bytes, std::vector<ConfigFault>* faults);

  // Null: the version has none.
  const Manifest* manifest() const { return manifest_.has_value() ? &*manifest_ : nullptr; }
  // Whether the model's file is what the manifest says, whatever else is wrong.
  bool model_file_is_good() const { return model_file_is_good_; }

  // `name` below the model's folder. NOT_FOUND: there is no such file.
  absl::StatusOr<std::string> Text(const std::string& name, size_t max_bytes) const;
  // A descriptor of the version's model file, sealed where there is a manifest.
  absl::StatusOr<Fd> ModelFile() const;

 private:
  struct Copy {
    Fd fd;
    std::string sha256;
    size_t bytes = 0;
  };

  std::string Below(const std::string& name) const;
  void CheckPlace(std::vector<ConfigFault>* faults) const;
  void CopyList(const std::vector<ManifestFile>& files, const char* list, const std::string& folder,
                std::vector<ConfigFault>* faults);
  void CopyOne(const ManifestFile& file, const std::string& field, const std::string& path,
               std::vector<ConfigFault>* faults);
  void CheckModelFile(const std::vector<ConfigFault>& copy_faults,
                      std::vector<ConfigFault>* faults);

  const Repository& repository_;
  const ModelDefinition& definition_;
  const int64_t version_;
  std::optional<Manifest> manifest_;
  std::map<std::string, Copy> copies_;  // by path below the model's folder
  size_t left_bytes_ = 0;
  bool model_file_is_good_ = false;
};

}  // namespace millrace
