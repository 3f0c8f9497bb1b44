// Subject `mutex_cond`: a queue in shared memory under a lock.
//
// Purpose: what the original comparison calls shared memory with a lock: slots in a ring under one
//   interprocess mutex, with a condition each for "not empty" and "not full"; copied in and out.
// Who may call: the two processes of a run (pair.h). Invariants: 1. every word of a queue is read
//   and written under its mutex. What fails: a holder that dies leaves the other waiting for ever;
//   the driver ends it.
#pragma once

#include <string.h>

#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <new>
#include <vector>

#include "tools/bench/ipc_bench/pair.h"
#include "tools/bench/ipc_bench/subjects/spsc_ring.h"
#include "tools/bench/ipc_bench/touch.h"

namespace millrace::bench {

class MutexCond {
 public:
  using Mutex = boost::interprocess::interprocess_mutex;
  using Lock = boost::interprocess::scoped_lock<Mutex>;

  struct Queue {
    Mutex mutex;
    boost::interprocess::interprocess_condition not_empty, not_full;
    uint64_t head = 0, tail = 0;
    alignas(128) std::byte slots[128];  // and on
  };
  static size_t QueueBytes(size_t bytes) {
    return sizeof(Queue) + (WindowOf(bytes) * bytes + 127) / 128 * 128;
  }

  static const char* Refusal(size_t) { return nullptr; }

  struct Shared {
    explicit Shared(size_t bytes) : area(2 * QueueBytes(bytes)) {
      for (size_t i = 0; i < 2; ++i) new (area.data() + i * QueueBytes(bytes)) Queue;
    }
    SharedArea area;
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes)
        : bytes_(bytes), slots_(WindowOf(bytes)), buffer_(bytes) {
      const size_t mine = side == Side::kA ? 0 : QueueBytes(bytes);
      out_ = shared.area.as<Queue>(mine);
      in_ = shared.area.as<Queue>(QueueBytes(bytes) - mine);
    }

    void Send(uint64_t stamp) {
      FillBytes(buffer_.data(), bytes_, stamp);
      {
        Lock lock(out_->mutex);
        while (out_->tail - out_->head == slots_) out_->not_full.wait(lock);
        memcpy(out_->slots + out_->tail % slots_ * bytes_, buffer_.data(), bytes_);
        ++out_->tail;
      }
      out_->not_empty.notify_one();
    }

    bool Receive(uint64_t stamp) {
      {
        Lock lock(in_->mutex);
        while (in_->tail == in_->head) in_->not_empty.wait(lock);
        memcpy(buffer_.data(), in_->slots + in_->head % slots_ * bytes_, bytes_);
        ++in_->head;
      }
      in_->not_full.notify_one();
      return CheckBytes(buffer_.data(), bytes_, stamp);
    }

   private:
    size_t bytes_, slots_;
    std::vector<std::byte> buffer_;
    Queue *out_, *in_;
  };
};

}  // namespace millrace::bench
