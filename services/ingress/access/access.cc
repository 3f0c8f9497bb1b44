// The digest functions that allocate nothing are of OpenSSL 1.1's interface.
#define OPENSSL_API_COMPAT 0x10101000L

#include "services/ingress/access/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/config_yaml.h"
#include "common/log.h"

namespace millrace {
namespace {

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

// At most one byte more than a YAML file may have; false with errno.
bool ReadAll(int fd, std::string* text) {
  char chunk[4096];
  while (text->size() <= kMaxYamlBytes) {
    const ssize_t bytes = read(fd, chunk, sizeof chunk);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return false;
    if (bytes == 0) return true;
    text->append(chunk, static_cast<size_t>(bytes));
  }
  return true;
}

constexpr char kUnknownKey[] = "the API key is not known";
constexpr char kLacksScope[] = "this API key has no scope for this";

Verdict Denied(const char* sentence) { return {absl::StatusCode::kPermissionDenied, sentence, 0}; }

// Since these functions allocate nothing; OpenSSL's newer ones do, once a digest.
KeyDigest Hash(std::string_view text) {
  KeyDigest digest;
  SHA256_CTX context;
  MR_CHECK(SHA256_Init(&context) == 1 && SHA256_Update(&context, text.data(), text.size()) == 1 &&
               SHA256_Final(digest.data(), &context) == 1,
           "SHA-256 of bytes in memory does not fail");
  return digest;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Keys>> Keys::Open(const std::string& path, bool allow_anonymous) {
  std::shared_ptr<Keys> keys(new Keys(path, allow_anonymous));
  if (!keys->required()) return keys;
  if (absl::Status status = keys->Read(); !status.ok()) return status;
  return keys;
}

absl::Status Keys::Read() {
  std::lock_guard<std::mutex> lock(mutex_);
  // Non-blocking: a pipe in the file's place must not hold a lane.
  const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    seen_ = {};
    return absl::InvalidArgumentError(std::string("the key file: ") + strerror(errno));
  }
  std::string text;
  const bool read = fstat(fd, &seen_) == 0 && S_ISREG(seen_.st_mode) && ReadAll(fd, &text);
  close(fd);
  if (!read) return absl::InvalidArgumentError("the key file cannot be read as a file");
  std::vector<ConfigFault> faults;
  std::shared_ptr<const KeyTable> table = ParseKeyTable(text, table_.get(), &faults);
  if (table == nullptr) {
    return absl::InvalidArgumentError(FormatFaults("the key file", faults).at(0));
  }
  table_ = std::move(table);
  // release: meets the acquire in Keys::version.
  version_.fetch_add(1, std::memory_order_release);
  return absl::OkStatus();
}

// acquire: meets the release in Keys::Read.
uint64_t Keys::version() const { return version_.load(std::memory_order_acquire); }

// relaxed: a count that is only read for tests and reports.
uint64_t Keys::faults() const { return faults_.load(std::memory_order_relaxed); }

std::shared_ptr<const KeyTable> Keys::table() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return table_;
}

void Keys::LookAtMostOnceASecond(int64_t now_ns) {
  // relaxed: the exchange below decides who looks.
  int64_t next_ns = next_look_ns_.load(std::memory_order_relaxed);
  if (now_ns < next_ns) return;
  // relaxed: what is read from the file is guarded by the mutex.
  if (!next_look_ns_.compare_exchange_strong(next_ns, now_ns + kNanosPerSecond,
                                             std::memory_order_relaxed)) {
    return;
  }
  struct stat now = {};
  const bool there = stat(path_.c_str(), &now) == 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (SameFile(now, seen_)) return;
    if (!there) seen_ = {};
  }
  const absl::Status status = Read();
  if (status.ok()) return Log(LogLevel::kInfo, "keys_read");
  // relaxed: a count that is only read for tests and reports.
  faults_.fetch_add(1, std::memory_order_relaxed);
  Log(LogLevel::kError, "keys_refused", {{"error", std::string(status.message())}});
}

