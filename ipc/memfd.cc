#include "ipc/memfd.h"

#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

using boost::interprocess::mapped_region;

constexpr int kOwnedSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr int kImmutableSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
constexpr size_t kPageBytes = 4096;

constexpr size_t RoundUp(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

// What Boost.Interprocess maps: anything that has a mapping handle.
struct MemfdHandle {
  int fd;
  boost::interprocess::mapping_handle_t get_mapping_handle() const { return {fd, false}; }
};

absl::Status SystemError(const char* what, int error) {
  const std::string text = absl::StrCat(what, ": ", strerror(error));
  if (error == ENOMEM || error == ENOSPC || error == EMFILE || error == ENFILE) {
    return absl::ResourceExhaustedError(text);
  }
  return absl::InternalError(text);
}

absl::StatusOr<mapped_region> Map(int fd, boost::interprocess::mode_t mode, size_t size) {
  try {
    return mapped_region(MemfdHandle{fd}, mode, 0, size);
  } catch (const boost::interprocess::interprocess_exception& e) {
    return SystemError("cannot map shared memory", e.get_native_error());
  }
}

// What the kernel says it can give without taking it from anybody; no bound where it does not say.
// Asked before a reservation, since reserving more than there is wakes the OOM killer instead of
// failing.
uint64_t AvailableBytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  std::string unit;
  while (meminfo >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(meminfo, unit);
  }
  return UINT64_MAX;
}

absl::StatusOr<Fd> MakeReserved(const char* name, size_t size) {
  if (const uint64_t available = AvailableBytes(); size > available) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot reserve ", size, " bytes of shared memory: ", available, " are available"));
  }
  Fd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return SystemError("memfd_create", errno);
  if (fchmod(fd.get(), 0600) != 0) return SystemError("fchmod of a memfd", errno);
  if (const int error = posix_fallocate(fd.get(), 0, size)) {
    return SystemError("cannot reserve shared memory", error);
  }
  return fd;
}

// Not valid: the pool has not so many pages, or there is none.
Fd MakeHuge(const char* name, size_t size) {
  Fd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB));
  if (!fd.valid() || fchmod(fd.get(), 0600) != 0) return Fd();
  return posix_fallocate(fd.get(), 0, size) == 0 ? std::move(fd) : Fd();
}

absl::Status Refuse(const char* why) {
  return absl::FailedPreconditionError(absl::StrCat("shared memory refused: ", why));
}

absl::Status CheckFile(int fd, size_t min_size, struct stat* info) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0) return Refuse("not a sealable memfd");
  if ((seals & kOwnedSeals) != kOwnedSeals) return Refuse("seals are missing");
  if (fstat(fd, info) != 0) return SystemError("fstat", errno);
  if (info->st_size < 0 || static_cast<size_t>(info->st_size) < min_size) {
    return Refuse("smaller than its type");
  }
  if (info->st_blocks * 512 < info->st_size) return Refuse("memory is not reserved");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Region> Region::Create(RegionType type, uint32_t incarnation, size_t size,
                                      const RegionOptions& options) {
  if (size < sizeof(RegionHeader)) return absl::InvalidArgumentError("region without a header");
  size_t rounded = RoundUp(size, kHugePageBytes);
  absl::StatusOr<Fd> fd = options.huge ? MakeHuge("millrace", rounded) : Fd();
  const bool huge = fd->valid();
  if (!huge) {
    rounded = RoundUp(size, kPageBytes);
    fd = MakeReserved("millrace", rounded);
  }
  if (!fd.ok()) return fd.status();
  absl::StatusOr<mapped_region> map = Map(fd->get(), boost::interprocess::read_write, rounded);
  if (!map.ok()) return map.status();
  if (fcntl(fd->get(), F_ADD_SEALS, kOwnedSeals) != 0) return SystemError("cannot seal", errno);
  if (options.entering == Entering::kNow &&
      madvise(map->get_address(), rounded, MADV_POPULATE_WRITE) != 0) {
    auto* base = static_cast<volatile char*>(map->get_address());
    for (size_t at = 0; at < rounded; at += kPageBytes) base[at] = 0;
  }
  madvise(map->get_address(), rounded, MADV_DONTFORK);
  madvise(map->get_address(), rounded, MADV_DONTDUMP);
  auto* header = static_cast<RegionHeader*>(map->get_address());
  header->layout_hash = type.layout_hash;
  header->size = rounded;
  header->kind = static_cast<uint32_t>(type.kind);
  header->incarnation = incarnation;
  header->magic = kRegionMagic;
  Region region;
  region.map_ = std::move(*map);
  region.fd_ = std::move(*fd);
  region.huge_ = huge;
  region.incarnation_ = incarnation;
  return region;
}

