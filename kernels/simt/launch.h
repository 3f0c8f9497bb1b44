// Launching a kernel: MR_LAUNCH on a stream of the fake runtime, or RunKernel at once without one.
//
// Who may call: host code, from any thread; not from inside a kernel.
// Ownership: arguments are copied when the launch is made, as CUDA copies them.
// What fails: Launch like <<<>>>, through cudaGetLastError. RunKernel ends the process on a launch
// that no
//   device could make; what the kernel does wrong is reported.
#pragma once

#include <cstddef>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/simt/engine.h"
#include "kernels/simt/runtime.h"

namespace millrace::simt {

// A launch that waits in a stream or a graph.
struct KernelCall {
  GridCall grid;
  const void* function = nullptr;
  std::vector<const void*> pointers;  // the arguments that are pointers
};

// Enqueues on the stream; records the error that <<<>>> would.
void EnqueueKernel(KernelCall call, cudaStream_t stream);

template <class... P, class... A>
KernelCall MakeKernelCall(const char* name, void (*kernel)(P...), dim3 grid, dim3 block,
                          std::size_t dynamic_shared_bytes, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel is launched with all its arguments");
  const std::tuple<std::decay_t<P>...> copies(std::forward<A>(args)...);
  KernelCall call;
  call.grid.name = name;
  call.grid.grid = grid;
  call.grid.block = block;
  call.grid.dynamic_shared_bytes = dynamic_shared_bytes;
  call.grid.body = [kernel, copies] { std::apply(kernel, copies); };
  call.function = reinterpret_cast<const void*>(kernel);
  std::apply(
      [&call](const auto&... each) {
        [[maybe_unused]] const auto note = [&call](const auto& value) {
          using Value = std::decay_t<decltype(value)>;
          if constexpr (std::is_pointer_v<Value> &&
                        !std::is_function_v<std::remove_pointer_t<Value>>) {
            call.pointers.push_back(
                const_cast<const void*>(static_cast<const volatile void*>(value)));
          }
        };
        (note(each), ...);
      },
      copies);
  return call;
}

template <class... P, class... A>
void Launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block,
            std::size_t dynamic_shared_bytes, cudaStream_t stream, A&&... args) {
  EnqueueKernel(
      MakeKernelCall(name, kernel, grid, block, dynamic_shared_bytes, std::forward<A>(args)...),
      stream);
}

// Runs the grid now, in this thread, on whatever memory the pointers name: for tests of kernels.
template <class... P, class... A>
GridResult RunKernel(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t dynamic_shared_bytes,
                     A&&... args) {
  GridCall call =
      MakeKernelCall("kernel", kernel, grid, block, dynamic_shared_bytes, std::forward<A>(args)...)
          .grid;
  call.shared_limit_bytes = kMaxSharedBytes;
  return RunGrid(call);
}

}  // namespace millrace::simt
