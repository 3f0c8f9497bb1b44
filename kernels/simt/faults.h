// Errors on order, and the shape of the fake device.
//
// Purpose: lets a test say which call of the runtime fails with what, and what machine it is: no
//   driver, an old one, no device, little memory. A whole process is told by the environment
//   variable MILLRACE_SIMT_FAULTS, which is read once, before the first call.
// Who may call: any thread.
// Invariants:
//   1. Calls are counted from 1, each under its CUDA name; a launch is cudaLaunchKernel. Not
//   counted:
//      cudaGetErrorName and cudaGetErrorString, which cannot fail.
//   2. A failing call does nothing else. Sticky errors (700, 719 and their like) stay.
// What fails: a text that is not understood ends the process with a sentence, as no test should go
//   on without the fault that it asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/simt/runtime_types.h"

namespace millrace::simt {

class Faults {
 public:
  // Comma-separated; adds to what is set:
  //   #17=2                   the 17th call of all returns 2
  //   cudaGraphLaunch#2=700   the 2nd cudaGraphLaunch returns 700
  //   cudaMalloc#3+=2         the 3rd cudaMalloc and all after it return 2
  //   kernel#1=719            the 1st kernel that runs fails so; who waits next is told
  //   driver=0                no driver; driver=12000: an old one
  //   devices=0               no device
  //   memory=1048576          bytes of device memory (also 64K, 16M, 1G); only while none is
  //   allocated streams=eager           work runs when it is enqueued, not when somebody waits
  //   seed=7, switch=0        Options of report.h
  static void Parse(const std::string& text);

  static void FailCall(std::uint64_t number, cudaError_t error);
  static void FailCall(const std::string& function, std::uint64_t number, cudaError_t error,
                       bool and_all_after = false);

  static std::uint64_t Calls();
  static std::uint64_t Calls(const std::string& function);

  // A new process, as far as CUDA can tell: memory, streams, errors, counts and faults are gone,
  // the environment is not read again. Handles and pointers from before are invalid.
  static void Reset();

  static bool IsSticky(cudaError_t error);
};

}  // namespace millrace::simt
