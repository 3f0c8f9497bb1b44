// The two protocols behind the one interface that a lane's loop drives.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "common/check.h"
#include "common/clock.h"
#include "common/version.h"
#include "services/ingress/grpc/grpc_server.h"
#include "services/ingress/http/http_server.h"
#include "services/ingress/http/tls_files.h"
#include "services/ingress/http/tls_paths.h"
#include "services/ingress/lane_thread.h"
#include "services/ingress/verbs.h"

namespace millrace {
namespace {

constexpr size_t kEventsATurn = 64;
// A 4-byte number takes up to 17 characters and a comma as text.
constexpr size_t kTextBytesPerByte = 5;
constexpr int64_t kGraceNs = 200 * kNanosPerMilli;

// Descriptors that are left to everything else in the process, also to what the supervisor sends.
constexpr size_t kOtherDescriptors = 256;

// Of each protocol: the usual cap, or what two protocols can have of the descriptors there may be.
size_t MostConnections(const Config& config) {
  const auto wanted = static_cast<size_t>(config.max_connections);
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return wanted;
  const size_t ours = files.rlim_cur > kOtherDescriptors ? files.rlim_cur - kOtherDescriptors : 0;
  return std::clamp<size_t>(ours / 2, 1, wanted);
}

TlsPaths TlsPathsOf(const Config& config) {
  return {config.tls_certificate, config.tls_key, config.tls_client_ca};
}

// Sleeps on the lane's eventfd for a lane that is blocked in gRPC's completion queue.
// Edge-triggered: each write is told once, whether or not the lane has read the eventfd empty.
class WakeHelper {
 public:
  WakeHelper(int wake_fd, GrpcServer* server)
      : server_(server), epoll_(epoll_create1(EPOLL_CLOEXEC)), stop_(eventfd(0, EFD_CLOEXEC)) {
    MR_CHECK(epoll_.valid() && stop_.valid(), "no descriptor left for the wake helper");
    epoll_event wake = {EPOLLIN | EPOLLET, {.u32 = 0}};
    epoll_event stop = {EPOLLIN, {.u32 = 1}};
    MR_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_fd, &wake) == 0, "epoll of an eventfd");
    MR_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &stop) == 0,
             "epoll of an eventfd");
    thread_ = std::thread([this] { Run(); });
  }
  ~WakeHelper() {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }

 private:
  void Run() {
    while (true) {
      epoll_event event;
      if (epoll_wait(epoll_.get(), &event, 1, -1) != 1) continue;
      if (event.data.u32 == 1) return;
      server_->Wake();
    }
  }

  GrpcServer* server_;
  Fd epoll_;
  Fd stop_;
  std::thread thread_;
};

class GrpcProtocol : public ProtocolServer {
 public:
  GrpcProtocol(std::unique_ptr<GrpcServer> server, int wake_fd)
      : server_(std::move(server)), helper_(std::make_unique<WakeHelper>(wake_fd, server_.get())) {}

  size_t Poll() override { return server_->Poll(kEventsATurn); }
  bool Block(int64_t max_ns) override { return server_->Wait(max_ns); }
  void Drain() override {
    draining_ = true;
    server_->Drain();
  }
  void Move() override { server_->Move(); }
  bool Drained() const override {
    return server_->in_flight() == 0 && (draining_ || server_->connections() == 0);
  }
  void Shutdown() override {
    helper_.reset();
    server_->Shutdown(kGraceNs);
  }

 private:
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<WakeHelper> helper_;
  bool draining_ = false;
};

class HttpProtocol : public ProtocolServer {
 public:
  explicit HttpProtocol(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}

  size_t Poll() override { return server_->Poll(); }
  bool Block(int64_t max_ns) override {
    return server_->RunFor(std::chrono::nanoseconds(max_ns)) > 0;
  }
  void Drain() override { server_->Drain(); }
  void Move() override { server_->Move(); }
  bool Drained() const override { return server_->drained(); }
  void Shutdown() override {}

 private:
  std::unique_ptr<HttpServer> server_;
};

}  // namespace

absl::Status CheckTls(const Config& config) {
  const TlsPaths paths = TlsPathsOf(config);
  return paths.on() ? TlsFiles::Load(paths, MonotonicNanos()).status() : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ProtocolServer>> MakeGrpcServer(const ServerParts& parts) {
  GrpcServerOptions options;
  options.server_version = kVersion;
  for (std::string_view name : ServedExtensions()) options.extensions.emplace_back(name);
  if (parts.regions->allowed()) options.extensions.push_back("system_shared_memory");
  options.regions = parts.regions;
  options.keys = parts.keys;
  options.tls = TlsPathsOf(parts.config);
  options.max_connections = MostConnections(parts.config);
  options.max_message_bytes = parts.config.max_request_bytes + (64 << 10);
  options.max_in_flight = parts.config.max_in_flight;
  options.max_connection_age_ms = parts.config.grpc_max_connection_age_ms;
  absl::StatusOr<std::unique_ptr<GrpcServer>> server =
      GrpcServer::Start(parts.lane, options, parts.listening_fd);
  if (!server.ok()) return server.status();
  return std::make_unique<GrpcProtocol>(std::move(*server), parts.wake_fd);
}

absl::StatusOr<std::unique_ptr<ProtocolServer>> MakeHttpServer(const ServerParts& parts) {
  HttpOptions options;
  options.server_version = kVersion;
  options.regions = parts.regions;
  options.keys = parts.keys;
  options.tls = TlsPathsOf(parts.config);
  options.max_connections = MostConnections(parts.config);
  options.max_body_bytes = kTextBytesPerByte * parts.config.max_request_bytes + (64 << 10);
  absl::StatusOr<std::unique_ptr<HttpServer>> server =
      HttpServer::Create(parts.lane, options, parts.listening_fd, parts.wake_fd);
  if (!server.ok()) return server.status();
  return std::make_unique<HttpProtocol>(std::move(*server));
}

}  // namespace millrace
