// One thread and one connection for each request in flight: HTTP/1.1 has no more.
#include <atomic>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "tools/load/http_connection.h"
#include "tools/load/http_json.h"
#include "tools/load/load.h"

namespace millrace {
namespace {

class Sender {
 public:
  Sender(const GoldenSet& golden, const std::vector<std::string>& bodies,
         const LoadOptions& options, std::atomic<int64_t>* next)
      : golden_(golden), bodies_(bodies), options_(options), next_(next) {}

  LoadReport Run() {
    HttpConnection connection(options_.address, options_.deadline_ms);
    const std::string target = ModelTarget(golden_.requests[0].request.model_name(), "") + "/infer";
    const int64_t begin_ns = MonotonicNanos();
    const int64_t end_ns = begin_ns + options_.duration_ms * kNanosPerMilli;
    for (;;) {
      // relaxed: the only word the senders share; each takes a number of its own.
      const int64_t number = next_->fetch_add(1, std::memory_order_relaxed);
      if (!MayStart(options_, number, end_ns)) break;
      Send(&connection, target, static_cast<size_t>(number) % bodies_.size());
    }
    report_.seconds = static_cast<double>(MonotonicNanos() - begin_ns) / kNanosPerSecond;
    return std::move(report_);
  }

 private:
  void Send(HttpConnection* connection, const std::string& target, size_t index) {
    ++report_.sent;
    for (int retries_left = options_.retries;; --retries_left) {
      const int64_t start_ns = MonotonicNanos();
      const absl::StatusOr<std::string> body = connection->Post(target, bodies_[index]);
      const int64_t took_ns = MonotonicNanos() - start_ns;
      if (absl::IsUnavailable(body.status()) && retries_left > 0) {
        ++report_.retried;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        continue;
      }
      return Count(body, index, took_ns);
    }
  }

  void Count(const absl::StatusOr<std::string>& body, size_t index, int64_t took_ns) {
    absl::Status status = body.status();
    if (status.ok()) {
      const auto answer = ParseInferAnswer(*body);
      status = answer.status();
      if (status.ok()) {
        ++(Matches(golden_.requests[index], *answer) ? report_.answered : report_.mismatched);
        report_.latencies_ns.push_back(took_ns);
        return;
      }
    }
    ++report_.failed;
    ++report_.failures[absl::StrCat(status.raw_code(), " ", status.message())];
  }

  const GoldenSet& golden_;
  const std::vector<std::string>& bodies_;
  const LoadOptions& options_;
  std::atomic<int64_t>* const next_;
  LoadReport report_;
};

}  // namespace

LoadReport RunHttpLoad(const GoldenSet& golden, const LoadOptions& options) {
  LoadReport report;
  std::vector<std::string> bodies;
  for (const GoldenRequest& request : golden.requests) {
    absl::StatusOr<std::string> body = InferRequestJson(request.request);
    if (!body.ok()) {
      report.sent = report.failed = 1;
      report.failures[std::string(body.status().message())] = 1;
      return report;
    }
    bodies.push_back(std::move(*body));
  }
  std::atomic<int64_t> next = 0;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int i = 0; i < options.in_flight; ++i) {
    threads.emplace_back([&] {
      const LoadReport part = Sender(golden, bodies, options, &next).Run();
      const std::lock_guard<std::mutex> lock(mutex);
      report.Add(part);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return report;
}

}  // namespace millrace
