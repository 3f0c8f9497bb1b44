// The engine's state: lanes, warps and the running block.
//
// Purpose: shared by the three files of the engine: engine.cc runs grids and schedules, warp.cc
//   completes collectives, diagnosis.cc says in words what is wrong.
// Who may call: those three, under the engine's lock.
// Invariants:
//   1. A lane's bit is in its warp's `ready` exactly while it could run; a warp's bit is in
//      ready_warps_ exactly while its `ready` is not empty.
//   2. A lane runs or has run (`inside`) from its first switch until the last one of its Exit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/simt/engine.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/shadow.h"

namespace millrace::simt {

struct Lane : ThreadView {
  Fiber fiber;
  std::uint16_t index = 0;  // in its block
  bool inside = false;
  bool exited = false;
  Wait wait;  // what it waits for, while it is not ready
  LaneClocks clocks;

  unsigned warp() const { return index / kWarpSize; }
  std::uint32_t bit() const { return 1u << (index % kWarpSize); }
};

struct Warp {
  std::uint32_t exists = 0;
  std::uint32_t ready = 0;
  std::uint32_t waiting = 0;  // in a collective of the warp
  std::uint32_t exited = 0;
};

class Engine {
 public:
  static Engine& Get();

  GridResult Run(const GridCall& call);

  // From inside a kernel; engine.h says what they do.
  std::uint32_t Barrier(BarrierFold fold, bool predicate, const std::source_location& site);
  std::uint64_t Collective(const Wait& wait);
  std::uint32_t LiveLanes() const;
  unsigned LaneIndex() const { return current_->index % kWarpSize; }
  void SwitchPoint() {
    if (countdown_ != 0 && --countdown_ == 0) [[unlikely]]
      SwitchNow();
  }
  void Sleep();
  [[noreturn]] void Trap(const std::source_location& site);
  SharedRange Declare(const SharedSite& site, std::size_t bytes, std::size_t alignment);
  SharedRange Dynamic(const char* name);
  bool OnSharedAccess(const char* at, std::size_t bytes, std::size_t alignment,
                      const SharedRange& range, Access access);

 private:
  enum class Order { kForward, kReverse, kShuffled };

  struct SharedArray {
    const SharedSite* site;  // nullptr: the dynamic part
    const char* name;
    SharedRange range;
  };

  struct BarrierState {
    unsigned arrived = 0;
    unsigned count = 0;   // predicates that held, of those who arrived
    unsigned result = 0;  // of the last one that completed
    std::uint16_t first = 0;
    std::source_location site;  // of the first
  };

  Engine();

  // engine.cc
  static void FiberBody();
  void RunThread();
  void ExitThread();
  void Begin(const GridCall& call);
  void RunBlock(const uint3& block);
  void StartBlock(const uint3& block);
  void DiscardRunning();
  std::uint64_t Random();
  unsigned PickBit(std::uint32_t bits, Order order);
  Lane* Pick(Order order);
  void SetReady(Lane* lane);
  void ClearReady(const Lane& lane);
  void SwitchFrom(Fiber* from, Lane* to);  // nullptr: to whoever called Run
  void Yield(Order order);
  void Suspend();
  void SwitchNow();
  void ReleaseBarrier();
  [[noreturn]] void Abandon();

  // warp.cc
  void CheckMask(const Lane& lane, const Wait& wait);
  bool Complete(const Warp& warp, unsigned first, const Wait& wait) const;
  void Resolve(unsigned first, const Wait& wait);
  void ResolveShuffle(unsigned first, std::uint32_t mask);
  void Shuffle(unsigned first, unsigned lane, const std::array<std::uint64_t, kWarpSize>& values);
  void ResolveMatch(unsigned first, std::uint32_t mask);
  void ResolveReduce(unsigned first, const Wait& wait);
  void JoinClocks(unsigned first, std::uint32_t mask);

  // diagnosis.cc
  void Complain(Check check, const Lane& lane, std::string sentence);
  void ComplainOfStuckBlock();
  void ComplainOfBarrier();
  void ComplainOfCollective(const Lane& lane);
  void ComplainOfRange(const char* at, std::size_t bytes, const SharedRange& range, Access access);
  void ComplainOfConflict(const Conflict& conflict, const char* at, const SharedRange& range,
                          std::size_t bytes, Access access);
  std::string Element(const char* at, std::size_t bytes, const SharedRange& range) const;
  std::string WhatItDoes(const Lane& lane) const;

  std::mutex mutex_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::array<Warp, kMaxThreads / kWarpSize> warps_{};
  std::uint32_t ready_warps_ = 0;
  Fiber main_;
  Lane* current_ = nullptr;
  const GridCall* call_ = nullptr;
  GridResult result_;
  std::array<int, kChecks> complaints_{};
  Options options_;
  Order order_ = Order::kForward;
  std::uint64_t random_ = 1;
  std::uint32_t countdown_ = 0;  // 0: no switch points
  std::uint64_t sleeps_ = 0;     // since something last happened
  unsigned threads_ = 0;
  unsigned exited_ = 0;
  bool abandoned_ = false;
  BarrierState barrier_;

  char* memory_ = nullptr;
  std::size_t memory_used_ = 0;   // of the buffer, gaps included
  std::size_t shared_bytes_ = 0;  // what a device would count
  bool over_limit_ = false;
  std::vector<SharedArray> arrays_;
  Shadow shadow_;
};

std::string ToString(const uint3& at);
std::string ToString(const std::source_location& site);
const char* OpName(Op op);

}  // namespace millrace::simt