Gate::Gate(std::shared_ptr<Keys> keys, Reach reach) : keys_(std::move(keys)), reach_(reach) {}

bool Gate::AsksForKey(Scope scope) const {
  return scope != kScopeNone && keys_ != nullptr && keys_->required();
}

Verdict Gate::CheckAnonymous(Scope scope) const {
  if (scope == kScopeNone || reach_ != Reach::kNetwork) return {};
  if (scope == kScopeAdmin) return Denied("administration over the network needs an API key");
  if (keys_ != nullptr && keys_->allow_anonymous()) return {};
  return Denied("without API keys only clients of this machine are served");
}

const KeyEntry* Gate::Find(const KeyDigest& digest, int64_t now_ns) {
  keys_->LookAtMostOnceASecond(now_ns);
  if (const uint64_t version = keys_->version(); version != version_) {
    table_ = keys_->table();
    version_ = version;
  }
  return table_->FindKey(digest);
}

Verdict Gate::Admit(Scope scope, const Shown& shown, int64_t now_ns, Permit* permit) {
  *permit = {scope, false, {}};
  if (!AsksForKey(scope)) return CheckAnonymous(scope);
  if (shown.key.empty() && shown.certificate.empty()) {
    return {absl::StatusCode::kUnauthenticated, "an API key is needed", 0};
  }
  permit->keyed = true;
  permit->digest = shown.key.empty() ? CertificateDigest(shown.certificate) : Hash(shown.key);
  const KeyEntry* entry = Find(permit->digest, now_ns);
  if (entry == nullptr) return {absl::StatusCode::kUnauthenticated, kUnknownKey, 0};
  if ((entry->scopes & scope) == 0) return Denied(kLacksScope);
  return {};
}

Verdict Gate::Use(const Permit& permit, int64_t now_ns) {
  if (!permit.keyed) return {};
  const KeyEntry* entry = Find(permit.digest, now_ns);
  if (entry == nullptr) return {absl::StatusCode::kUnauthenticated, kUnknownKey, 0};
  if ((entry->scopes & permit.scope) == 0) return Denied(kLacksScope);
  const int64_t wait_ns = entry->usage->TakeNanos(entry->limits, now_ns);
  if (wait_ns == 0) return {absl::StatusCode::kOk, "", 0, entry->name};
  return {absl::StatusCode::kResourceExhausted, "the API key is over its rate or quota", wait_ns};
}

Verdict Gate::Check(Scope scope, const Shown& shown, int64_t now_ns) {
  Permit permit;
  const Verdict verdict = Admit(scope, shown, now_ns, &permit);
  return verdict.ok() ? Use(permit, now_ns) : verdict;
}

std::string_view BearerKey(std::string_view authorization) {
  constexpr std::string_view kBearer = "bearer ";
  if (authorization.size() <= kBearer.size() ||
      strncasecmp(authorization.data(), kBearer.data(), kBearer.size()) != 0) {
    return {};
  }
  authorization.remove_prefix(kBearer.size());
  while (authorization.starts_with(' ')) authorization.remove_prefix(1);
  return authorization;
}

Reach ReachOf(int listening_fd) {
  sockaddr_storage own = {};
  socklen_t size = sizeof own;
  if (getsockname(listening_fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) {
    return Reach::kNetwork;
  }
  if (own.ss_family == AF_UNIX) return Reach::kUnixSocket;
  bool loopback = false;
  if (own.ss_family == AF_INET) {
    const auto* ip = reinterpret_cast<const sockaddr_in*>(&own);
    loopback = ntohl(ip->sin_addr.s_addr) >> 24 == 127;
  } else if (own.ss_family == AF_INET6) {
    const in6_addr& ip = reinterpret_cast<const sockaddr_in6*>(&own)->sin6_addr;
    loopback = IN6_IS_ADDR_LOOPBACK(&ip) || (IN6_IS_ADDR_V4MAPPED(&ip) && ip.s6_addr[12] == 127);
  }
  return loopback ? Reach::kThisMachine : Reach::kNetwork;
}

}  // namespace millrace
