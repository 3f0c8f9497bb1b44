#include "kernels/simt/fiber.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "common/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define MR_SIMT_ASAN 1
#else
#define MR_SIMT_ASAN 0
#endif

namespace millrace::simt {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::size_t kGuardBytes = 4096;

// Saves what the System V ABI lets a callee change, stores the stack pointer, and goes on with the
// other stack. The floating-point control words are the same on every fibre.
__attribute__((naked, noinline)) void SwitchStacks(void** /*save*/, void* /*load*/) {
  asm volatile(
      "pushq %rbp\n\t"
      "pushq %rbx\n\t"
      "pushq %r12\n\t"
      "pushq %r13\n\t"
      "pushq %r14\n\t"
      "pushq %r15\n\t"
      "movq %rsp, (%rdi)\n\t"
      "movq %rsi, %rsp\n\t"
      "popq %r15\n\t"
      "popq %r14\n\t"
      "popq %r13\n\t"
      "popq %r12\n\t"
      "popq %rbx\n\t"
      "popq %rbp\n\t"
      "ret\n\t");
}

}  // namespace

void Fiber::AdoptThread(Fiber* fiber) {
  pthread_attr_t attributes;
  MR_CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0, "a thread knows its stack");
  void* bottom = nullptr;
  MR_CHECK(pthread_attr_getstack(&attributes, &bottom, &fiber->bytes_) == 0,
           "a thread knows its stack");
  fiber->bottom_ = static_cast<char*>(bottom);
  pthread_attr_destroy(&attributes);
}

Fiber::~Fiber() {
  if (mapped_) munmap(bottom_ - kGuardBytes, kStackBytes + kGuardBytes);
}

void Fiber::Create(Body body, std::size_t index) {
  void* mapping = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  MR_CHECK(mapping != MAP_FAILED, "there is address space for a fibre's stack");
  MR_CHECK(mprotect(mapping, kGuardBytes, PROT_NONE) == 0, "a stack gets its guard page");
  mapped_ = true;
  bottom_ = static_cast<char*>(mapping) + kGuardBytes;
  bytes_ = kStackBytes;
  body_ = body;
  // Stacks that all begin at one offset of a page would meet in a few sets of the cache.
  color_ = (index * 320) % 4096;
  Prepare();
}

void Fiber::Prepare() {
  auto top = reinterpret_cast<std::uintptr_t>(bottom_ + bytes_ - 64 - color_);
  top &= ~std::uintptr_t{15};
  void** slots = reinterpret_cast<void**>(top);
  slots[1] = nullptr;  // where an unwinder ends
  slots[0] = reinterpret_cast<void*>(body_);
  for (int i = 1; i <= 6; ++i) slots[-i] = nullptr;
  stack_pointer_ = slots - 6;
  fake_stack_ = nullptr;
}

void Fiber::Switch(Fiber* from, Fiber* to) {
#if MR_SIMT_ASAN
  __sanitizer_start_switch_fiber(&from->fake_stack_, to->bottom_, to->bytes_);
#endif
  SwitchStacks(&from->stack_pointer_, to->stack_pointer_);
#if MR_SIMT_ASAN
  __sanitizer_finish_switch_fiber(from->fake_stack_, nullptr, nullptr);
  if (from->discard_) [[unlikely]] {
    // Without a place to save it in, the fake stack is freed.
    __sanitizer_start_switch_fiber(nullptr, from->discarder_->bottom_, from->discarder_->bytes_);
    SwitchStacks(&from->stack_pointer_, from->discarder_->stack_pointer_);
  }
#endif
}

void Fiber::Entered() {
#if MR_SIMT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

void Fiber::Discard([[maybe_unused]] Fiber* self) {
#if MR_SIMT_ASAN
  discard_ = true;
  discarder_ = self;
  Switch(self, this);
  discard_ = false;
  __asan_unpoison_memory_region(bottom_, bytes_);
#endif
  Prepare();
}

}  // namespace millrace::simt
