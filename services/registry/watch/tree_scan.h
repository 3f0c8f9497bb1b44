// What lies in the repository, by names, numbers and times: nothing is opened but folders.
//
// Purpose: tell what changed by comparing two scans, whatever told of the change.
// Who may call: one thread; each call reads the disk anew. Ownership: nothing is kept but the
// root's
//   descriptor.
// Invariants:
//   1. Two prints of a file are equal only where name, inode, size, time of its content and time of
//      its inode are. The device is no part of it: a file system that is mounted again is the same.
//   2. Names that begin with a dot are nobody's: writers keep their unfinished files under such.
// What fails: Open and Models where the root cannot be read. A model that cannot be read has a
// print
//   that says so.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

struct ModelPrint {
  std::string files;                        // of the model's folder
  std::map<int64_t, std::string> versions;  // of each version's folder
};

// The version that a folder of that name is; nothing for another.
std::optional<int64_t> VersionOfName(const std::string& name);

class RootScan {
 public:
  static absl::StatusOr<RootScan> Open(const std::string& root);

  // Folders in it, sorted.
  absl::StatusOr<std::vector<std::string>> Models() const;
  // Nothing: there is no such folder.
  std::optional<ModelPrint> Model(const std::string& name) const;

  // Of the folder itself: device and inode.
  std::pair<uint64_t, uint64_t> identity() const { return identity_; }
  // Why changes made elsewhere are not told of here; empty: they are, as far as is known.
  std::string WhyNotNotified() const;

 private:
  explicit RootScan(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
  std::pair<uint64_t, uint64_t> identity_;
};

// What a file system of that kind (statfs) is called, where it is shared with other machines or
// made by a program, so that the kernel does not see every change; empty: another.
std::string RemoteFileSystem(uint64_t magic);

}  // namespace millrace
