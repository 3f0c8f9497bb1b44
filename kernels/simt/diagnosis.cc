// Says in words what is wrong with a kernel.
#include <bit>
#include <cstdio>
#include <string>
#include <utility>

#include "kernels/simt/engine_internal.h"

namespace millrace::simt {
namespace {

// Of one check in one launch; the rest would say the same again.
constexpr int kMaxReports = 8;

const char* Verb(Access access) {
  switch (access) {
    case Access::kRead:
      return "reads";
    case Access::kWrite:
      return "writes";
    case Access::kAtomic:
      return "atomically changes";
  }
  return "touches";
}

std::string Hex(std::uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof(text), "0x%08x", mask);
  return text;
}

}  // namespace

std::string ToString(const uint3& at) {
  return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

std::string ToString(const std::source_location& site) {
  return std::string(site.file_name()) + ":" + std::to_string(site.line());
}

const char* OpName(Op op) {
  static constexpr const char* kNames[] = {
      "__syncthreads",     "__syncwarp",        "a vote",
      "__shfl_sync",       "__shfl_up_sync",    "__shfl_down_sync",
      "__shfl_xor_sync",   "__match_any_sync",  "__reduce_add_sync",
      "__reduce_min_sync", "__reduce_max_sync", "__reduce_min_sync",
      "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync",
      "__reduce_xor_sync"};
  return kNames[static_cast<int>(op)];
}

void Engine::Complain(Check check, const Lane& lane, std::string sentence) {
  ++result_.reports;
  result_.illegal_address |= check == Check::kOutOfRange;
  result_.misaligned |= check == Check::kMisaligned;
  if (++complaints_[static_cast<std::size_t>(check)] > kMaxReports) return;
  Deliver({check, call_->name, lane.block, lane.thread, std::move(sentence)});
}

std::string Engine::WhatItDoes(const Lane& lane) const {
  if (lane.exited) return "has exited";
  const std::string place =
      std::string(" waits in ") + OpName(lane.wait.op) + " at " + ToString(lane.wait.site);
  return lane.wait.op == Op::kBarrier ? place.substr(1)
                                      : place.substr(1) + " with mask " + Hex(lane.wait.mask);
}

void Engine::ComplainOfBarrier() {
  const Lane* waits = nullptr;
  const Lane* missing = nullptr;
  for (unsigned i = 0; i < threads_; ++i) {
    const Lane& lane = *lanes_[i];
    const bool at_barrier = !lane.exited && lane.wait.op == Op::kBarrier;
    if (at_barrier && waits == nullptr) waits = &lane;
    if (!at_barrier && missing == nullptr) missing = &lane;
  }
  if (waits == nullptr || missing == nullptr) return;
  Complain(Check::kDivergentBarrier, *waits,
           std::to_string(barrier_.arrived) + " of " + std::to_string(threads_) +
               " threads wait in __syncthreads at " + ToString(waits->wait.site) + "; thread " +
               ToString(missing->thread) + " " + WhatItDoes(*missing));
}

void Engine::ComplainOfCollective(const Lane& lane) {
  for (std::uint32_t bits = lane.wait.mask; bits != 0; bits &= bits - 1) {
    const Lane& other = *lanes_[lane.warp() * kWarpSize + std::countr_zero(bits)];
    if (!other.exited && other.wait.op == lane.wait.op && other.wait.mask == lane.wait.mask) {
      continue;
    }
    Complain(Check::kMissingLane, lane,
             WhatItDoes(lane) + "; thread " + ToString(other.thread) + ", which the mask names, " +
                 WhatItDoes(other));
    return;
  }
}

void Engine::ComplainOfStuckBlock() {
  ComplainOfBarrier();
  for (unsigned i = 0; i < threads_; ++i) {
    if (lanes_[i]->exited || lanes_[i]->wait.op == Op::kBarrier) continue;
    ComplainOfCollective(*lanes_[i]);
    return;
  }
}

std::string Engine::Element(const char* at, std::size_t bytes, const SharedRange& range) const {
  std::string name = "shared memory";
  const char* base = range.begin;
  std::size_t whole = 0;
  for (const SharedArray& array : arrays_) {
    if (range.begin < array.range.begin || range.begin > array.range.end) continue;
    name = array.name;
    whole = static_cast<std::size_t>(array.range.end - array.range.begin);
    if (range.begin != array.range.begin ||
        static_cast<std::size_t>(range.end - range.begin) != whole) {
      name += "'s slice at byte " + std::to_string(range.begin - array.range.begin);
    }
    break;
  }
  const auto distance = static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(at) -
                                                    reinterpret_cast<std::uintptr_t>(base));
  const auto size = static_cast<std::ptrdiff_t>(bytes);
  const std::ptrdiff_t count = (range.end - range.begin) / size;
  if (distance % size != 0) return name + " + " + std::to_string(distance) + " bytes";
  return name + "[" + std::to_string(distance / size) + "] of " + std::to_string(count);
}

void Engine::ComplainOfRange(const char* at, std::size_t bytes, const SharedRange& range,
                             Access access) {
  Complain(Check::kOutOfRange, *current_,
           std::string(Verb(access)) + " " + Element(at, bytes, range) + " (" +
               std::to_string(bytes) + " bytes each)");
}

void Engine::ComplainOfConflict(const Conflict& conflict, const char* at, const SharedRange& range,
                                std::size_t bytes, Access access) {
  std::string sentence = std::string(Verb(access)) + " " + Element(at, bytes, range);
  if (conflict.kind == Conflict::kUninitialized) {
    Complain(Check::kUninitialized, *current_, sentence + ", which this block has not written");
    return;
  }
  const Lane& other = *lanes_[conflict.other];
  sentence += ", which thread " + ToString(other.thread) +
              (conflict.other_wrote ? " wrote" : " read") + "; no barrier lies between";
  if (other.warp() == current_->warp()) {
    sentence += " (in one warp __syncwarp is one; votes and shuffles order no memory)";
  }
  Complain(Check::kRace, *current_, std::move(sentence));
}

}  // namespace millrace::simt
