// A hostile owner of memory: flips its bits while somebody reads it, from another thread.
//
// Purpose: what a taken-over peer may do at any moment, between any two instructions of a reader.
//   And guard pages, so that a read beside a peer's region dies instead of finding something.
// Who may call: tests; the thread that makes one stays on its core. Ownership: the memory stays the
// caller's and outlives the flipper. Invariants: 1. half of the flips fall where it aims, the
// others anywhere. Nothing fails.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include <atomic>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "ipc/testing/cores.h"

namespace millrace {

class BitFlipper {
 public:
  // When it is there, the first flip has happened.
  BitFlipper(absl::Span<std::byte> memory, uint64_t seed)
      : memory_(memory), thread_([this, seed] { Flip(seed); }) {
    RunOnCore(0);
    while (flips_ == 0) std::this_thread::yield();
  }
  ~BitFlipper() { Stop(); }
  BitFlipper(const BitFlipper&) = delete;

  void Aim(size_t offset, size_t length) { aim_ = uint64_t{offset} << 32 | length; }
  // Behind it nothing is flipped.
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  uint64_t flips() const { return flips_; }

 private:
  void Flip(uint64_t seed) {
    // Now without a pause, now so seldom that a reader comes to work.
    constexpr uint64_t kMostTurns[] = {1, 20, 300, 5000};
    constexpr uint64_t kFlipsOfAPace = 64;
    RunOnCore(1);
    std::mt19937_64 random(seed);
    uint64_t most_turns = 1;
    while (!stop_) {
      if (flips_ % kFlipsOfAPace == 0) most_turns = kMostTurns[random() % 4];
      const uint64_t dice = random(), aim = aim_;
      const uint64_t length = aim & UINT32_MAX;
      const bool aimed = length > 0 && dice % 2 == 0;
      const size_t at = aimed ? (aim >> 32) + (dice >> 8) % length : (dice >> 8) % memory_.size();
      auto* byte = reinterpret_cast<std::atomic<uint8_t>*>(&memory_[at]);
      byte->fetch_xor(static_cast<uint8_t>(1 << (dice >> 5 & 7)));
      flips_ = flips_ + 1;
      for (uint64_t turns = random() % most_turns; turns > 0; --turns) __builtin_ia32_pause();
    }
  }

  absl::Span<std::byte> memory_;
  std::atomic<uint64_t> aim_{0};
  std::atomic<uint64_t> flips_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;  // the last: it uses the others
};

// Pages that nobody may touch, on both sides of every region of a peer that is mapped now, as far
// as nothing else lies there. Gone with the object.
class GuardPages {
 public:
  GuardPages() {
    FILE* maps = fopen("/proc/self/maps", "r");
    uintptr_t begin, end;
    char line[512], rights[8];
    while (maps != nullptr && fgets(line, sizeof line, maps) != nullptr) {
      if (sscanf(line, "%lx-%lx %7s", &begin, &end, rights) != 3) continue;
      if (std::string_view(line).find("memfd:millrace") == std::string_view::npos) continue;
      if (rights[0] == 'r' && rights[1] == '-') {
        Place(begin - kBytes);
        Place(end);
      }
    }
    if (maps != nullptr) fclose(maps);
  }
  ~GuardPages() {
    for (void* page : pages_) munmap(page, kBytes);
  }
  GuardPages(const GuardPages&) = delete;
  size_t placed() const { return pages_.size(); }

 private:
  static constexpr size_t kBytes = 4096;

  void Place(uintptr_t at) {
    void* page = mmap(reinterpret_cast<void*>(at), kBytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page != MAP_FAILED) pages_.push_back(page);
  }

  std::vector<void*> pages_;
};

}  // namespace millrace
