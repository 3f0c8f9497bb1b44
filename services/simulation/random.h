// The seed's stream of numbers (splitmix64): the same on every machine and with every library.
//
// Purpose: every choice of a world comes from here. Who may call: the simulation's one thread.
// Invariant: the same seed and the same calls give the same numbers. Nothing fails.
#pragma once

#include <stdint.h>

namespace millrace::sim {

inline uint64_t Mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(Mix(seed + 0x9e3779b97f4a7c15ull)) {}
  uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15ull); }
  uint64_t Below(uint64_t n) { return Next() % n; }
  // Both ends belong to it.
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(Below(static_cast<uint64_t>(most - least) + 1));
  }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  double Share() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

}  // namespace millrace::sim
