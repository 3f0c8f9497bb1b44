#include "services/observer/observer_service.h"

#include <poll.h>

#include <sstream>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/log.h"
#include "prometheus/text_serializer.h"
#include "services/observer/collect.h"
#include "services/observer/console_page.h"
#include "services/runtime/log_ring.h"
#include "services/runtime/process.h"

namespace millrace {
namespace {

constexpr int kRetryMs = 1'000;
constexpr char kTextFormat[] = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

int ObserverService::Run() {
  while (true) {
    pollfd socket = {channel_.fd(), POLLIN, 0};
    const bool retry = configured_ && address_.empty();
    if (poll(&socket, 1, retry ? kRetryMs : -1) == 0) TryToListen();
    ToProcess message;
    std::vector<Fd> fds;
    const absl::StatusOr<bool> received = channel_.Receive(&message, &fds);
    if (!received.ok()) {
      Log(LogLevel::kError, "supervisor_lost", {{"why", received.status().ToString()}});
      return absl::IsUnavailable(received.status()) ? kExitOrphan : kExitProtocol;
    }
    if (!*received) continue;
    if (const std::optional<int> code = Handle(message, fds)) return *code;
  }
}

std::optional<int> ObserverService::Handle(const ToProcess& message, const std::vector<Fd>& fds) {
  if (!configured_ && !message.has_configure()) return kExitProtocol;
  switch (message.message_case()) {
    case ToProcess::kConfigure:
      return OnConfigure(message.configure());
    case ToProcess::kObserve:
      pages_.Observe(message.observe(), fds);
      return std::nullopt;
    case ToProcess::kObserveTraces:
      traces_.Observe(message.observe_traces(), fds);
      return std::nullopt;
    case ToProcess::kObserveLogs:
      logs_.Observe(message.observe_logs(), fds);
      return std::nullopt;
    case ToProcess::kFleetView:
      logs_.Look();
      pages_.View(message.fleet_view(), MonotonicNanos());
      history_.Tick(pages_.Take(), MonotonicNanos());
      // A view comes some times a second: silence is not waited for.
      if (address_.empty()) TryToListen();
      return std::nullopt;
    case ToProcess::kAdopted:
      LogRing::Say(&channel_);
      return Tell() ? std::nullopt : std::optional<int>(kExitOrphan);
    case ToProcess::kDrain: {
      FromProcess drained;
      drained.mutable_drained();
      return channel_.Send(drained).ok() ? std::nullopt : std::optional<int>(kExitOrphan);
    }
    case ToProcess::kStop:
      return kExitOk;
    default:
      return std::nullopt;  // peers and catalogs are nothing to an observer
  }
}

std::optional<int> ObserverService::OnConfigure(const Configure& configure) {
  ConfigResult parsed = ParseConfig(configure.config_yaml());
  if (configured_ || !parsed.faults.empty()) return kExitProtocol;
  config_ = std::move(parsed.config);
  configured_ = true;
  LogRing::Say(&channel_);
  nvml_ = std::make_unique<Nvml>();
  server_.Handle("/metrics", [this](const HttpRequest&) { return Metrics(); });
  server_.Handle("/api/traces",
                 Guarded([this](const HttpRequest& request) { return Traces(request); }));
  traces_.Start(config_);
  server_.Handle("/api/logs",
                 Guarded([this](const HttpRequest& request) { return Logs(request); }));
  server_.Handle("/api/pipeline", Guarded([this](const HttpRequest&) { return Pipeline(); }));
  HandleConsole(&server_);
  TryToListen();
  // Without an address it is up all the same, and says why nobody can read it.
  return Tell() ? std::nullopt : std::optional<int>(kExitOrphan);
}

void ObserverService::TryToListen() {
  absl::StatusOr<std::string> address = server_.Listen(config_.metrics_listen);
  if (address.ok()) {
    address_ = *std::move(address);
    Log(LogLevel::kInfo, "metrics_served", {{"address", address_}});
    server_.Start();
    if (!why_not_.empty()) Tell();
    return;
  }
  const std::string why(address.status().message());
  if (why != why_not_) Log(LogLevel::kError, "metrics_not_served", {{"why", why}});
  why_not_ = why;
}

bool ObserverService::Tell() {
  FromProcess message;
  message.mutable_observing()->set_address(address_);
  if (address_.empty()) message.mutable_observing()->set_why_not(why_not_);
  const absl::Status sent = channel_.Send(message);
  return sent.ok() || absl::IsResourceExhausted(sent);
}

HttpReply ObserverService::Metrics() {
  CollectSetup setup;
  setup.slo_ns = config_.slo_ms * kNanosPerMilli;
  setup.use_of = [this](pid_t pid) { return uses_.UseOf(pid); };
  {
    std::lock_guard<std::mutex> lock(nvml_mutex_);
    setup.gpus = nvml_->Sample();
  }
  const Picture picture = pages_.Take();
  setup.now_ns = MonotonicNanos();
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, Collect(picture, setup));
  Families own;
  traces_.Show(&own);
  logs_.Show(OwnIncarnation(picture), &own);
  prometheus::TextSerializer().Serialize(text, own.Take());
  return {200, kTextFormat, text.str()};
}

HttpReply ObserverService::Traces(const HttpRequest& request) {
  const std::optional<std::string> json = traces_.Json(request.query);
  if (!json.has_value())
    return {400, "text/plain; charset=utf-8", "why=slow|failed|sampled, limit=N\n"};
  HttpReply reply{200, "application/json", *json};
  reply.close = true;
  return reply;
}

HttpReply ObserverService::Logs(const HttpRequest& request) {
  const std::optional<std::string> json = logs_.Json(request.query);
  if (!json.has_value()) {
    return {400, "text/plain; charset=utf-8",
            "level=info|warning|error, process=NAME, event=NAME, after=N, limit=1..1000\n"};
  }
  HttpReply reply{200, "application/json", *json};
  reply.close = true;
  return reply;
}

HttpReply ObserverService::Pipeline() {
  PipelineSetup setup;
  setup.slo_ns = config_.slo_ms * kNanosPerMilli;
  setup.unix_ms = absl::ToUnixMillis(absl::Now());
  {
    std::lock_guard<std::mutex> lock(nvml_mutex_);
    setup.gpus = nvml_->Sample();
  }
  HttpReply reply{200, "application/json", history_.Report(pages_.Take(), MonotonicNanos(), setup)};
  reply.close = true;
  return reply;
}

}  // namespace millrace
