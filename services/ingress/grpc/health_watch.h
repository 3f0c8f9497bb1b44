// grpc.health.v1's Watch: the state of the server, and each change of it, on a stream.
//
// Purpose: a client that balances load is told, and need not ask. Who may call: only the thread
// that
//   polls the queue. Ownership: owns its calls and must outlive every operation, so the queue is
//   drained before it is destroyed.
// Invariants:
//   1. A watcher is told the state at once, then each change; of changes that come faster than it
//      reads, the last. A service that is not ours is SERVICE_UNKNOWN, for ever.
//   2. At most `most` watchers at a time; one more is RESOURCE_EXHAUSTED.
//   3. After Stop every watcher ends with UNAVAILABLE, having been told NOT_SERVING before.
// Nothing fails.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "services/ingress/grpc/raw_services.h"

namespace millrace {

using RawWatchPost =
    std::function<void(grpc::ServerContext* context, grpc::ByteBuffer* request,
                       grpc::ServerAsyncWriter<grpc::ByteBuffer>* writer, QueueEvent* event)>;

class HealthWatch {
 public:
  // `serving` is asked at each look.
  HealthWatch(size_t most, std::function<bool()> serving, RawWatchPost post);
  ~HealthWatch();

  void Open() { PostOne(); }
  // Looks at the state and tells the watchers where it has changed. Cheap without watchers.
  void Look() {
    if (open_ > 0) Tell(serving_now_());
  }
  void Stop();
  // The queue is shutting down.
  void Close() { closed_ = true; }

 private:
  class Watcher;

  void PostOne();
  void Tell(bool serving);
  void Free(Watcher* watcher);

  const size_t most_;
  const std::function<bool()> serving_now_;
  const RawWatchPost post_;
  bool serving_ = false;
  bool stopping_ = false;
  bool closed_ = false;
  bool waiting_ = false;  // one is posted
  size_t open_ = 0;       // arrived and not free
  std::vector<std::unique_ptr<Watcher>> watchers_;
  std::vector<Watcher*> free_;
};

}  // namespace millrace
