// Exit codes of the supervisor, which the keeper hands on: the one table (README.md explains them).
//
// Purpose: a script, a unit or a container runtime can tell why the server did not start.
// Invariants: 1. Codes from kFirstFinal to kLastFinal mean "would happen again": the keeper does
// not
//   try once more, and the supervisor, before it was ever ready, ends with the code of a process
//   that ended with one of them. 2. A code is never given another meaning.
#pragma once

namespace millrace {

inline constexpr int kExitStopped = 0;         // stopped as asked
inline constexpr int kExitInternal = 1;        // a fault of ours: the keeper starts the next one
inline constexpr int kExitUsage = 64;          // the command line
inline constexpr int kExitConfiguration = 65;  // the configuration
inline constexpr int kExitPort = 66;        // a listening socket (the keeper's), the admin socket
inline constexpr int kExitRepository = 67;  // the model repository cannot be read
inline constexpr int kExitKernel = 68;      // a kernel older than 5.10
inline constexpr int kExitCpus = 69;        // a CPU that the machine lacks or does not allow
inline constexpr int kExitBinary = 70;      // a program of ours is missing
inline constexpr int kExitPlacement = 73;   // a user, priority, node or limit that cannot be had
// These are the workers' own (services/runtime/process.h), handed on.
inline constexpr int kExitMemory = 71;    // memory or descriptors for the start
inline constexpr int kExitDevice = 72;    // `execution.device: cuda`, and there is none
inline constexpr int kExitProtocol = 76;  // programs of different builds

inline constexpr int kExitDeviceLost = 78;  // a worker's: its device failed for good; not final

inline constexpr int kExitUnknown = -1;  // of an adopted process: its parent is the keeper

inline constexpr int kFirstFinal = 64;
inline constexpr int kLastFinal = 76;

inline constexpr bool IsFinalExit(int code) { return code >= kFirstFinal && code <= kLastFinal; }

}  // namespace millrace
