// Traces on their way to a collector.
//
// Purpose: batches them and sends them by OTLP, over HTTP with JSON or over gRPC. Who may call: any
//   thread; a sender is the exporter's thread's. Ownership: owns its sender, thread and queue;
//   lives as long as the process.
// Invariants:
//   1. Add never waits. Beyond kQueue traces that wait, the newest are lost, and counted.
//   2. A batch that the collector refuses is not sent again; one that it may take later is, up to
//      kTries times.
//   3. Nothing is sent to an address that is not private (common/otlp_endpoint.h), whatever its
//   name
//      stands for.
// What fails: sending, which is counted, and logged when it begins and when it ends.
#pragma once

#include <stdint.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/otlp_endpoint.h"
#include "services/observer/traces/kept_trace.h"
#include "services/observer/traces/otlp.pb.h"

namespace millrace {

enum class SendResult { kSent, kAgain, kRefused };

class OtlpSender {
 public:
  virtual ~OtlpSender() = default;
  // `why`: of what is not sent.
  virtual SendResult Send(const otlp::ExportRequest& request, std::string* why) = 0;
};

std::unique_ptr<OtlpSender> MakeHttpSender(const OtlpEndpoint& endpoint);
std::unique_ptr<OtlpSender> MakeGrpcSender(const OtlpEndpoint& endpoint);

// The first private address that the host has: "127.0.0.1" or "::1".
absl::StatusOr<std::string> PrivateAddress(const OtlpEndpoint& endpoint);

class OtlpExporter {
 public:
  static constexpr size_t kQueue = 4096;
  static constexpr size_t kBatch = 128;
  static constexpr int kTries = 3;
  static constexpr int kSendMs = 5'000;  // that a collector has to answer

  // `pause_ms`: before a batch is sent again; the second time twice as long.
  explicit OtlpExporter(std::unique_ptr<OtlpSender> sender, int pause_ms = 1'000)
      : sender_(std::move(sender)), pause_ms_(pause_ms) {}

  // Its thread lives as long as the process, as `this` must.
  void Start();
  void Add(const std::vector<SharedTrace>& traces);
  // One batch, if there is one; for tests, in place of Start.
  bool SendSome();

  uint64_t exported() const;
  uint64_t failed() const;
  uint64_t lost() const;

 private:
  void Run();
  std::vector<SharedTrace> TakeBatch();
  void SendBatch(const std::vector<SharedTrace>& batch);
  void Tell(bool sent, const std::string& why);

  const std::unique_ptr<OtlpSender> sender_;
  const int pause_ms_;
  mutable std::mutex mutex_;
  std::condition_variable more_;
  std::deque<SharedTrace> queue_;
  bool failing_ = false;  // the exporter's thread's
  std::atomic<uint64_t> exported_{0}, failed_{0}, lost_{0};
};

}  // namespace millrace
