// The kernel's word that something changed below some folders.
//
// Purpose: inotify by what is asked of it here: which model, which part of it, and whether it was
//   put there whole, by renaming.
// Who may call: one thread. Ownership: the descriptor and the table of what is watched.
// Invariants: 1. names that begin with a dot are not told. 2. What could not be told (the queue
//   overflowed, a folder that is watched left) is told as `lost`: everything must be looked at.
// What fails: Open and Add with the kernel's reason; what is watched so far goes on.
#pragma once

#include <stdint.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

class InotifySource {
 public:
  struct Event {
    std::string model;
    int64_t version = 0;       // 0: the model's folder
    bool whole_model = false;  // of the folder itself, in the root
    bool renamed = false;      // put there whole
  };
  struct Heard {
    std::vector<Event> events;
    bool lost = false;
  };

  static absl::StatusOr<InotifySource> Open();

  int fd() const { return fd_.get(); }
  // The root (no model), a model's folder, or a version's. What was watched already stays so.
  absl::Status Add(const std::string& path, const std::string& model, int64_t version);
  // What was said since; does not wait.
  Heard Read();

 private:
  struct Folder {
    std::string model;
    int64_t version = 0;
  };

  explicit InotifySource(Fd fd) : fd_(std::move(fd)) {}
  void Take(int watch, uint32_t mask, const std::string& name, Heard* heard);

  Fd fd_;
  std::map<int, Folder> folders_;  // by watch
};

}  // namespace millrace
