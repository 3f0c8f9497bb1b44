#include "services/simulation/fiber.h"

#include <utility>

#include "common/check.h"

namespace millrace::sim {
namespace {

constexpr size_t kStackBytes = 256 << 10;

}  // namespace

Fiber* Fiber::current_ = nullptr;
std::vector<std::unique_ptr<Fiber::Stack>> Fiber::pool_;

Fiber::Fiber(std::function<void()> turn) : turn_(std::move(turn)) {
  if (pool_.empty()) {
    stack_ = std::make_unique<Stack>(kStackBytes);
  } else {
    stack_ = std::move(pool_.back());
    pool_.pop_back();
  }
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_->data();
  inside_.uc_stack.ss_size = stack_->size();
  inside_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&inside_, reinterpret_cast<void (*)()>(&Fiber::Entry), 2,
              static_cast<uint32_t>(self >> 32), static_cast<uint32_t>(self));
}

Fiber::~Fiber() {
  Kill();
  pool_.push_back(std::move(stack_));
}

void Fiber::Entry(uint32_t high, uint32_t low) {
  reinterpret_cast<Fiber*>(static_cast<uintptr_t>(high) << 32 | low)->Loop();
}

void Fiber::Loop() {
  while (true) {
    try {
      turn_();
    } catch (const Killed&) {
    }
    suspended_ = false;
    swapcontext(&inside_, &outside_);
  }
}

void Fiber::SwitchIn() {
  MR_CHECK(current_ == nullptr, "one turn runs at a time");
  current_ = this;
  swapcontext(&outside_, &inside_);
  current_ = nullptr;
}

bool Fiber::Resume() {
  MR_CHECK(!killed_, "a lane that was killed runs no more");
  SwitchIn();
  return !suspended_;
}

void Fiber::Kill() {
  killed_ = true;
  if (suspended_) SwitchIn();
}

void Fiber::Suspend(int64_t pause_ns) {
  Fiber* self = current_;
  if (self == nullptr || self->killed_) return;
  self->pause_ns_ = pause_ns;
  self->suspended_ = true;
  swapcontext(&self->inside_, &self->outside_);
  self->suspended_ = false;
  if (self->killed_) throw Killed();
}

}  // namespace millrace::sim
