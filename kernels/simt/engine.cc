#include "kernels/simt/engine.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

#include "common/check.h"
#include "kernels/simt/engine_internal.h"

namespace millrace::simt {
namespace {

// Room for the largest block's arrays and the gaps between them.
constexpr std::size_t kBufferBytes = 2 * 256 * 1024;
constexpr std::size_t kGapBytes = 64;
constexpr int kPoison = 0xcd;
constexpr std::uint64_t kMaxIdleSleeps = 4'000'000;

Engine* g_engine = nullptr;

}  // namespace

GridResult RunGrid(const GridCall& call) { return Engine::Get().Run(call); }
std::uint32_t Barrier(BarrierFold fold, bool predicate, const std::source_location& site) {
  return g_engine->Barrier(fold, predicate, site);
}
std::uint64_t Collective(const Wait& wait) { return g_engine->Collective(wait); }
std::uint32_t LiveLanes() { return g_engine->LiveLanes(); }
unsigned LaneIndex() { return g_engine->LaneIndex(); }
void SwitchPoint() { g_engine->SwitchPoint(); }
void Sleep() { g_engine->Sleep(); }
void Trap(const std::source_location& site) { g_engine->Trap(site); }
SharedRange DeclareSharedBytes(const SharedSite& site, std::size_t bytes, std::size_t alignment) {
  return g_engine->Declare(site, bytes, alignment);
}
SharedRange DynamicSharedBytes(const char* name) { return g_engine->Dynamic(name); }
bool OnSharedAccess(const char* at, std::size_t bytes, std::size_t alignment,
                    const SharedRange& range, Access access) {
  return g_engine->OnSharedAccess(at, bytes, alignment, range, access);
}

Engine& Engine::Get() {
  static Engine engine;
  return engine;
}

Engine::Engine() : shadow_(kBufferBytes) {
  memory_ = static_cast<char*>(std::aligned_alloc(256, kBufferBytes));
  MR_CHECK(memory_ != nullptr, "there is memory for a block's shared arrays");
  g_engine = this;
}

GridResult Engine::Run(const GridCall& call) {
  MR_CHECK(current_thread == nullptr, "a kernel does not launch another");
  const std::lock_guard lock(mutex_);
  Begin(call);
  const std::uint64_t blocks = std::uint64_t{call.grid.x} * call.grid.y * call.grid.z;
  std::vector<std::uint64_t> sequence(blocks);
  std::iota(sequence.begin(), sequence.end(), 0);
  if (order_ == Order::kReverse) std::reverse(sequence.begin(), sequence.end());
  if (order_ == Order::kShuffled) {
    for (std::uint64_t i = blocks; i > 1; --i) std::swap(sequence[i - 1], sequence[Random() % i]);
  }
  for (const std::uint64_t i : sequence) {
    const std::uint64_t row = i / call.grid.x;
    RunBlock({static_cast<unsigned>(i % call.grid.x), static_cast<unsigned>(row % call.grid.y),
              static_cast<unsigned>(row / call.grid.y)});
    if (abandoned_) break;
  }
  call_ = nullptr;
  current_thread = nullptr;
  return result_;
}

void Engine::Begin(const GridCall& call) {
  threads_ = call.block.x * call.block.y * call.block.z;
  MR_CHECK(threads_ >= 1 && threads_ <= kMaxThreads, "a block has 1 to 1024 threads");
  MR_CHECK(call.dynamic_shared_bytes <= kMaxSharedBytes, "the launch was checked");
  call_ = &call;
  result_ = {};
  complaints_ = {};
  options_ = GetOptions();
  order_ = options_.seed == 0   ? Order::kForward
           : options_.seed == 1 ? Order::kReverse
                                : Order::kShuffled;
  random_ = (options_.seed + 1) * 0x9e3779b97f4a7c15u;
  countdown_ = options_.switch_one_in == 0 ? 0 : 1;
  Fiber::AdoptThread(&main_);
  while (lanes_.size() < threads_) {
    auto lane = std::make_unique<Lane>();
    lane->index = static_cast<std::uint16_t>(lanes_.size());
    lane->fiber.Create(&Engine::FiberBody, lanes_.size());
    lanes_.push_back(std::move(lane));
  }
  for (unsigned i = 0; i < threads_; ++i) {
    Lane& lane = *lanes_[i];
    lane.thread = {i % call.block.x, i / call.block.x % call.block.y,
                   i / (call.block.x * call.block.y)};
    lane.block_size = call.block;
    lane.grid_size = call.grid;
  }
}

void Engine::StartBlock(const uint3& block) {
  warps_ = {};
  ready_warps_ = 0;
  exited_ = 0;
  sleeps_ = 0;
  abandoned_ = false;
  barrier_ = {};
  over_limit_ = false;
  arrays_.clear();
  arrays_.push_back(
      {nullptr, "dynamic shared memory", {memory_, memory_ + call_->dynamic_shared_bytes}});
  memory_used_ = call_->dynamic_shared_bytes;
  shared_bytes_ = call_->dynamic_shared_bytes;
  std::memset(memory_, kPoison, memory_used_);
  shadow_.BeginBlock();
  for (unsigned i = 0; i < threads_; ++i) {
    Lane& lane = *lanes_[i];
    lane.block = block;
    lane.exited = false;
    lane.clocks.seen.fill(0);
    lane.clocks.seen[i % kWarpSize] = 1;
    warps_[lane.warp()].exists |= lane.bit();
    SetReady(&lane);
  }
}

void Engine::RunBlock(const uint3& block) {
  StartBlock(block);
  SwitchFrom(&main_, Pick(order_));
  current_ = nullptr;
  current_thread = nullptr;
  result_.static_shared_bytes =
      std::max(result_.static_shared_bytes, shared_bytes_ - call_->dynamic_shared_bytes);
  if (!abandoned_ && exited_ != threads_) {
    ComplainOfStuckBlock();
    abandoned_ = true;
  }
  if (abandoned_) DiscardRunning();
}

void Engine::DiscardRunning() {
  for (unsigned i = 0; i < threads_; ++i) {
    if (!lanes_[i]->inside) continue;
    lanes_[i]->inside = false;
    lanes_[i]->fiber.Discard(&main_);
  }
}

void Engine::FiberBody() {
  Fiber::Entered();
  for (;;) g_engine->RunThread();
}

void Engine::RunThread() {
  current_->inside = true;
  call_->body();
  ExitThread();
}

void Engine::ExitThread() {
  Lane& me = *current_;
  Warp& warp = warps_[me.warp()];
  me.exited = true;
  warp.exited |= me.bit();
  ++exited_;
  sleeps_ = 0;
  ClearReady(me);
  for (std::uint32_t bits = warp.waiting; bits != 0; bits &= bits - 1) {
    const Lane& other = *lanes_[me.warp() * kWarpSize + std::countr_zero(bits)];
    if ((other.wait.mask & me.bit()) == 0) continue;
    Complain(Check::kExitedLane, me,
             "exits, while thread " + ToString(other.thread) + " waits for it in " +
                 OpName(other.wait.op) + " at " + ToString(other.wait.site));
    Abandon();
  }
  me.inside = false;
  SwitchFrom(&me.fiber, Pick(order_));
}

std::uint64_t Engine::Random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

unsigned Engine::PickBit(std::uint32_t bits, Order order) {
  switch (order) {
    case Order::kForward:
      return std::countr_zero(bits);
    case Order::kReverse:
      return 31 - std::countl_zero(bits);
    case Order::kShuffled:
      break;
  }
  const unsigned turn = Random() >> 59;
  return (std::countr_zero(std::rotr(bits, turn)) + turn) % 32;
}

Lane* Engine::Pick(Order order) {
  if (ready_warps_ == 0) return nullptr;
  const unsigned warp = PickBit(ready_warps_, order);
  return lanes_[warp * kWarpSize + PickBit(warps_[warp].ready, order)].get();
}

void Engine::SetReady(Lane* lane) {
  warps_[lane->warp()].ready |= lane->bit();
  ready_warps_ |= 1u << lane->warp();
}

void Engine::ClearReady(const Lane& lane) {
  Warp& warp = warps_[lane.warp()];
  warp.ready &= ~lane.bit();
  if (warp.ready == 0) ready_warps_ &= ~(1u << lane.warp());
}

void Engine::SwitchFrom(Fiber* from, Lane* to) {
  Fiber* const target = to == nullptr ? &main_ : &to->fiber;
  if (target == from) return;
  current_ = to;
  current_thread = to;
  ++result_.switches;
  Fiber::Switch(from, target);
}

void Engine::Yield(Order order) {
  Lane* const me = current_;
  SwitchFrom(&me->fiber, Pick(order));
}

void Engine::Suspend() {
  Lane* const me = current_;
  ClearReady(*me);
  SwitchFrom(&me->fiber, Pick(order_));
}

void Engine::SwitchNow() {
  countdown_ = 1 + static_cast<std::uint32_t>(Random() % (2 * options_.switch_one_in));
  Yield(Order::kShuffled);  // in order it would be the same thread again
}

void Engine::Abandon() {
  abandoned_ = true;
  SwitchFrom(&current_->fiber, nullptr);
  std::abort();  // an abandoned fibre is never switched to again
}

void Engine::Sleep() {
  if (++sleeps_ > kMaxIdleSleeps) {
    Complain(Check::kNoProgress, *current_,
             "sleeps on and on, and no thread of the block gets any further (blocks run one after "
             "another: none can wait for the next)");
    Abandon();
  }
  Yield(Order::kShuffled);
}

void Engine::Trap(const std::source_location& site) {
  Complain(Check::kTrap, *current_, "__trap() at " + ToString(site));
  Abandon();
}

std::uint32_t Engine::Barrier(BarrierFold fold, bool predicate, const std::source_location& site) {
  Lane& me = *current_;
  if (barrier_.arrived == 0) {
    barrier_.first = me.index;
    barrier_.site = site;
  } else if (site.line() != barrier_.site.line() || site.column() != barrier_.site.column() ||
             std::strcmp(site.file_name(), barrier_.site.file_name()) != 0) {
    Complain(Check::kDivergentBarrier, me,
             "comes to the barrier at " + ToString(site) + ", while thread " +
                 ToString(lanes_[barrier_.first]->thread) + " waits at the one at " +
                 ToString(barrier_.site));
    Abandon();
  }
  me.wait = Wait{.op = Op::kBarrier, .site = site};
  barrier_.count += predicate;
  if (++barrier_.arrived == threads_) {
    ReleaseBarrier();
    Yield(order_);
  } else {
    Suspend();
  }
  switch (fold) {
    case BarrierFold::kAnd:
      return barrier_.result == threads_;
    case BarrierFold::kOr:
      return barrier_.result != 0;
    default:
      return barrier_.result;
  }
}

void Engine::ReleaseBarrier() {
  barrier_.result = barrier_.count;
  barrier_.count = 0;
  barrier_.arrived = 0;
  sleeps_ = 0;
  shadow_.Barrier();
  for (unsigned i = 0; i * kWarpSize < threads_; ++i) {
    warps_[i].ready = warps_[i].exists;
    ready_warps_ |= 1u << i;
  }
}

SharedRange Engine::Declare(const SharedSite& site, std::size_t bytes, std::size_t alignment) {
  for (const SharedArray& array : arrays_) {
    if (array.site == &site) return array.range;
  }
  alignment = std::max<std::size_t>(alignment, 16);
  const auto up = [&](std::size_t value) { return (value + alignment - 1) & ~(alignment - 1); };
  shared_bytes_ = up(shared_bytes_) + bytes;
  const std::size_t begin = up(memory_used_ + kGapBytes);
  if ((shared_bytes_ > call_->shared_limit_bytes && !over_limit_) || begin + bytes > kBufferBytes) {
    over_limit_ = true;
    Complain(Check::kSharedLimit, *current_,
             std::to_string(shared_bytes_) + " bytes of shared memory with array " + site.name +
                 "; the launch may have " + std::to_string(call_->shared_limit_bytes));
    if (begin + bytes > kBufferBytes) Abandon();
  }
  memory_used_ = begin + bytes;
  std::memset(memory_ + begin, kPoison, bytes);
  arrays_.push_back({&site, site.name, {memory_ + begin, memory_ + begin + bytes}});
  return arrays_.back().range;
}

SharedRange Engine::Dynamic(const char* name) {
  arrays_.front().name = name;
  return arrays_.front().range;
}

bool Engine::OnSharedAccess(const char* at, std::size_t bytes, std::size_t alignment,
                            const SharedRange& range, Access access) {
  SwitchPoint();
  if (at < range.begin || at > range.end || static_cast<std::size_t>(range.end - at) < bytes)
      [[unlikely]] {
    ComplainOfRange(at, bytes, range, access);
    return false;
  }
  if (reinterpret_cast<std::uintptr_t>(at) % alignment != 0) [[unlikely]] {
    Complain(Check::kMisaligned, *current_,
             "access to " + Element(at, bytes, range) + " is not aligned to " +
                 std::to_string(alignment) + " bytes");
    return false;
  }
  if (!options_.shadow) return true;
  const Conflict conflict = shadow_.OnAccess(static_cast<std::size_t>(at - memory_), bytes, access,
                                             current_->index, current_->clocks);
  if (conflict.kind != Conflict::kNone) [[unlikely]] {
    ComplainOfConflict(conflict, at, range, bytes, access);
  }
  return true;
}

}  // namespace millrace::simt
