#include "services/ingress/grpc/grpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>

#include <atomic>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "services/ingress/grpc/acceptor.h"
#include "services/ingress/grpc/call_gate.h"
#include "services/ingress/grpc/connection_count.h"
#include "services/ingress/grpc/go_away.h"
#include "services/ingress/grpc/health_watch.h"
#include "services/ingress/grpc/infer_calls.h"
#include "services/ingress/grpc/infer_streams.h"
#include "services/ingress/grpc/late_call.h"
#include "services/ingress/grpc/plain_call.h"
#include "services/ingress/grpc/raw_services.h"
#include "services/ingress/grpc/reflection.h"
#include "services/ingress/grpc/refusal.h"
#include "services/ingress/grpc/stream_call.h"

namespace millrace {
namespace {

// People and tools look around one at a time.
constexpr size_t kReflectionStreams = 16;

// Load balancers; a client that is refused asks Check instead.
constexpr size_t kHealthWatchers = 64;

// A client has this long for TLS and its first HTTP/2 words.
constexpr int kHandshakeTimeoutMs = 10'000;

constexpr unsigned kLookAtFilesS = 1;

// How often connections are counted and told to go: before their handshake they cannot be.
constexpr int64_t kGoAwayNs = 50 * kNanosPerMilli;

// How often Shutdown looks whether gRPC has ended.
constexpr int64_t kShutdownStepNs = 5'000'000;

void SetLimits(const GrpcServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams_per_connection);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, options.max_metadata_bytes);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  // Windows stay at 64 KiB a stream, and no pings are spent on measuring the line.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // A request's deadline is the frontend's, as HTTP's is: a timer of gRPC's beside it is set and
  // taken back for each call. A stream ends at its deadline because its client ends it.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_DEADLINE_CHECKS, 0);
  // Nobody can ask for what channelz would count of each call.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  // A kilobyte of gzip can be a megabyte of message, and is unpacked before its size is checked.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  if (options.max_connection_age_ms == 0) return;
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                              static_cast<int>(options.max_connection_age_ms));
  if (options.connection_age_grace_ms == 0) return;
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                              static_cast<int>(options.connection_age_grace_ms));
}

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const TlsPaths& tls) {
  if (!tls.on()) return grpc::InsecureServerCredentials();
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          tls.key, tls.certificate, tls.client_ca, kLookAtFilesS));
  options.watch_identity_key_cert_pairs();
  if (!tls.client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

gpr_timespec MonotonicIn(int64_t ns) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(ns, GPR_TIMESPAN));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(Frontend* frontend,
                                                              const GrpcServerOptions& options,
                                                              int listening_fd) {
  std::unique_ptr<GrpcServer> server(new GrpcServer(frontend, options));
  if (absl::Status status = server->Serve(listening_fd); !status.ok()) return status;
  return server;
}

GrpcServer::GrpcServer(Frontend* frontend, const GrpcServerOptions& options)
    : frontend_(frontend),
      options_(options),
      no_regions_(std::make_unique<ClientRegions>(ClientRegionsOptions())),
      regions_(options.regions != nullptr ? options.regions : no_regions_.get()) {}

GrpcServer::~GrpcServer() { Shutdown(0); }

absl::Status GrpcServer::Serve(int listening_fd) {
  // Both would write a line for what a client did wrong, as often as it does.
  google::protobuf::SetLogHandler(nullptr);
  gpr_set_log_function([](gpr_log_func_args*) {});
  // Debian builds Abseil so that each lock is entered in a graph of all: 3 % of a lane's time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  gate_ = std::make_unique<CallGate>(options_.keys, ReachOf(listening_fd));
  services_ = std::make_unique<RawServices>();
  grpc::ServerBuilder builder;
  SetLimits(options_, &builder);
  builder.RegisterService(&services_->inference);
  builder.RegisterService(&services_->health);
  builder.RegisterService(&services_->reflection);
  builder.RegisterService(&services_->old_reflection);
  connections_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      MakeCredentials(options_.tls));
  queue_ = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return absl::InternalError("gRPC did not start");
  {
    std::lock_guard<std::mutex> lock(wake_mutex_);
    wake_closed_ = false;
  }

  AddPlainCalls();
  AddCatalogCalls();
  AddSharedMemoryCalls();
  AddSettingCalls();
  AddChangeCalls();
  infer_calls_ = std::make_unique<InferCalls>(
      frontend_,
      InferCallsOptions{gate_.get(), &cork_, regions_,
                        options_.max_in_flight + options_.waiting_calls, options_.waiting_calls,
                        options_.retry_pushback_ms, options_.max_message_bytes},
      PostOf(&services_->inference, &RawInference::RequestModelInfer, queue_.get()));
  infer_streams_ = std::make_unique<InferStreams>(
      frontend_,
      InferStreamsOptions{gate_.get(), regions_, options_.max_infer_streams,
                          options_.max_requests_per_stream, options_.retry_pushback_ms,
                          options_.max_message_bytes},
      StreamPostOf(&services_->inference, &RawInference::RequestModelStreamInfer, queue_.get()));
  reflection_ = std::make_unique<Reflection>(std::vector<std::string>{
      Oip::service_full_name(), grpc::health::v1::Health::service_full_name(),
      grpc::reflection::v1::ServerReflection::service_full_name(),
      grpc::reflection::v1alpha::ServerReflection::service_full_name()});
  reflection_streams_.push_back(std::make_unique<StreamPool>(
      kReflectionStreams,
      StreamPostOf(&services_->reflection, &RawReflection::RequestServerReflectionInfo,
                   queue_.get()),
      [this](StreamPool* pool) { return reflection_->MakeStream(pool); }));
  reflection_streams_.push_back(std::make_unique<StreamPool>(
      kReflectionStreams,
      StreamPostOf(&services_->old_reflection, &RawOldReflection::RequestServerReflectionInfo,
                   queue_.get()),
      [this](StreamPool* pool) { return reflection_->MakeOldStream(pool); }));
  health_watch_ = std::make_unique<HealthWatch>(
      kHealthWatchers, [this] { return ready(); },
      [this](grpc::ServerContext* context, grpc::ByteBuffer* request,
             grpc::ServerAsyncWriter<grpc::ByteBuffer>* writer, QueueEvent* event) {
        services_->health.RequestWatch(context, request, writer, queue_.get(), queue_.get(), event);
      });
  for (const auto& call : plain_calls_) call->Post();
  infer_calls_->Open();
  infer_streams_->Open();
  for (const auto& pool : reflection_streams_) pool->Open();
  for (const auto& call : late_calls_) call->Post();
  health_watch_->Open();

  count_ = std::make_shared<ConnectionCount>(options_.max_connections);
  auto acceptor = Acceptor::Start(listening_fd, [this, listening_fd, count = count_](int fd) {
    if (count->Full()) return RefuseConnection(fd, options_.tls.on());
    count->Add(fd);
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.listener_fd = listening_fd;
    connection.fd = fd;
    connections_->HandleNewConnection(&connection);
    cork_.Add(fd);
  });
  if (!acceptor.ok()) return acceptor.status();
  acceptor_ = *std::move(acceptor);
  return absl::OkStatus();
}

