#include "services/registry/sealed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "ipc/memfd.h"
#include "services/registry/manifest/sha256.h"
#include "services/runtime/background.h"

namespace millrace {
namespace {

constexpr size_t kChunkBytes = 64 * 1024;  // some 100 us: read, hashed and written

absl::Status WriteAll(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a copy of the file: ", strerror(errno)));
    }
    bytes += n;
    size -= n;
  }
  return absl::OkStatus();
}

// Returns how much there was, at most one byte past `size`, so that growth is seen.
absl::StatusOr<size_t> CopyAll(int from, int to, size_t size, Sha256* hash) {
  std::vector<char> chunk(kChunkBytes);
  size_t copied = 0;
  while (copied <= size) {
    const size_t wanted = std::min(chunk.size(), size + 1 - copied);
    const ssize_t n = pread(from, chunk.data(), wanted, static_cast<off_t>(copied));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::InvalidArgumentError(absl::StrCat("the file cannot be read: ", strerror(errno)));
    }
    if (n == 0) break;
    hash->Update(chunk.data(), n);
    if (absl::Status s = WriteAll(to, chunk.data(), n); !s.ok()) return s;
    copied += n;
    LetOthersRun();
  }
  return copied;
}

bool IsSealed(int file) {
  constexpr int kAll = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  const int seals = fcntl(file, F_GET_SEALS);
  return seals >= 0 && (seals & kAll) == kAll;
}

bool SameTime(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

absl::Status CheckUnchanged(const struct stat& before, const struct stat& after, size_t copied) {
  if (before.st_dev != after.st_dev || before.st_ino != after.st_ino ||
      before.st_size != after.st_size || static_cast<size_t>(after.st_size) != copied ||
      !SameTime(before.st_mtim, after.st_mtim) || !SameTime(before.st_ctim, after.st_ctim) ||
      after.st_nlink == 0) {
    return absl::AbortedError("the file changed while it was read");
  }
  return absl::OkStatus();
}

absl::StatusOr<Fd> CopySealed(int file, size_t max_bytes, std::string* sha256) {
  struct stat before;
  if (fstat(file, &before) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the file cannot be read: ", strerror(errno)));
  }
  if (!S_ISREG(before.st_mode)) return absl::InvalidArgumentError("not a regular file");
  if (before.st_size == 0) return absl::InvalidArgumentError("the file is empty");
  const size_t size = before.st_size;
  if (size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file has ", size, " bytes, and at most ", max_bytes, " are taken"));
  }
  if (sha256 == nullptr && IsSealed(file)) {
    lseek(file, 0, SEEK_SET);
    return Fd(fcntl(file, F_DUPFD_CLOEXEC, 0));
  }
  Fd copy(memfd_create("model", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.valid()) {
    return absl::ResourceExhaustedError(absl::StrCat("memfd_create: ", strerror(errno)));
  }
  Sha256 hash;
  absl::StatusOr<size_t> copied = CopyAll(file, copy.get(), size, &hash);
  if (!copied.ok()) return copied.status();
  struct stat after;
  if (fstat(file, &after) != 0) return absl::AbortedError("the file changed while it was read");
  if (absl::Status s = CheckUnchanged(before, after, *copied); !s.ok()) return s;
  lseek(copy.get(), 0, SEEK_SET);  // whoever is given the copy may read it from its start
  if (absl::Status s = SealImmutable(copy.get()); !s.ok()) return s;
  if (sha256 != nullptr) *sha256 = hash.Finish();
  return copy;
}

}  // namespace millrace
