#include "ipc/tensor_pack.h"

#include <string.h>

#include "absl/strings/str_cat.h"
#include "ipc/copy_pieces.h"

namespace millrace {
namespace {

constexpr size_t kHeaderWords = sizeof(PackHeader) / sizeof(uint32_t);
constexpr size_t kEntryWords = sizeof(TensorEntry) / sizeof(uint32_t);

// The border that a tensor of so many bytes starts on: a power of two, less one.
constexpr size_t BorderMask(size_t bytes) { return bytes <= 8 ? 7 : kTensorAlign - 1; }

// Where it starts, if the bytes before `at` are taken.
constexpr size_t StartOf(size_t at, size_t bytes) {
  return (at + BorderMask(bytes)) & ~BorderMask(bytes);
}

constexpr size_t HeadBytes(size_t tensors) {
  return sizeof(PackHeader) + tensors * sizeof(TensorEntry);
}

absl::Status Refuse(size_t i, const char* why) {
  return absl::FailedPreconditionError(absl::StrCat("tensor pack: tensor ", i, " ", why));
}

}  // namespace

bool PackWriter::Add(uint16_t name, DataType datatype, uint32_t columns, size_t bytes) {
  if (header_.count >= kMaxPackTensors) return false;
  if (bytes > UINT32_MAX / 2 || data_bytes_ + bytes > UINT32_MAX / 2 - kTensorAlign) return false;
  TensorEntry& entry = entries_[header_.count++];
  // Its first word at once, so that Place finds it whole (CopyPieces).
  const uint32_t head = name | static_cast<uint32_t>(datatype) << 16;
  memcpy(static_cast<void*>(&entry), &head, sizeof head);
  entry.columns = columns;
  entry.bytes = static_cast<uint32_t>(bytes);
  data_bytes_ += bytes + kTensorAlign;
  return true;
}

size_t PackWriter::bytes() const {
  size_t at = HeadBytes(header_.count);
  for (size_t i = 0; i < header_.count; ++i)
    at = StartOf(at, entries_[i].bytes) + entries_[i].bytes;
  return at;
}

void PackWriter::Place(std::byte* block) {
  block_ = block;
  size_t at = HeadBytes(header_.count);
  for (size_t i = 0; i < header_.count; ++i) {
    entries_[i].offset = static_cast<uint32_t>(StartOf(at, entries_[i].bytes));
    at = entries_[i].offset + entries_[i].bytes;
  }
  CopyPieces(block, &header_, kHeaderWords);
  CopyPieces(block + sizeof header_, entries_.data(), header_.count * kEntryWords);
}

absl::StatusOr<PackView> PackView::Open(absl::Span<const std::byte> block) {
  absl::StatusOr<PackView> view{absl::in_place};
  if (absl::Status opened = OpenInto(block, &*view); !opened.ok()) return opened;
  return view;
}

PackView& PackView::operator=(const PackView& other) {
  if (this == &other) return *this;
  header_ = other.header_;
  CopyPieces(entries_.data(), other.entries_.data(), header_.count * kEntryWords);
  block_ = other.block_;
  return *this;
}

absl::Status PackView::OpenInto(absl::Span<const std::byte> block, PackView* into) {
  PackView& view = *into;
  view.header_ = {};
  if (block.size() < sizeof(PackHeader)) {
    return absl::FailedPreconditionError("tensor pack: shorter than its header");
  }
  PackHeader header;
  CopyPieces(&header, block.data(), kHeaderWords);
  if (header.count > kMaxPackTensors) {
    return absl::FailedPreconditionError("tensor pack: too many tensors");
  }
  const size_t entry_bytes = header.count * sizeof(TensorEntry);
  if (block.size() < sizeof(PackHeader) + entry_bytes) {
    return absl::FailedPreconditionError("tensor pack: shorter than its entries");
  }
  view.header_ = header;
  CopyPieces(view.entries_.data(), block.data() + sizeof(PackHeader), header.count * kEntryWords);
  view.block_ = block;
  for (size_t i = 0; i < view.header_.count; ++i) {
    const TensorEntry& e = view.entries_[i];
    if (uint64_t{e.offset} + e.bytes > block.size()) return Refuse(i, "lies outside its block");
    if ((e.offset & BorderMask(e.bytes)) != 0) return Refuse(i, "is not aligned");
    if (e.datatype == DataType::kInvalid || e.datatype > DataType::kBf16) {
      return Refuse(i, "has an unknown datatype");
    }
    const size_t width = DataTypeSize(e.datatype);
    // 32 bits times 32 bits times at most 8 overflows 64 bits only beyond any block: checked first.
    const uint64_t elements = uint64_t{view.header_.rows} * e.columns;
    if (elements > UINT32_MAX) return Refuse(i, "has too many elements");
    if (width != 0 && elements * width != e.bytes) return Refuse(i, "has a size unlike its shape");
  }
  return absl::OkStatus();
}

}  // namespace millrace
