// What the fleet (fleet.h) decides, done: the border between deciding and I/O.
//
// Purpose: the fleet is tested without a process, and the I/O holds no policy.
// Who may call: the supervisor's main thread. Nothing here blocks.
// Words: a *key* names a process: the incarnation of its first lane, never used again.
#pragma once

#include <stdint.h>
#include <time.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "ipc/control.pb.h"
#include "ipc/fd.h"
#include "ipc/page.h"
#include "ipc/roster.h"
#include "services/supervisor/wait_policy.h"

namespace millrace {

// A descriptor that several processes are sent, closed when the last holder lets go.
using SharedFd = std::shared_ptr<const Fd>;
using FdList = std::vector<SharedFd>;

// What a lane's page says at one moment.
struct PageLook {
  uint64_t beat = 0;
  uint64_t predicted_ns = 0;
  bool answered = false;     // it published at least one result
  bool executing = false;    // a request: a death is that one's, or its model's
  bool device_lost = false;  // it ends because its device failed for good
  // Of its work so far.
  uint64_t taken = 0;  // messages
  uint64_t busy_ns = 0;
  uint64_t queue_delay_ns = 0;  // moving average from publish to work
  uint64_t queue_depth = 0;     // waiting now
  uint64_t oldest_catalog = 0;  // ingress: that a request in flight began with
};

struct LanePage {
  uint32_t incarnation = 0;
  SharedFd fd;
};

class Hands {
 public:
  virtual ~Hands() = default;

  virtual int64_t NowNs() = 0;
  virtual int64_t WallSeconds() { return time(nullptr); }  // since 1970
  virtual double Random() = 0;                             // in [0, 1]
  virtual uint32_t NewIncarnation() = 0;

  // Starts the program of a stage, with a control channel, on these CPUs (empty: on all). Its end
  // is reported by the caller's loop.
  virtual absl::Status Spawn(uint32_t key, Stage stage, uint32_t index, const CpuList& cpus) = 0;
  // RESOURCE_EXHAUSTED: it does not read; UNAVAILABLE: it is gone.
  virtual absl::Status Send(uint32_t key, const ToProcess& message, const FdList& fds) = 0;
  virtual void Signal(uint32_t key, int signal) = 0;
  // Whether it is stopped by a signal or a tracer.
  virtual bool IsStopped(uint32_t key) = 0;

  // Checks and maps the pages, and begins to watch the process's liveness word.
  virtual absl::Status OpenPages(uint32_t key, const std::vector<LanePage>& pages) = 0;
  virtual std::optional<PageLook> Look(uint32_t incarnation) = 0;
  // The page itself, until Forget; null: there is none.
  virtual const Page* PageOf(uint32_t) const { return nullptr; }
  virtual pid_t PidOf(uint32_t) const { return 0; }  // of a key; 0: not known
  // The process was reaped: its channel, pages and watcher go.
  virtual void Forget(uint32_t key) = 0;

  // Publishes, then writes each of `wakes` once.
  virtual void PublishRoster(absl::Span<const RosterEntry> lanes, const FdList& wakes) = 0;

  // What outlives this supervisor, at the keeper: descriptors by name (stored_names.h), and the
  // state of the fleet as bytes, whole. What cannot be stored is logged: the next supervisor then
  // starts anew what it cannot trust.
  virtual void Store(const std::vector<std::pair<std::string, SharedFd>>& fds) = 0;
  virtual void StoreState(const std::string& bytes) = 0;
  virtual void DropStored(const std::string& prefix) = 0;  // ends in '/'
  // What an earlier supervisor stored; null: nothing under that name.
  virtual SharedFd TakeStored(const std::string& name) = 0;
  // Goes on with a process of an earlier supervisor by its stored channel and pidfd. NOT_FOUND:
  // they are not there, and nothing can be done to it.
  virtual absl::Status Adopt(uint32_t key) = 0;

  // The load since the last call; nothing the first time, and where it cannot be read.
  virtual std::optional<LoadLook> SampleLoad() = 0;
};

}  // namespace millrace
