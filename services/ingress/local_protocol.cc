// The local lane behind the interface that a lane's loop drives.
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "services/ingress/lane_thread.h"
#include "services/ingress/local/local_server.h"

namespace millrace {
namespace {

class LocalProtocol : public ProtocolServer {
 public:
  explicit LocalProtocol(std::unique_ptr<LocalServer> server) : server_(std::move(server)) {}

  size_t Poll() override { return server_->Poll(); }
  bool Block(int64_t max_ns) override { return server_->Block(max_ns); }
  void Drain() override { server_->Drain(); }
  void Move() override { server_->Move(); }
  bool Drained() const override { return server_->drained(); }
  void Shutdown() override {}

 private:
  std::unique_ptr<LocalServer> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ProtocolServer>> MakeLocalServer(const ServerParts& parts) {
  LocalOptions options;
  options.max_clients = static_cast<size_t>(parts.config.local_clients);
  options.in_flight = static_cast<size_t>(parts.config.local_in_flight);
  options.memory_bytes = static_cast<uint64_t>(parts.config.local_memory_mb) << 20;
  options.request_bytes = static_cast<uint64_t>(parts.config.max_request_bytes);
  for (absl::string_view word :
       absl::StrSplit(parts.config.local_uids, ',', absl::SkipWhitespace())) {
    uint32_t uid = 0;
    if (absl::SimpleAtoi(word, &uid)) options.uids.push_back(uid);
  }
  absl::StatusOr<std::unique_ptr<LocalServer>> server =
      LocalServer::Create(parts.lane, options, parts.listening_fd, parts.wake_fd);
  if (!server.ok()) return server.status();
  return std::make_unique<LocalProtocol>(std::move(*server));
}

}  // namespace millrace