absl::StatusOr<Region> Region::Open(int fd, RegionType type, uint32_t incarnation, size_t min_size,
                                    Entering entering) {
  struct stat info;
  if (absl::Status s = CheckFile(fd, min_size, &info); !s.ok()) return s;
  const size_t size = info.st_size;
  absl::StatusOr<mapped_region> map = Map(fd, boost::interprocess::read_only, size);
  if (!map.ok()) return map.status();
  // Mapped pages are entered now, not by faults on the path of a request.
  const bool now = entering == Entering::kNow;
  if (now && madvise(map->get_address(), size, MADV_POPULATE_READ) != 0 && errno != EINVAL) {
    return Refuse("its pages cannot be read");
  }
  madvise(map->get_address(), size, MADV_DONTFORK);
  madvise(map->get_address(), size, MADV_DONTDUMP);
  RegionHeader header;
  memcpy(&header, map->get_address(), sizeof header);
  if (header.magic != kRegionMagic) return Refuse("wrong magic");
  if (header.kind != static_cast<uint32_t>(type.kind)) return Refuse("wrong kind");
  if (header.layout_hash != type.layout_hash) return Refuse("layout hash differs");
  if (header.size != size) return Refuse("header and file disagree on the size");
  if (header.incarnation != incarnation) return Refuse("incarnation differs");
  Region region;
  region.map_ = std::move(*map);
  region.incarnation_ = incarnation;
  return region;
}

void Region::Enter(size_t from, size_t bytes) const {
  if (from >= size()) return;
  const size_t length = std::min(bytes, size() - from);
  madvise(this->bytes() + from, length, fd_.valid() ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

absl::StatusOr<Fd> MakeSealedCopy(const char* name, const void* bytes, size_t size) {
  Fd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return SystemError("memfd_create", errno);
  for (size_t done = 0; done < size;) {
    const ssize_t n = pwrite(fd.get(), static_cast<const char*>(bytes) + done, size - done, done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return SystemError("cannot fill a memfd", n < 0 ? errno : ENOSPC);
    done += n;
  }
  if (absl::Status s = SealImmutable(fd.get()); !s.ok()) return s;
  return fd;
}

absl::Status SealImmutable(int fd) {
  if (fcntl(fd, F_ADD_SEALS, kImmutableSeals) != 0) return SystemError("cannot seal", errno);
  return absl::OkStatus();
}

absl::StatusOr<mapped_region> MapImmutable(int fd, size_t max_size) {
  const int seals = fcntl(fd, F_GET_SEALS);
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (seals < 0 || (seals & kNeeded) != kNeeded) return Refuse("not sealed against change");
  struct stat info;
  if (fstat(fd, &info) != 0) return SystemError("fstat", errno);
  if (info.st_size <= 0) return Refuse("empty");
  if (static_cast<size_t>(info.st_size) > max_size) return Refuse("over the size limit");
  // Private, since kernels before 6.7 refuse a shared mapping of what is sealed against writing,
  // read-only or not. The pages are the same.
  absl::StatusOr<mapped_region> map = Map(fd, boost::interprocess::read_private, info.st_size);
  if (map.ok()) madvise(map->get_address(), info.st_size, MADV_DONTDUMP);
  return map;
}

}  // namespace millrace
