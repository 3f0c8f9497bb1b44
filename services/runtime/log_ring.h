// The log ring: this process's newest lines, for the observer, whatever becomes of the process.
//
// Purpose: each line that goes to standard error (common/log.h) is also written into a ring
//   (ipc/trace_ring.h) that the observer maps: it can be asked for what a process said, and the
//   last words of a dead one are still there. Who writes: this process, any thread of it, also
//   while it dies. Who reads: the observer. Ownership: a LogRing owns its region; the process's own
//   is never let go.
// Invariants:
//   1. Writing waits for nobody for longer than kSpins looks, takes no lock that is waited for, and
//      allocates nothing: a handler of a fatal signal may write. What cannot be written is counted
//      as skipped, at the latest by the next line that can.
//   2. One thread writes at a time. A thread that dies inside leaves a ring that takes nothing
//   more.
//   3. A record is one line, at most kMaxBytes of it, without its newline; what stands behind the
//      line is zeros.
// What fails: Create and Begin, where there is no memory; the lines then go to standard error
// alone.
#pragma once

#include <stdint.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/log_sink.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "ipc/trace_ring.h"

namespace millrace {

// As it lies in the ring. A reader trusts none of it.
struct LogRecord {
  static constexpr size_t kMaxBytes = 1024;
  int64_t unix_ns;
  uint32_t level;   // LogLevel
  uint32_t length;  // of the text
  char text[kMaxBytes];
};
inline constexpr size_t kLogRecordWords = sizeof(LogRecord) / sizeof(uint64_t);

class LogRing {
 public:
  static constexpr size_t kSlots = 256;
  static constexpr int kSpins = 2000;

  static absl::StatusOr<std::unique_ptr<LogRing>> Create(uint32_t pid);

  // Any thread, and a handler of signals.
  void Write(LogLevel level, std::string_view line);
  int fd() const { return writer_.region().fd().get(); }

  // The process's own ring, from now on the sink of its lines; once, before other threads.
  static void Begin();
  static LogRing* own();  // null: Begin was not called, or failed
  // Tells the supervisor of the process's own ring, if there is one. Where it cannot be told now,
  // the lines are on standard error alone.
  static void Say(const std::function<void(const FromProcess&, absl::Span<const int>)>& send);
  static void Say(ControlChannel* channel);

 private:
  friend class LogRingPeer;  // of the test
  explicit LogRing(TraceWriter writer) : writer_(std::move(writer)) {}
  bool Enter();

  TraceWriter writer_;
  std::atomic<bool> busy_{false};
  std::atomic<uint64_t> unwritten_{0};  // lines that found another thread inside
  uint64_t counted_ = 0;                // of these: in the ring's count; of the thread inside
};

}  // namespace millrace
