// The trace rings that there are, and those of lanes that ended a moment ago.
//
// Purpose: what the supervisor names, mapped. Who may call: Observe the control thread, Take any.
// Ownership: shares its mappings with who took them. Invariants:
//   1. A ring of a lane that is gone stays for kKeepNs: what it did is asked for after its end.
// Nothing fails: a ring that does not check is left out, and logged.
#pragma once

#include <stdint.h>

#include <memory>
#include <mutex>
#include <vector>

#include "common/clock.h"
#include "ipc/control.pb.h"
#include "ipc/fd.h"
#include "ipc/topology.h"
#include "ipc/trace_ring.h"

namespace millrace {

struct TraceSource {
  Stage stage = Stage::kNone;
  uint32_t index = 0, lane = 0, incarnation = 0;
  int64_t gone_ns = 0;  // since when it is not named any more; 0: it is
  std::shared_ptr<const TraceReader> ring;
};

class TraceSources {
 public:
  static constexpr int64_t kKeepNs = 10 * kNanosPerSecond;

  void Observe(const ObserveTraces& message, const std::vector<Fd>& fds, int64_t now_ns);
  std::vector<TraceSource> Take(int64_t now_ns);

 private:
  std::mutex mutex_;
  std::vector<TraceSource> sources_;
};

}  // namespace millrace
