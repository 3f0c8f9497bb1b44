// GOAWAY to every client of a gRPC server that goes on serving.
//
// Purpose: clients move to another process without a failed call: each connection is told not to
//   begin another call (in HTTP/2's two steps, so that one on its way is still served) and ends
//   with its last. To shut the server down would say so too, and refuse the calls on their way.
// Who may call: one thread. gRPC 1.51 exports this and has it in no header; where a later one does
//   not export it, Send does nothing, and connections go at their age and at the drain's limit.
// Invariant: after the destructor the server is not touched. Nothing fails.
#pragma once

#include <memory>

namespace grpc {
class Alarm;
class Server;
}  // namespace grpc

namespace millrace {

class GoAway {
 public:
  explicit GoAway(grpc::Server* server);
  ~GoAway();
  GoAway(const GoAway&) = delete;
  GoAway& operator=(const GoAway&) = delete;

  // Soon, on a thread of gRPC's. Those who were told are not told again.
  void Send();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace millrace
