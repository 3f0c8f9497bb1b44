// What stands behind a tag of the completion queue.
//
// Purpose: the lane's loop fires what the queue returns and knows nothing of calls.
// Who may call: only the thread that polls the queue. Ownership: a tag is a QueueEvent* whose
//   object outlives every operation it was posted with.
#pragma once

namespace millrace {

class QueueEvent {
 public:
  virtual ~QueueEvent() = default;
  // `ok` is gRPC's: for a call that was waited for, false means that the server is shutting down.
  virtual void Fire(bool ok) = 0;
};

}  // namespace millrace
