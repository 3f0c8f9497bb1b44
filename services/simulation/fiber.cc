#include "services/simulation/fiber.h"

#include <utility>

#include "common/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

// ucontext's switch asks the kernel for the signal mask twice, which would be a third of a seed's
// time. Saves what a call has to preserve on the stack that is left, and takes it from the one that
// is entered.
extern "C" void SimulationSwitchStacks(void** leave, void* enter);
__asm__(
    ".text\n"
    ".globl SimulationSwitchStacks\n"
    ".type SimulationSwitchStacks, @function\n"
    "SimulationSwitchStacks:\n"
    "  pushq %rbp\n"
    "  pushq %rbx\n"
    "  pushq %r12\n"
    "  pushq %r13\n"
    "  pushq %r14\n"
    "  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n"
    "  popq %r14\n"
    "  popq %r13\n"
    "  popq %r12\n"
    "  popq %rbx\n"
    "  popq %rbp\n"
    "  ret\n"
    ".size SimulationSwitchStacks, .-SimulationSwitchStacks\n");

namespace millrace::sim {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kSavedRegisters = 6;

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
  // As a call of Entry would have left it: the registers, then where to return to.
  const auto end = reinterpret_cast<uintptr_t>(stack_->data() + stack_->size()) / 16 * 16;
  void** top = reinterpret_cast<void**>(end) - 2;
  *top = reinterpret_cast<void*>(&Fiber::Entry);
  inside_ = top - kSavedRegisters;
}

Fiber::~Fiber() {
  Kill();
  pool_.push_back(std::move(stack_));
}

void Fiber::Entry() { current_->Loop(); }

// AddressSanitizer has to know on which stack it is. `save` keeps its notes of the one that is
// left.
static void TellOfSwitch(void** save, const void* bottom, size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(save, bottom, bytes);
#else
  (void)save, (void)bottom, (void)bytes;
#endif
}

static void TellOfArrival(void* saved, const void** bottom, size_t* bytes) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(saved, bottom, bytes);
#else
  (void)saved, (void)bottom, (void)bytes;
#endif
}

void Fiber::SwitchOut() {
  TellOfSwitch(&inside_notes_, outside_bottom_, outside_bytes_);
  SimulationSwitchStacks(&inside_, outside_);
  TellOfArrival(inside_notes_, &outside_bottom_, &outside_bytes_);
}

void Fiber::Loop() {
  TellOfArrival(nullptr, &outside_bottom_, &outside_bytes_);
  while (true) {
    try {
      turn_();
    } catch (const Killed&) {
    }
    suspended_ = false;
    SwitchOut();
  }
}

void Fiber::SwitchIn() {
  MR_CHECK(current_ == nullptr, "one turn runs at a time");
  current_ = this;
  void* notes = nullptr;
  TellOfSwitch(&notes, stack_->data(), stack_->size());
  SimulationSwitchStacks(&outside_, inside_);
  TellOfArrival(notes, nullptr, nullptr);
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
  self->SwitchOut();
  self->suspended_ = false;
  if (self->killed_) throw Killed();
}

}  // namespace millrace::sim
