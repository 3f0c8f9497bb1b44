// Answers that a turn gives together leave each connection together.
//
// Purpose: gRPC writes each answer by a system call of its own, and each goes the whole way through
//   the network stack, its receiver's wake-up included. Between two calls on a corked socket (TCP)
//   the kernel gathers what is written and sends it as one.
// Who may call: Add the acceptor's thread; everything else the lane's thread.
// Ownership: borrows descriptors of connections that gRPC closes when it likes.
// Invariants:
//   1. Nothing stays corked beyond a turn: the lane calls Flush in each, before it waits.
//   2. A turn is corked only where the one before gave as many answers as there are connections,
//      and more requests were in flight: the two calls that a connection costs are shared by
//      answers, and of connections with one request each there is nothing to gather.
//   3. A descriptor may name something else by now: another socket of ours is then corked to the
//      end of the turn, which costs nothing but that; one that cannot be corked is forgotten, at
//      the latest when the next connection comes.
// Nothing fails.
#pragma once

#include <stddef.h>

#include <atomic>
#include <mutex>
#include <vector>

namespace millrace {

class AnswerCork {
 public:
  // More are not looked at in each turn.
  static constexpr size_t kMostConnections = 64;

  void Add(int fd);

  // Before an answer is handed to gRPC, one of so many that are in flight.
  void Answer(size_t in_flight) {
    if (answers_++ > 0) return;
    in_flight_ = in_flight;
    if (worth_it_) Set(1);
  }
  // What was gathered leaves now; the turn is over.
  void Flush() {
    if (answers_ > 0) End();
  }

 private:
  void End();
  void Set(int on);

  std::mutex mutex_;
  std::vector<int> added_;  // by the acceptor
  std::atomic<bool> has_added_ = false;
  std::vector<int> connections_;  // the lane's
  size_t answers_ = 0;            // of this turn
  size_t in_flight_ = 0;          // at its first answer
  bool worth_it_ = false;         // by what the last turn gave
};

}  // namespace millrace
