// What travels in a slot of a link.
//
// Purpose: the 60 bytes behind a slot's sequence number, and the names in them.
// Who may call: lanes. Invariants: 1. a Message is copied out of shared memory once and then
// checked;
//   2. a block lies in the sender's arena, never elsewhere.
#pragma once

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
  kData = 1,   // the block is a tensor pack (ipc/tensor_pack.h)
  kError = 2,  // the block is a sentence; `code` says which status
};

enum MessageFlags : uint32_t {
  kFlagAlone = 1,  // run in a batch of its own: it was being executed when a worker died
};

struct Message {
  MessageKind kind = MessageKind::kData;
  uint8_t code = 0;  // absl::StatusCode of kError
  uint16_t route = 0;
  uint64_t id = 0;           // PartId::Pack
  int64_t deadline_ns = 0;   // CLOCK_MONOTONIC
  uint32_t origin = 0;       // incarnation of the ingress lane whose ledger knows the id
  uint32_t flags = 0;        // MessageFlags
  int64_t published_ns = 0;  // CLOCK_MONOTONIC, for the queue delay
  BlockRef block;
  uint64_t reserved[2] = {};
};
static_assert(sizeof(Message) == 64 && std::is_trivially_copyable_v<Message>);

}  // namespace millrace
