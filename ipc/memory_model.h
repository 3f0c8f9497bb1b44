// What the protocols of shared memory are written against: this machine's atomics, or a checker's.
//
// Purpose: ipc/link_shm.h and ipc/parking_shm.h take their words, plain bytes and fences from a
//   parameter, so that the very code that serves is what a model of weaker memory runs.
// Who may call: whoever instantiates these templates. A model has
//   Word<T>      an atomic of T: load and store with an order, as std::atomic
//   MessageBody  the plain bytes of a message behind its sequence
//   Write, Read  between a Message and a MessageBody
//   Fence        a sequentially consistent fence
// Invariants: 1. Read copies once: what the caller checks afterwards is the copy, also to the
//   compiler. Nothing fails.
#pragma once

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <atomic>

#include "ipc/copy_pieces.h"
#include "ipc/message.h"

namespace millrace {

struct Hardware {
  template <typename T>
  using Word = std::atomic<T>;

  struct MessageBody {
    std::byte bytes[sizeof(Message) - sizeof(uint32_t)];
  };

  static void Write(MessageBody* to, const Message& from) {
    const uint32_t head = Head(from);
    memcpy(to->bytes, &head, sizeof head);
    CopyPieces(to->bytes + sizeof head, reinterpret_cast<const std::byte*>(&from) + kBehindHead,
               (sizeof(Message) - kBehindHead) / sizeof(uint32_t));
  }
  // As whole vectors, so that the copy can be copied on at once.
  static void Read(const MessageBody& from, Message* to) {
    uint32_t head;
    uint64_t id;
    memcpy(&head, from.bytes, sizeof head);
    memcpy(&id, from.bytes + sizeof head, sizeof id);
    auto* const vectors = reinterpret_cast<__m128i*>(to);
    _mm_storeu_si128(vectors, _mm_set_epi64x(static_cast<int64_t>(id),
                                             static_cast<int64_t>(uint64_t{head} << 32)));
    const auto* const behind =
        reinterpret_cast<const __m128i*>(from.bytes + sizeof head + sizeof id);
    for (size_t i = 0; i < 3; ++i) _mm_storeu_si128(vectors + 1 + i, _mm_loadu_si128(behind + i));
    // The compiler may not read the shared bytes again in place of the copy.
    asm volatile("" : "+m"(*to));
  }
  static void Fence() {
    // seq_cst: meets its like in ipc/parking_shm.h, where the callers label their fences.
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

 private:
  static constexpr size_t kBehindHead = offsetof(Message, id);
  static_assert(kBehindHead == 8 && sizeof(Message) == 64);

  // The bytes from kind to route, made of what was stored in pieces: see CopyPieces.
  static uint32_t Head(const Message& from) {
    uint32_t kind = static_cast<uint32_t>(from.kind) | static_cast<uint32_t>(from.flags) << 4;
    uint32_t code = from.code;
    uint32_t route = from.route;
    asm("" : "+r"(kind), "+r"(code), "+r"(route));
    return kind | code << 8 | route << 16;
  }
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace millrace
