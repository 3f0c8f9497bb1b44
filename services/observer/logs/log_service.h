// What processes log: from their rings to what is shown and counted.
//
// Purpose: the observer's half of services/runtime/log_ring.h. Who may call: Observe the control
//   thread; the rest any thread. Ownership: owns its mappings, which are read-only.
// Invariants:
//   1. Nobody waits for a reader; what was overwritten before it was read is counted as lost.
//   2. A ring that is not named any more is read to its end, then let go: the last words of a
//      process that died are kept.
//   3. A line is read once by an observer, also if its ring goes and comes again (a supervisor that
//      took over learns of the rings one by one).
//   4. Memory is bounded: LogStore's bounds, and kMostSources rings, living and gone.
// Nothing fails: a ring that does not check is left out, and logged.
#pragma once

#include <stdint.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/fd.h"
#include "ipc/trace_ring.h"
#include "services/observer/families.h"
#include "services/observer/logs/log_store.h"

namespace millrace {

class LogService {
 public:
  static constexpr size_t kMostSources = 128;

  LogService();

  void Observe(const ObserveLogs& message, const std::vector<Fd>& fds);
  // Takes what came; often enough that a ring does not turn over.
  void Look();
  // The answer to GET /api/logs; nothing where the query is not understood.
  std::optional<std::string> Json(std::string_view query);
  // Counters of this observer, with its incarnation, since they begin anew with it.
  void Show(const std::string& incarnation, Families* out);

 private:
  struct Source {
    std::string process;
    uint32_t pid = 0, incarnation = 0;
    std::unique_ptr<const TraceReader> ring;  // null: gone, or refused
    bool named = false;
    uint64_t next = 0;     // of its lines: the first that was not read
    uint64_t skipped = 0;  // as the ring had it last
  };
  struct Count {
    std::array<uint64_t, 3> lines = {};  // by level
    uint64_t overwritten = 0, contended = 0, suppressed = 0;
  };

  void ReadAll();
  void Read(Source* source, std::vector<LogLine>* lines);
  void Open(Source* source, const Fd& fd);

  std::mutex mutex_;
  std::vector<Source> sources_;
  LogStore store_;
  std::map<std::string, Count> counts_;  // by process
};

}  // namespace millrace
