// The observer's life: the supervisor's messages in, /metrics and the console out.
//
// Purpose: one control thread that keeps the PageSet, beside the HTTP server's threads.
// Who may call: main, once. Invariants:
//   1. Nothing here is needed by a request; the observer may die at any moment.
//   2. An address that cannot be had is tried again every second, and said once.
// What fails: Run returns the exit code (services/runtime/process.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "services/observer/http_server.h"
#include "services/observer/logs/log_service.h"
#include "services/observer/nvml.h"
#include "services/observer/page_set.h"
#include "services/observer/pipeline.h"
#include "services/observer/traces/trace_service.h"

namespace millrace {

class ObserverService {
 public:
  explicit ObserverService(Fd socket) : channel_(std::move(socket)) {}

  // Until the supervisor says stop, or is gone.
  int Run();

 private:
  std::optional<int> Handle(const ToProcess& message, const std::vector<Fd>& fds);
  std::optional<int> OnConfigure(const Configure& configure);
  void TryToListen();
  bool Tell();
  HttpReply Metrics();
  HttpReply Traces(const HttpRequest& request);
  HttpReply Pipeline();
  HttpReply Logs(const HttpRequest& request);

  ControlChannel channel_;
  Config config_;
  bool configured_ = false;
  std::string address_;  // empty: not listening yet
  std::string why_not_;
  PageSet pages_;
  TraceService traces_{&pages_};
  LogService logs_;
  RunDelays uses_;
  PipelineHistory history_{[this](pid_t pid) { return uses_.UseOf(pid); }};
  HttpServer server_;
  std::mutex nvml_mutex_;
  std::unique_ptr<Nvml> nvml_;
};

}  // namespace millrace
