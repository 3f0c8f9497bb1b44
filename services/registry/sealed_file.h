// A model's file, copied to where nobody can change it any more.
//
// Purpose: the compiler child, and every check, work on one immutable copy, whatever happens to
//   the file meanwhile. Who may call: any thread. Ownership: `file` stays the caller's; the copy is
//   a memfd sealed against every change.
// Invariants: the copy is what the file was at one time: it is refused where size, times or inode
//   changed while it was read.
// What fails: INVALID_ARGUMENT (empty, over the cap, not a regular file), ABORTED (it changed),
//   RESOURCE_EXHAUSTED (no memory).
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

absl::StatusOr<Fd> CopySealed(int file, size_t max_bytes);

// Whether a file of which `copied` bytes were read between these two looks stayed what it was.
absl::Status CheckUnchanged(const struct stat& before, const struct stat& after, size_t copied);

}  // namespace millrace
