#include "services/ingress/grpc/go_away.h"

#include <grpcpp/alarm.h>
#include <grpcpp/server.h>

#include <chrono>
#include <mutex>

// As libgrpc 1.51 exports it: grpc_server is its name in C.
namespace grpc_core {
class Server {
 public:
  void SendGoaways() __attribute__((weak));
};
}  // namespace grpc_core

namespace millrace {

struct GoAway::Shared {
  std::mutex mutex;
  grpc::Server* server;  // null: it is about to end
};

GoAway::GoAway(grpc::Server* server) : shared_(std::make_shared<Shared>()) {
  shared_->server = server;
}

GoAway::~GoAway() {
  std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->server = nullptr;
}

// An alarm's callback runs as gRPC's own code does, which SendGoaways asks for. Another alarm each
// time: the one before may still be calling.
void GoAway::Send() {
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(std::chrono::system_clock::now(), [shared = shared_](bool) {
    std::lock_guard<std::mutex> lock(shared->mutex);
    void (grpc_core::Server::*send)() = &grpc_core::Server::SendGoaways;
    if (shared->server == nullptr || send == nullptr) return;
    (reinterpret_cast<grpc_core::Server*>(shared->server->c_server())->*send)();
  });
}

}  // namespace millrace
