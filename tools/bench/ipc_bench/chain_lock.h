// The chain's port over shared memory with a lock: what the links are compared with.
//
// Purpose: a bounded queue for each hop under boost::interprocess::interprocess_mutex with two
//   conditions, payload copied in and out. Who may call: chain.cc; the queues are made by the
//   parent before the fork. Ownership: all processes write all of a queue, as such queues do.
// Invariants: 1. it has as many places as a link has slots, of a message's size. 2. By batch, a
//   batch is taken under one lock and published under one, with one notification; by message, each
//   has a lock and a notification of its own.
// What fails: nothing; a process that is killed with the lock held stops its neighbours.
#pragma once

#include <algorithm>
#include <array>
#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>

#include "ipc/message.h"
#include "tools/bench/ipc_bench/chain_process.h"

namespace millrace::bench {

class LockQueue {
 public:
  void Push(const Message* messages, size_t count) {
    boost::interprocess::scoped_lock<boost::interprocess::interprocess_mutex> lock(mutex_);
    for (size_t i = 0; i < count; ++i) {
      while (tail_ - head_ == kChainSlots) not_full_.wait(lock);
      places_[tail_++ % kChainSlots] = messages[i];
    }
    not_empty_.notify_one();
  }

  // Waits while there is nothing. `waits` counts how often.
  size_t Pop(Message* messages, size_t limit, std::atomic<uint64_t>* waits) {
    boost::interprocess::scoped_lock<boost::interprocess::interprocess_mutex> lock(mutex_);
    while (tail_ == head_) {
      Count(waits);
      not_empty_.wait(lock);
    }
    const bool was_full = tail_ - head_ == kChainSlots;
    const size_t count = std::min<size_t>(limit, tail_ - head_);
    for (size_t i = 0; i < count; ++i) messages[i] = places_[head_++ % kChainSlots];
    if (was_full) not_full_.notify_one();
    return count;
  }

 private:
  boost::interprocess::interprocess_mutex mutex_;
  boost::interprocess::interprocess_condition not_empty_, not_full_;
  uint64_t head_ = 0, tail_ = 0;
  std::array<Message, kChainSlots> places_;
};

// One for each hop: queue i is read by process i.
struct LockQueues {
  struct alignas(4096) OfHop {
    LockQueue queue;
  };
  OfHop hops[kChainProcesses];
};

class LockPort {
 public:
  LockPort(int index, bool by_batch, LockQueues* queues, ChainCounters* counters)
      : by_batch_(by_batch),
        in_(&queues->hops[index].queue),
        out_(&queues->hops[(index + 1) % kChainProcesses].queue),
        counters_(counters) {
    Count(&counters->shared_bytes, sizeof(LockQueues::OfHop));
  }

  size_t Take(Message* messages, size_t limit) {
    return in_->Pop(messages, by_batch_ ? limit : 1, &counters_->parks);
  }

  void Send(const Message& message) {
    if (!by_batch_) return out_->Push(&message, 1);
    MR_CHECK(count_ < kDrain * 2, "a batch is bounded");
    batch_[count_++] = message;
  }

  void Flush() {
    if (count_ > 0) out_->Push(batch_, count_);
    count_ = 0;
  }

 private:
  const bool by_batch_;
  LockQueue* const in_;
  LockQueue* const out_;
  ChainCounters* const counters_;
  Message batch_[kDrain * 2];  // what a stage of the test repeats makes a batch longer
  size_t count_ = 0;
};

}  // namespace millrace::bench
