// The memory model of the interleaving search: words, plain bytes and fences that relacy watches.
//
// Purpose: what ipc/memory_model.h is to the machine, this is to the search: a load may give any
//   value that C++'s rules allow, and plain bytes read or written without an order are a race.
// Who may call: suites that ipc/testing/interleaving.h runs, from inside one run of a suite: relacy
//   knows of no other memory. Ownership: as the memory of a link; a suite holds the words.
// Invariants:
//   1. A word begins at 0, as new shared memory does. Plain bytes begin as nothing: to read them
//      before they were written ends the run.
//   2. Bell orders nothing: what a sleeper sees after it was woken, the words must have told it.
//      It has no time-out: a wake-up that is lost is a deadlock.
// What fails: the run of the suite, with relacy's reason.
#pragma once

// relacy.hpp itself would redefine `new`, `free` and the names of the memory orders; these are its
// parts. RL_DO_ASSERT: its checks of itself and of the suite's being deterministic.
#define RL_DO_ASSERT 1
#include <relacy/base.hpp>
//
#include <relacy/context.hpp>
//
#include <relacy/atomic.hpp>
#include <relacy/atomic_fence.hpp>
#include <relacy/backoff.hpp>
#include <relacy/context_base_impl.hpp>
#include <relacy/dyn_thread.hpp>
#include <relacy/stdlib/condition_variable.hpp>
#include <relacy/stdlib/event.hpp>
#include <relacy/stdlib/mutex.hpp>
#include <relacy/stdlib/semaphore.hpp>
#include <relacy/test_suite.hpp>
#include <relacy/var.hpp>
#undef $

#include <stdint.h>
#include <string.h>

#include <atomic>
#include <source_location>
#include <utility>

#include "ipc/message.h"

namespace millrace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Where a schedule's step stands: a line of the link's own code.
using Where = std::source_location;
inline rl::debug_info Step(const Where& where) { return {"", where.file_name(), where.line()}; }

struct Relacy {
  template <typename T>
  class Word {
   public:
    Word() { Store(0, rl::mo_relaxed, Where::current()); }
    T load(std::memory_order order, Where where = Where::current()) const {
      return Load(Order(order), where);
    }
    void store(T value, std::memory_order order, Where where = Where::current()) {
      Store(value, Order(order), where);
    }

   protected:
    // Both enums count the orders alike.
    static rl::memory_order Order(std::memory_order order) {
      static_assert(rl::mo_relaxed == 0 && rl::mo_acquire == 2 && rl::mo_seq_cst == 5);
      return static_cast<rl::memory_order>(order);
    }
    T Load(rl::memory_order order, const Where& where) const {
      return word_.load(order, Step(where));
    }
    void Store(T value, rl::memory_order order, const Where& where) {
      word_.store(value, order, Step(where));
    }

   private:
    rl::atomic<T> word_;
  };

  // Eight pieces, so that half a message can be seen.
  struct MessageBody {
    rl::var<uint32_t> first;
    rl::var<uint64_t> rest[7];
  };

  static void Write(MessageBody* to, const Message& from) {
    Words words;
    memcpy(&words, &from, sizeof words);
    to->first(Step(Where::current())) = words.first;
    for (int i = 0; i < 7; ++i) to->rest[i](Step(Where::current())) = words.rest[i];
  }
  static void Read(const MessageBody& from, Message* to) {
    Words words;
    words.seq = to->slot_seq;
    words.first = from.first(Step(Where::current()));
    for (int i = 0; i < 7; ++i) words.rest[i] = from.rest[i](Step(Where::current()));
    memcpy(static_cast<void*>(to), &words, sizeof words);
  }
  static void Fence(Where where = Where::current()) {
    rl::atomic_thread_fence(rl::mo_seq_cst, Step(where));
  }

 private:
  struct Words {
    uint32_t seq;
    uint32_t first;
    uint64_t rest[7];
  };
  static_assert(sizeof(Words) == sizeof(Message));
};

// A lane's eventfd.
class Bell {
 public:
  void Ring(Where where = Where::current()) {
    Log("bell: rung", where);
    ++count_;
    if (sleeper_ < 0) return;
    rl::ctx().unpark_thread(std::exchange(sleeper_, -1), false, Step(where));
  }
  void Sleep(Where where = Where::current()) {
    Log("bell: waited for", where);
    if (count_ > 0) return;
    sleeper_ = rl::ctx().current_thread();
    rl::ctx().park_current_thread(false, false, false, Step(where));
  }
  void Clear(Where where = Where::current()) {
    Log("bell: cleared", where);
    count_ = 0;
  }

 private:
  // Each call is a step of its own, as a system call is.
  static void Log(const char* what, const Where& where) {
    rl::ctx().sched();
    if (rl::ctx().collecting_history()) rl::ctx().exec_log_msg(Step(where), what);
  }

  uint64_t count_ = 0;
  rl::thread_id_t sleeper_ = -1;
};

// Models with a mistake, to see that the search finds it.

// A word that forgets its order, or keeps no more of a value than its parity.
struct Forgetful : Relacy {
  template <typename T>
  class Word : public Relacy::Word<T> {
   public:
    T load(std::memory_order order, Where where = Where::current()) const {
      return this->Load(acquire ? this->Order(order) : rl::mo_relaxed, where);
    }
    void store(T value, std::memory_order order, Where where = Where::current()) {
      if (parity) value &= 1;
      this->Store(value, release ? this->Order(order) : rl::mo_relaxed, where);
    }
    bool acquire = true;
    bool release = true;
    bool parity = false;
  };
};

// Threads whose bit stands in kMask have no fence.
template <unsigned kMask>
struct Fenceless : Relacy {
  static void Fence(Where where = Where::current()) {
    if ((kMask >> rl::thread_index() & 1) == 0) Relacy::Fence(where);
  }
};

// A sequence number that is published before the message behind it. For one producer.
struct LateBody : Relacy {
  template <typename T>
  class Word : public Relacy::Word<T> {
   public:
    void store(T value, std::memory_order order, Where where = Where::current()) {
      Relacy::Word<T>::store(value, order, where);
      if (body_ != nullptr) Relacy::Write(std::exchange(body_, nullptr), message_);
    }
  };
  static void Write(MessageBody* to, const Message& from) {
    body_ = to;
    message_ = from;
  }

 private:
  inline static MessageBody* body_ = nullptr;
  inline static Message message_;
};

}  // namespace millrace
