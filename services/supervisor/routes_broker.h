// The routes that ingress goes by, and the questions about routes that are open.
//
// Purpose: hand the registry's routes to every ingress, know who has taken them, and answer whoever
//   asked for a change once all have. Who may call: the supervisor's main thread.
// Ownership: holds the newest routes' descriptor.
// Invariants: 1. Each new content has a serial number of its own, which is never used again, also
// not
//   by the next supervisor: what ingress says of it means that content. 2. What comes last from the
//   registry counts. 3. A question is answered once; what nobody comes for is let go.
// What fails: Take, INVALID_ARGUMENT, where the registry published what cannot be read.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "ipc/control.pb.h"
#include "ipc/routes.pb.h"
#include "services/supervisor/hands.h"

namespace millrace {

class RoutesBroker {
 public:
  static constexpr size_t kMostOpen = 64;
  static constexpr size_t kOnlyAdmins = 16;  // of those: clients leave them to the admin socket
  static constexpr int64_t kLimitNs = 10 * kNanosPerSecond;
  static constexpr int64_t kForgetNs = 20 * kNanosPerSecond;

  // Whether it is another content than before.
  absl::StatusOr<bool> Take(const PublishRoutes& published, SharedFd fd);
  // What an earlier supervisor had; null: nothing.
  void Adopt(SharedFd fd, uint64_t serial);

  bool has_routes() const { return fd_ != nullptr; }
  uint64_t serial() const { return serial_; }
  const SharedFd& fd() const { return fd_; }
  const Routes& routes() const { return routes_; }

  // A question of whoever may ask, under a number of its own.
  struct Question {
    uint32_t asker = 0;   // key of an ingress process; 0: the admin socket
    ChangeRoutes change;  // with the asker's number
    int64_t asked_ns = 0;
    uint32_t registry = 0;  // key of the process that was told; 0: none yet
    uint64_t number = 0;    // ours, in that message
    uint64_t serial = 0;    // that everybody must have taken; 0: not answered yet
    std::optional<RoutesChanged> answer;
    bool done = false;
  };
  // Noted once, however often it is asked. False: too many are open.
  bool Ask(uint32_t asker, const ChangeRoutes& change, int64_t now_ns);
  // The answer, which is then forgotten; nothing: not yet.
  std::optional<RoutesChanged> Fetch(uint32_t asker, uint64_t request);
  bool Knows(uint32_t asker, uint64_t request) const;
  // What the registry says. By the messages before it, `serial` holds the change.
  void Answered(uint32_t registry, const RoutesChanged& changed);
  void Forget(int64_t now_ns);
  std::vector<Question>& questions() { return questions_; }
  uint64_t NextNumber() { return ++last_number_; }
  void GoOnFrom(uint64_t number) { last_number_ = number; }
  uint64_t last_number() const { return last_number_; }

 private:
  SharedFd fd_;
  uint64_t serial_ = 0;
  std::string bytes_;
  Routes routes_;
  std::vector<Question> questions_;
  uint64_t last_number_ = 0;
};

}  // namespace millrace
