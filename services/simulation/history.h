// What happened in a world: a hash over all of it, and text where somebody wants to read it.
//
// Purpose: two runs of a seed are the same exactly when their hashes are. Who may call: the
//   simulation's one thread. Invariants: 1. nothing that depends on addresses, descriptors or real
//   time is noted. 2. The first violation is kept. Nothing fails.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>

namespace millrace::sim {

class History {
 public:
  explicit History(bool trace) : trace_(trace) { current_ = this; }
  ~History() { current_ = nullptr; }
  History(const History&) = delete;
  History& operator=(const History&) = delete;
  // Of the world that stands now; null without one.
  static const History* current() { return current_; }

  void Note(std::string_view what, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0);
  // Words of the product's log; no part of the hash.
  void Say(std::string_view text) const;
  // A rule of the checker does not hold: ends the run.
  void Violate(const std::string& sentence);

  bool violated() const { return !violation_.empty(); }
  const std::string& violation() const { return violation_; }
  uint64_t hash() const { return hash_; }
  uint64_t events() const { return events_; }
  bool trace() const { return trace_; }

 private:
  void Add(uint64_t word) { hash_ = (hash_ ^ word) * 0x100000001b3ull ^ hash_ >> 29; }

  static const History* current_;

  const bool trace_;
  uint64_t hash_ = 0xcbf29ce484222325ull;
  uint64_t events_ = 0;
  std::string violation_;
};

}  // namespace millrace::sim
