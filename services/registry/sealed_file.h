// A model's file, copied to where nobody can change it any more.
//
// Purpose: the compiler child, and every check, work on one immutable copy, whatever happens to
//   the file meanwhile. Who may call: any thread. Ownership: `file` stays the caller's; the copy is
//   a memfd sealed against every change.
// Invariants: the copy is what the file was at one time: it is refused where size, times or inode
//   changed while it was read. Its hash is of the bytes of the copy, taken as they were written.
//   Of what is sealed already no second copy is made.
// What fails: INVALID_ARGUMENT (empty, over the cap, not a regular file), ABORTED (it changed),
//   RESOURCE_EXHAUSTED (no memory).
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include <string>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

// `sha256`, where it is not null: 64 hexadecimal digits.
absl::StatusOr<Fd> CopySealed(int file, size_t max_bytes, std::string* sha256 = nullptr);

// Whether a file of which `copied` bytes were read between these two looks stayed what it was.
absl::Status CheckUnchanged(const struct stat& before, const struct stat& after, size_t copied);

}  // namespace millrace
