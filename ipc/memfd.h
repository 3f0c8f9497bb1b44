// Shared memory: anonymous, sealed, with one writer.
//
// Purpose: make a region that only this process can write, and open one that a peer made.
// Who may call: control threads, off the path of requests. Ownership: a Region owns its mapping and
//   (the maker's) its descriptor; the kernel frees the memory when the last of both is gone.
// Invariants:
//   1. A made region is fully reserved before Create returns (a full machine fails a start, never a
//      request), and its pages are entered into the mapping, or will be by Enter. It is sealed
//      SHRINK|GROW|FUTURE_WRITE|SEAL after the maker's mapping: nobody, the maker included, can map
//      it writable again.
//   2. An opener maps read-only, and only after it checked seals, size, blocks, magic, kind, layout
//      hash and incarnation. What lies behind the header is still a peer's and untrusted.
//   3. No name exists anywhere; own mappings are not inherited by fork and not dumped.
// What fails: Create with RESOURCE_EXHAUSTED (no memory), Open with FAILED_PRECONDITION and the
//   check that did not hold.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <boost/interprocess/mapped_region.hpp>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

enum class RegionKind : uint32_t {
  kPage = 1,
  kLedger = 2,
  kArena = 3,
  kLinkSlots = 4,
  kLinkReturns = 5,
  kRoster = 6,
  kLocalWords = 7,  // ipc/client
  kTraces = 8,
};

// What a type of region is: its kind, and a hash of its layout (sizes and offsets), so that two
// builds that disagree refuse each other.
struct RegionType {
  RegionKind kind;
  uint64_t layout_hash;
};

struct RegionHeader {
  uint64_t magic;
  uint64_t layout_hash;
  uint64_t size;
  uint32_t kind;
  uint32_t incarnation;
  uint64_t reserved[4];
};
static_assert(sizeof(RegionHeader) == 64);

inline constexpr uint64_t kRegionMagic = 0x31656361726c6c4dull;  // "Mllrace1"
// Words with different writers or different rhythms stand this far apart (two cache lines, since
// adjacent lines are fetched together). A constant, not the compiler's, which varies with -mtune.
inline constexpr size_t kLineBytes = 128;

// FNV-1a over the numbers that make up a layout.
constexpr uint64_t LayoutHash(std::initializer_list<uint64_t> numbers) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (uint64_t n : numbers) {
    for (int byte = 0; byte < 8; ++byte) {
      hash = (hash ^ ((n >> (8 * byte)) & 0xff)) * 0x100000001b3ull;
    }
  }
  return hash;
}

// When a mapping's pages are entered. Later: by Enter, or by the faults of whoever touches them. A
// worker that must serve again does not wait for it, since mapping a page takes longer than
// reserving it.
enum class Entering { kNow, kLater };

// How a region is made.
struct RegionOptions {
  Entering entering = Entering::kNow;
  // From the machine's pool of 2 MiB pages (hugetlb) while it has some, else of ordinary ones: such
  // pages are reserved and mapped in a fraction of the time. The size is rounded up to them.
  bool huge = false;
};

class Region {
 public:
  Region() = default;
  Region(Region&&) = default;
  Region& operator=(Region&&) = default;

  // `size` in bytes with the header, rounded up to pages. Zeroed behind the header.
  static absl::StatusOr<Region> Create(RegionType type, uint32_t incarnation, size_t size,
                                       const RegionOptions& options = {});

  // `fd` stays the caller's. `min_size`: what the type needs at least.
  static absl::StatusOr<Region> Open(int fd, RegionType type, uint32_t incarnation, size_t min_size,
                                     Entering entering = Entering::kNow);

  // Enters so many bytes of pages from `from` on; any thread, while the mapping stands. Nothing
  // happens beyond the end, and where the kernel cannot (before 5.14).
  void Enter(size_t from, size_t bytes) const;

  template <typename T>
  T* as() const {
    return static_cast<T*>(map_.get_address());
  }
  std::byte* bytes() const { return static_cast<std::byte*>(map_.get_address()); }
  size_t size() const { return map_.get_size(); }
  bool valid() const { return map_.get_address() != nullptr; }
  uint32_t incarnation() const { return incarnation_; }
  const Fd& fd() const { return fd_; }  // the maker's only
  bool huge() const { return huge_; }   // the maker's only

 private:
  boost::interprocess::mapped_region map_;
  Fd fd_;
  bool huge_ = false;
  uint32_t incarnation_ = 0;
};

inline constexpr size_t kHugePageBytes = 2 << 20;

// A memfd holding a copy of `bytes`, sealed against every change (catalogs, plans).
absl::StatusOr<Fd> MakeSealedCopy(const char* name, const void* bytes, size_t size);

// Seals a memfd that was filled by somebody else against every change.
absl::Status SealImmutable(int fd);

// Maps a descriptor that must be sealed against every change (SHRINK|GROW|WRITE), read-only.
absl::StatusOr<boost::interprocess::mapped_region> MapImmutable(int fd, size_t max_size);

}  // namespace millrace
