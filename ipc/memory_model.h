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

#include <stddef.h>
#include <string.h>

#include <atomic>

#include "ipc/message.h"

namespace millrace {

struct Hardware {
  template <typename T>
  using Word = std::atomic<T>;

  struct MessageBody {
    std::byte bytes[sizeof(Message) - sizeof(uint32_t)];
  };

  static void Write(MessageBody* to, const Message& from) {
    Copy(to->bytes, reinterpret_cast<const std::byte*>(&from) + sizeof(uint32_t));
  }
  static void Read(const MessageBody& from, Message* to) {
    Copy(reinterpret_cast<std::byte*>(to) + sizeof(uint32_t), from.bytes);
    // The compiler may not read the shared bytes again in place of the copy.
    asm volatile("" : "+m"(*to));
  }
  static void Fence() {
    // seq_cst: meets its like in ipc/parking_shm.h, where the callers label their fences.
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

 private:
  // Word by word: a wider move would read what was stored just before in smaller pieces, and wait
  // until these have reached the cache. (The barrier keeps the compiler from joining them.)
  static void Copy(std::byte* to, const std::byte* from) {
    constexpr size_t kHead = sizeof(uint32_t);
    memcpy(to, from, kHead);
    for (size_t at = kHead; at < sizeof(MessageBody); at += sizeof(uint64_t)) {
      uint64_t word;
      memcpy(&word, from + at, sizeof word);
      asm("" : "+r"(word));
      memcpy(to + at, &word, sizeof word);
    }
  }
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace millrace
