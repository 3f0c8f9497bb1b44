// What travels in a slot of a link.
//
// Purpose: the 60 bytes behind a slot's sequence number, and the names in them.
// Who may call: lanes. Invariants:
//   1. A Message is copied out of shared memory once and then checked.
//   2. A block lies in the sender's arena, never elsewhere. A payload of at most kInlineBytes
//      travels in the message itself and needs no block (kInline).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <type_traits>

namespace millrace {

// Names a part of a request: the ingress lane's ledger slot, how often that slot was used before,
// which attempt (a replay counts up), and the member of an ensemble.
struct PartId {
  uint16_t slot = 0;
  uint32_t sequence = 0;
  uint8_t attempt = 0;
  uint8_t member = 0;

  uint64_t Pack() const {
    return uint64_t{slot} << 48 | uint64_t{sequence} << 16 | uint64_t{attempt} << 8 | member;
  }
  static PartId Unpack(uint64_t word) {
    return {static_cast<uint16_t>(word >> 48), static_cast<uint32_t>(word >> 16),
            static_cast<uint8_t>(word >> 8), static_cast<uint8_t>(word)};
  }
  bool operator==(const PartId&) const = default;
};

// A piece of the sender's arena, in bytes from the arena's start. length 0: none.
struct BlockRef {
  uint32_t offset = 0;
  uint32_t length = 0;
};

enum class MessageKind : uint8_t {
  kData = 1,    // the block is a tensor pack (ipc/tensor_pack.h)
  kError = 2,   // the block is a sentence; `code` says which status
  kInline = 3,  // the tensor pack stands in `payload`; `code` is its length in bytes
};

enum MessageFlags : uint8_t {
  kFlagAlone = 1,  // run in a batch of its own: it was being executed when a worker died
};

inline constexpr size_t kInlineBytes = 32;

// Times of publishing travel as 32 bits of a coarser clock: a quarter of a microsecond a tick,
// unambiguous for 18 minutes, for the statistics of queue delay alone.
inline constexpr int kPublishedShift = 8;
inline constexpr uint32_t PublishedTicks(int64_t now_ns) {
  return static_cast<uint32_t>(static_cast<uint64_t>(now_ns) >> kPublishedShift);
}
// Nanoseconds from publishing to now; 0 for what claims to come from the future.
inline constexpr uint64_t PublishedAgeNs(uint32_t ticks, int64_t now_ns) {
  const auto age = static_cast<int32_t>(PublishedTicks(now_ns) - ticks);
  return age > 0 ? static_cast<uint64_t>(age) << kPublishedShift : 0;
}

// On the border of a vector, by which it is copied.
struct alignas(16) Message {
  uint32_t slot_seq = 0;  // the slot has its sequence here; no part of a message
  MessageKind kind : 4 = MessageKind::kData;
  uint8_t flags : 4 = 0;  // MessageFlags
  uint8_t code = 0;       // absl::StatusCode of kError; length of kInline
  uint16_t route = 0;
  uint64_t id = 0;  // PartId::Pack
  union {
    int64_t deadline_ns = 0;  // from ingress: CLOCK_MONOTONIC; also in the ledger
    uint64_t times;           // from a worker: StageTimes::Pack
  };
  uint32_t origin = 0;           // incarnation of the ingress lane whose ledger knows the id
  uint32_t published_ticks = 0;  // PublishedTicks, for the queue delay
  union {
    BlockRef block = {};  // kData, kError
    std::byte payload[kInlineBytes];
  };

  bool HasBlock() const { return kind != MessageKind::kInline && block.length > 0; }
};

// Room for some that are taken from a link at once; each is there once Take has written it.
template <size_t kCount>
class MessageRoom {
 public:
  MessageRoom() {}  // NOLINT: the room stays as it is
  Message& operator[](size_t i) { return room_.messages[i]; }

 private:
  union Room {
    Room() {}
    Message messages[kCount];
  } room_;
};

static_assert(sizeof(Message) == 64 && std::is_trivially_copyable_v<Message>);
static_assert(offsetof(Message, id) == 8 && offsetof(Message, deadline_ns) == 16 &&
              offsetof(Message, block) == 32 && offsetof(Message, payload) == 32);

}  // namespace millrace
