#include "services/observer/traces/otlp_export.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "services/observer/traces/otlp.h"

namespace millrace {

absl::StatusOr<std::string> PrivateAddress(const OtlpEndpoint& endpoint) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found)) {
    return absl::UnavailableError(absl::StrCat(endpoint.host, ": ", gai_strerror(error)));
  }
  std::string address;
  for (const addrinfo* one = found; one != nullptr && address.empty(); one = one->ai_next) {
    if (!IsPrivate(*one->ai_addr)) continue;
    char text[INET6_ADDRSTRLEN] = "";
    const void* number =
        one->ai_family == AF_INET
            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(one->ai_addr)->sin_addr)
            : &reinterpret_cast<sockaddr_in6*>(one->ai_addr)->sin6_addr;
    if (inet_ntop(one->ai_family, number, text, sizeof text) != nullptr) address = text;
  }
  freeaddrinfo(found);
  if (!address.empty()) return address;
  return absl::PermissionDeniedError(
      absl::StrCat(endpoint.host, " is neither on this machine nor in a private network"));
}

void OtlpExporter::Start() {
  std::thread([this] { Run(); }).detach();
}

void OtlpExporter::Add(const std::vector<SharedTrace>& traces) {
  std::lock_guard<std::mutex> lock(mutex_);
  const size_t taken = std::min(traces.size(), kQueue - std::min(kQueue, queue_.size()));
  queue_.insert(queue_.end(), traces.begin(), traces.begin() + static_cast<ptrdiff_t>(taken));
  lost_ += traces.size() - taken;
  if (taken > 0) more_.notify_one();
}

std::vector<SharedTrace> OtlpExporter::TakeBatch() {
  const size_t taken = std::min(queue_.size(), kBatch);
  const auto end = queue_.begin() + static_cast<ptrdiff_t>(taken);
  std::vector<SharedTrace> batch(queue_.begin(), end);
  queue_.erase(queue_.begin(), end);
  return batch;
}

void OtlpExporter::Run() {
  while (true) {
    std::vector<SharedTrace> batch;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      more_.wait(lock, [this] { return !queue_.empty(); });
      batch = TakeBatch();
    }
    SendBatch(batch);
  }
}

bool OtlpExporter::SendSome() {
  std::vector<SharedTrace> batch;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    batch = TakeBatch();
  }
  if (!batch.empty()) SendBatch(batch);
  return !batch.empty();
}

void OtlpExporter::SendBatch(const std::vector<SharedTrace>& batch) {
  const otlp::ExportRequest request = ToOtlp(batch);
  std::string why;
  for (int tried = 1;; ++tried) {
    const SendResult result = sender_->Send(request, &why);
    if (result == SendResult::kSent) {
      exported_ += batch.size();
      return Tell(true, why);
    }
    if (result == SendResult::kRefused || tried == kTries) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms_ * tried));
  }
  failed_ += batch.size();
  Tell(false, why);
}

void OtlpExporter::Tell(bool sent, const std::string& why) {
  if (failing_ == !sent) return;
  failing_ = !sent;
  if (sent) return Log(LogLevel::kInfo, "traces_sent_again");
  Log(LogLevel::kError, "traces_not_sent", {{"why", why}});
}

// relaxed: statistics, each read alone.
uint64_t OtlpExporter::exported() const { return exported_.load(std::memory_order_relaxed); }
// relaxed: as above.
uint64_t OtlpExporter::failed() const { return failed_.load(std::memory_order_relaxed); }
// relaxed: as above.
uint64_t OtlpExporter::lost() const { return lost_.load(std::memory_order_relaxed); }

}  // namespace millrace
