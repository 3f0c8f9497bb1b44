// Checks of our own invariants, on in every build.
//
// Purpose: a broken invariant of ours must end the process at once, before it can write anything
//   wrong; the supervisor restarts it and the request is replayed elsewhere.
// Who may call: any thread. Never used for what comes from outside: that is an absl::Status.
// Invariants:
//   1. The condition is evaluated exactly once, in every build.
//   2. A failure prints one line (file, line, condition, sentence) and aborts.
#pragma once

namespace millrace {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const char* sentence) noexcept;

}  // namespace millrace

#define MR_CHECK(condition, sentence)                \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::millrace::CheckFailed(__FILE__, __LINE__, #condition, sentence))
