// The HTTP/1.1 side of ingress: an event loop that the lane drives, over the Frontend.
//
// Purpose: the paths of the Open Inference Protocol's REST form and of KServe's v1, on a listening
//   socket that somebody else opened.
// Who may call: one thread, the lane's: the same that calls Frontend::Infer and makes answers. All
//   Frontend methods are called from inside Poll, RunFor or Done, never from another thread.
// Ownership: the frontend and both descriptors stay the caller's and are borrowed (this duplicates
//   them); they outlive the server. The listening socket may be TCP or Unix and is shared by
//   processes: it is made non-blocking.
// Invariants:
//   1. Answers are made by calling Completion::Done on the lane; one is written to its socket
//   inside
//      Done as far as the socket takes it. Poll or RunFor must follow to finish the rest.
//   2. RunFor returns at once when the wake descriptor (an eventfd) is readable; it reads it empty.
//      Nothing that happens between a caller's last look and RunFor is missed.
//   3. Time limits are kept as long as Poll or RunFor is called: RunFor never blocks past the next.
//   4. No exception leaves, and no client can make the memory held pass HttpOptions' bounds.
//   5. After Drain no connection is accepted, readiness says no, each answer closes its connection.
//   6. After Move none is accepted either, each answer closes its connection, and those that are
//      idle stay until they ask or Drain follows: their clients come back to another process.
//   7. Destroying the server ends all connections and cancels what is in flight. An answer may
//   still
//      come after that: what it needs is kept (to the end of the process).
// What fails: Create, with a sentence, for a descriptor that cannot be used.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "services/ingress/frontend.h"
#include "services/ingress/http/http_options.h"

namespace millrace {

class HttpServer {
 public:
  // `wake_fd`: the lane's eventfd, or -1 for a caller that never blocks in RunFor.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Create(Frontend* frontend,
                                                            const HttpOptions& options,
                                                            int listening_fd, int wake_fd);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Runs what is ready, a bounded number of events, without blocking. Returns how many.
  size_t Poll();

  // Blocks until something was ready and done, the wake descriptor is readable, or `most` has
  // passed (rounded up to a millisecond). Returns how many events were run; 0: only time passed.
  size_t RunFor(std::chrono::nanoseconds most);

  void Drain();
  void Move();
  // After either: whether every client has been answered and let go.
  bool drained() const;

  // Requests that the frontend has and has not answered.
  size_t active_requests() const;
  size_t connections() const;
  const HttpCounters& counters() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