size_t GrpcServer::Poll(size_t max_events) {
  health_watch_->Look();
  if (go_away_ != nullptr) StepMove();
  infer_streams_->WriteAnswers();
  cork_.Flush();
  size_t handled = 0;
  void* tag = nullptr;
  bool ok = false;
  while (handled < max_events && queue_->AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC)) ==
                                     grpc::CompletionQueue::GOT_EVENT) {
    static_cast<QueueEvent*>(tag)->Fire(ok);
    ++handled;
  }
  infer_streams_->WriteAnswers();  // of what was refused at once
  cork_.Flush();
  return handled;
}

bool GrpcServer::Wait(int64_t max_ns) {
  void* tag = nullptr;
  bool ok = false;
  if (queue_->AsyncNext(&tag, &ok, MonotonicIn(max_ns)) != grpc::CompletionQueue::GOT_EVENT) {
    return false;
  }
  static_cast<QueueEvent*>(tag)->Fire(ok);
  cork_.Flush();
  return true;
}

void GrpcServer::Wake() {
  std::lock_guard<std::mutex> lock(wake_mutex_);
  if (wake_closed_ || wake_pending_) return;
  wake_pending_ = true;
  wake_alarm_.Set(queue_.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC),
                  static_cast<QueueEvent*>(&wake_event_));
}

void GrpcServer::WakeEvent::Fire(bool) {
  std::lock_guard<std::mutex> lock(server_->wake_mutex_);
  server_->wake_pending_ = false;
}

void GrpcServer::Drain() {
  draining_ = true;
  infer_calls_->Drain();
  infer_streams_->Drain();
  for (const auto& pool : reflection_streams_) pool->Drain();
  health_watch_->Look();
}

void GrpcServer::Move() {
  if (go_away_ != nullptr) return;
  acceptor_.reset();
  go_away_ = std::make_unique<GoAway>(server_.get());
}

void GrpcServer::StepMove() {
  const int64_t now_ns = MonotonicNanos();
  if (now_ns < next_go_away_ns_) return;
  next_go_away_ns_ = now_ns + kGoAwayNs;
  connections_left_ = count_->Open();
  if (connections_left_ > 0) go_away_->Send();
}

size_t GrpcServer::in_flight() const {
  return infer_calls_->in_flight() + infer_streams_->in_flight();
}

void GrpcServer::Shutdown(int64_t grace_ns) {
  if (stopping_ || server_ == nullptr) return;
  acceptor_.reset();  // a connection handed over later would never be closed
  go_away_.reset();
  Drain();
  infer_calls_->Stop();
  infer_streams_->Stop();
  for (const auto& pool : reflection_streams_) pool->Stop();
  health_watch_->Stop();
  stopping_ = true;

  // gRPC's shutdown blocks until all replies are written or the grace is over; meanwhile the queue
  // must be served, or the calls that end would never be let go.
  std::atomic<bool> ended = false;
  std::thread shutdown([this, grace_ns, &ended] {
    server_->Shutdown(MonotonicIn(grace_ns));
    // release: meets the acquire in GrpcServer::Shutdown, below.
    ended.store(true, std::memory_order_release);
  });
  // acquire: meets the release in GrpcServer::Shutdown, above.
  while (!ended.load(std::memory_order_acquire)) Wait(kShutdownStepNs);
  shutdown.join();

  infer_calls_->Close();
  infer_streams_->Close();
  for (const auto& pool : reflection_streams_) pool->Close();
  for (const auto& call : late_calls_) call->Close();
  health_watch_->Close();
  {
    std::lock_guard<std::mutex> lock(wake_mutex_);
    wake_closed_ = true;
  }
  queue_->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<QueueEvent*>(tag)->Fire(ok);
}

}  // namespace millrace
