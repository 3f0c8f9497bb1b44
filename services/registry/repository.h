// The model repository on disk: <root>/<model>/<version>/<file>, config.pbtxt beside the versions.
//
// Purpose: list what is there and open files, and nothing outside the root.
// Who may call: one thread; each call reads the disk anew. Ownership: holds the root's descriptor,
//   so a root that is renamed is still the same root; opened files belong to the caller.
// Invariants:
//   1. Every file is reached from the root's descriptor by openat2 with RESOLVE_BENEATH: symbolic
//      links may lead about inside the root, never out of it. Under Links::kNone no part of the
//      path may be one, and a file must have no other name (a hard link).
//   2. What is opened is a regular file. 3. Listings are sorted, so a build does not depend on the
//      order of a directory.
// What fails: Open where the root cannot be read; the rest with a sentence that names the path
//   below the root. Messages never hold the root's own path.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

class Repository {
 public:
  struct RefusedFolder {
    std::string name;  // printable
    std::string reason;
  };
  struct Listing {
    std::vector<std::string> models;
    std::vector<RefusedFolder> refused;
  };

  enum class Links { kInside, kNone };

  static absl::StatusOr<Repository> Open(const std::string& root);

  // Folders of the root. Files, and names that begin with a dot, are no models.
  absl::StatusOr<Listing> ListModels() const;

  // Version folders of a model, ascending. Folders whose names do not begin with a digit are the
  // user's own; "0", "01" and "1a" are faults, since it is not clear what was meant.
  absl::StatusOr<std::vector<int64_t>> ListVersions(const std::string& model) const;

  // `path` below the root. NOT_FOUND where nothing is there.
  absl::StatusOr<Fd> OpenFile(const std::string& path, Links links = Links::kInside) const;
  absl::StatusOr<std::string> ReadText(const std::string& path, size_t max_bytes,
                                       Links links = Links::kInside) const;

 private:
  explicit Repository(Fd root) : root_(std::move(root)) {}

  Fd root_;
};

}  // namespace millrace
