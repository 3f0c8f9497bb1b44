// A tensor pack: the tensors of one request or result in one block.
//
// Purpose: the form in which tensors lie in an arena. Who may call: lanes.
// Layout: PackHeader, `count` TensorEntry, then the data, each tensor on a 64-byte border, one of
//   at most 8 bytes on an 8-byte border (a single value's pack then fits a message, kInlineBytes),
//   little-endian, row-major; BYTES as u32 length + bytes for each element.
// Invariants:
//   1. A reader copies header and entries once and checks that each tensor lies inside the block
//   and
//      that its bytes agree with rows, columns and datatype (BYTES excepted: its elements are
//      checked by whoever walks them). The data is never read before this check.
//   2. Data of fixed width is aligned for its type in any block of an arena.
// What fails: Open with the check that did not hold.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/check.h"
#include "common/datatype.h"

namespace millrace {

inline constexpr size_t kMaxPackTensors = 256;
inline constexpr size_t kTensorAlign = 64;

struct PackHeader {
  uint32_t count = 0;
  uint32_t rows = 0;
};

struct TensorEntry {
  uint16_t name = 0;  // its place in the signature, the view's columns, or an OutputKind
  DataType datatype = DataType::kInvalid;
  uint8_t reserved = 0;
  uint32_t columns = 0;  // elements of a row
  uint32_t offset = 0;   // from the start of the pack, bytes
  uint32_t bytes = 0;
};
static_assert(sizeof(PackHeader) == 8 && sizeof(TensorEntry) == 16);

// One tensor of an opened pack.
struct PackTensor {
  uint16_t name = 0;
  DataType datatype = DataType::kInvalid;
  uint32_t columns = 0;
  absl::Span<const std::byte> data;
};

// Entries of a pack: room for all, of which only those that are there are written or copied.
class PackEntries {
 public:
  PackEntries() {}  // NOLINT: the room stays as it is
  TensorEntry* data() { return room_.entries; }
  const TensorEntry* data() const { return room_.entries; }
  TensorEntry& operator[](size_t i) { return room_.entries[i]; }
  const TensorEntry& operator[](size_t i) const { return room_.entries[i]; }

 private:
  union Room {
    Room() {}
    TensorEntry entries[kMaxPackTensors];
  } room_;
};

// Writes a pack into memory of ours: Add for each tensor, then Place in a block of bytes(), then
// the caller fills Data(i).
class PackWriter {
 public:
  explicit PackWriter(uint32_t rows) : header_{0, rows} {}
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;
  // False once kMaxPackTensors are there or the pack would pass 4 GiB.
  bool Add(uint16_t name, DataType datatype, uint32_t columns, size_t bytes);
  size_t bytes() const;
  void Place(std::byte* block);
  std::byte* Data(size_t i) const { return block_ + entries_[i].offset; }
  size_t data_bytes(size_t i) const { return entries_[i].bytes; }
  size_t count() const { return header_.count; }

  // An upper bound of bytes() for `tensors` tensors of `data_bytes` together.
  static size_t BytesBound(size_t tensors, size_t data_bytes) {
    return sizeof(PackHeader) + tensors * (sizeof(TensorEntry) + kTensorAlign) + data_bytes;
  }

 private:
  PackHeader header_;
  PackEntries entries_;
  size_t data_bytes_ = 0;  // with the most that alignment may add
  std::byte* block_ = nullptr;
};

class PackView {
 public:
  static absl::StatusOr<PackView> Open(absl::Span<const std::byte> block);
  // The same into `view`, which holds nothing sensible after a failure.
  static absl::Status OpenInto(absl::Span<const std::byte> block, PackView* view);
  PackView() = default;
  PackView(const PackView& other) { *this = other; }
  PackView& operator=(const PackView& other);
  uint32_t rows() const { return header_.rows; }
  size_t count() const { return header_.count; }
  PackTensor tensor(size_t i) const {
    MR_CHECK(i < header_.count, "no such tensor in the pack");
    const TensorEntry& e = entries_[i];
    return {e.name, e.datatype, e.columns, block_.subspan(e.offset, e.bytes)};
  }
  // The tensor with that name, or count() if there is none.
  size_t Find(uint16_t name) const {
    size_t i = 0;
    while (i < header_.count && entries_[i].name != name) ++i;
    return i;
  }

 private:
  PackHeader header_;
  PackEntries entries_;
  absl::Span<const std::byte> block_;
};

}  // namespace millrace
