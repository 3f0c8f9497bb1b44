// What 32 lanes do together: votes, shuffles, __syncwarp, matches and reductions.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <string>

#include "kernels/simt/engine_internal.h"

namespace millrace::simt {

std::uint32_t Engine::LiveLanes() const {
  const Warp& warp = warps_[current_->warp()];
  return warp.exists & ~warp.exited;
}

void Engine::CheckMask(const Lane& lane, const Wait& wait) {
  const auto where = [&] {
    char mask[16];
    std::snprintf(mask, sizeof(mask), "0x%08x", wait.mask);
    return std::string(OpName(wait.op)) + " at " + ToString(wait.site) + " with mask " + mask;
  };
  if ((wait.mask & lane.bit()) == 0) {
    Complain(Check::kOwnLane, lane, where() + ", which does not name the calling lane");
    Abandon();
  }
  const Warp& warp = warps_[lane.warp()];
  const std::uint32_t gone = wait.mask & ~(warp.exists & ~warp.exited);
  if (gone == 0) return;
  const unsigned first = std::countr_zero(gone);
  const bool exists = (warp.exists >> first & 1) != 0;
  Complain(Check::kExitedLane, lane,
           where() + ", which names lane " + std::to_string(first) +
               (exists ? ", which has exited" : ", which the block does not have"));
  Abandon();
}

std::uint64_t Engine::Collective(const Wait& wait) {
  Lane& me = *current_;
  Warp& warp = warps_[me.warp()];
  CheckMask(me, wait);
  me.wait = wait;
  warp.waiting |= me.bit();
  const unsigned first = me.warp() * kWarpSize;
  if (!Complete(warp, first, wait)) {
    Suspend();
    return me.wait.value;
  }
  Resolve(first, wait);
  sleeps_ = 0;
  warp.waiting &= ~wait.mask;
  warp.ready |= wait.mask;
  ready_warps_ |= 1u << me.warp();
  Yield(order_);
  return me.wait.value;
}

bool Engine::Complete(const Warp& warp, unsigned first, const Wait& wait) const {
  if ((warp.waiting & wait.mask) != wait.mask) return false;
  for (std::uint32_t bits = wait.mask; bits != 0; bits &= bits - 1) {
    const Wait& other = lanes_[first + std::countr_zero(bits)]->wait;
    if (other.op != wait.op || other.mask != wait.mask) return false;
  }
  return true;
}

void Engine::Resolve(unsigned first, const Wait& wait) {
  switch (wait.op) {
    case Op::kBarrier:
    case Op::kSyncWarp:
      break;
    case Op::kBallot: {
      std::uint64_t ballot = 0;
      for (std::uint32_t bits = wait.mask; bits != 0; bits &= bits - 1) {
        const unsigned lane = std::countr_zero(bits);
        if (lanes_[first + lane]->wait.value != 0) ballot |= 1u << lane;
      }
      for (std::uint32_t bits = wait.mask; bits != 0; bits &= bits - 1) {
        lanes_[first + std::countr_zero(bits)]->wait.value = ballot;
      }
      break;
    }
    case Op::kShuffle:
    case Op::kShuffleUp:
    case Op::kShuffleDown:
    case Op::kShuffleXor:
      ResolveShuffle(first, wait.mask);
      break;
    case Op::kMatchAny:
      ResolveMatch(first, wait.mask);
      break;
    default:
      ResolveReduce(first, wait);
  }
  if (wait.op == Op::kSyncWarp || options_.collectives_order_memory) JoinClocks(first, wait.mask);
}

void Engine::JoinClocks(unsigned first, std::uint32_t mask) {
  LaneClocks joined;
  for (std::uint32_t bits = mask; bits != 0; bits &= bits - 1) {
    const LaneClocks& clocks = lanes_[first + std::countr_zero(bits)]->clocks;
    for (unsigned i = 0; i < kWarpSize; ++i) {
      joined.seen[i] = std::max(joined.seen[i], clocks.seen[i]);
    }
  }
  for (std::uint32_t bits = mask; bits != 0; bits &= bits - 1) {
    const unsigned lane = std::countr_zero(bits);
    lanes_[first + lane]->clocks = joined;
    ++lanes_[first + lane]->clocks.seen[lane];
  }
}

void Engine::ResolveShuffle(unsigned first, std::uint32_t mask) {
  std::array<std::uint64_t, kWarpSize> values{};
  for (std::uint32_t bits = mask; bits != 0; bits &= bits - 1) {
    const unsigned lane = std::countr_zero(bits);
    values[lane] = lanes_[first + lane]->wait.value;
  }
  for (std::uint32_t bits = mask; bits != 0; bits &= bits - 1) {
    Shuffle(first, std::countr_zero(bits), values);
  }
}

void Engine::Shuffle(unsigned first, unsigned lane,
                     const std::array<std::uint64_t, kWarpSize>& values) {
  Lane& me = *lanes_[first + lane];
  const int width = me.wait.width;
  const int segment = static_cast<int>(lane) & ~(width - 1);
  const int own = static_cast<int>(lane);
  int source = own;
  switch (me.wait.op) {
    case Op::kShuffle:
      source = segment + (me.wait.operand & (width - 1));
      break;
    case Op::kShuffleUp:
      source = own - me.wait.operand;
      if (source < segment) source = own;
      break;
    case Op::kShuffleDown:
      source = own + me.wait.operand;
      if (source >= segment + width) source = own;
      break;
    default:
      source = own ^ me.wait.operand;
      if (source >= segment + width) source = own;
  }
  if ((me.wait.mask >> source & 1) == 0) {
    Complain(Check::kShuffleSource, me,
             std::string(OpName(me.wait.op)) + " at " + ToString(me.wait.site) + " reads lane " +
                 std::to_string(source) + ", which its mask does not name");
    me.wait.value = 0xcdcdcdcdcdcdcdcdu;
    return;
  }
  me.wait.value = values[source];
}

void Engine::ResolveMatch(unsigned first, std::uint32_t mask) {
  std::array<std::uint64_t, kWarpSize> matches{};
  for (std::uint32_t bits = mask; bits != 0; bits &= bits - 1) {
    const unsigned lane = std::countr_zero(bits);
    for (std::uint32_t others = mask; others != 0; others &= others - 1) {
      const unsigned other = std::countr_zero(others);
      if (lanes_[first + lane]->wait.value == lanes_[first + other]->wait.value) {
        matches[lane] |= 1u << other;
      }
    }
  }
  for (std::uint32_t bits = mask; bits != 0; bits &= bits - 1) {
    const unsigned lane = std::countr_zero(bits);
    lanes_[first + lane]->wait.value = matches[lane];
  }
}

void Engine::ResolveReduce(unsigned first, const Wait& wait) {
  std::uint32_t all = 0;
  bool begun = false;
  for (std::uint32_t bits = wait.mask; bits != 0; bits &= bits - 1) {
    const auto value =
        static_cast<std::uint32_t>(lanes_[first + std::countr_zero(bits)]->wait.value);
    const auto left = static_cast<std::int32_t>(all);
    const auto right = static_cast<std::int32_t>(value);
    if (!begun) {
      all = value;
      begun = true;
      continue;
    }
    switch (wait.op) {
      case Op::kReduceAdd:
        all += value;
        break;
      case Op::kReduceMin:
        all = std::min(all, value);
        break;
      case Op::kReduceMax:
        all = std::max(all, value);
        break;
      case Op::kReduceMinSigned:
        all = static_cast<std::uint32_t>(std::min(left, right));
        break;
      case Op::kReduceMaxSigned:
        all = static_cast<std::uint32_t>(std::max(left, right));
        break;
      case Op::kReduceAnd:
        all &= value;
        break;
      case Op::kReduceOr:
        all |= value;
        break;
      default:
        all ^= value;
    }
  }
  for (std::uint32_t bits = wait.mask; bits != 0; bits &= bits - 1) {
    lanes_[first + std::countr_zero(bits)]->wait.value = all;
  }
}

}  // namespace millrace::simt
