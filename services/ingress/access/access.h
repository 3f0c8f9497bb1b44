// Who may do what: the one check behind every route of both protocols.
//
// Purpose: Keys is the process's key file, read again when it changes; Gate is a lane's view of it,
//   and its Check is the only place where a request is let in or refused.
// Who may call: Keys any thread; a Gate only its lane's.
// Ownership: a Gate shares the Keys.
// Invariants:
//   1. What is not allowed by a rule below is refused.
//   2. Without a key file everything is open on Unix sockets and loopback addresses: whoever gets
//      there is on this machine. On any other address scope admin is refused, and the other scopes
//      too unless `allow_anonymous`. What counts is where the lane listens, so that a proxy beside
//      an open listener does not make the whole network local.
//   3. With a key file a route with a scope needs a key with that scope, on every listener, or a
//      client's certificate that an entry names. A key that is shown and unknown is
//      UNAUTHENTICATED, whatever the certificate.
//   4. A request of a key counts against its rate and quota once; routes without a scope do not.
//   5. The file is looked at once a second at most, by whoever checks. One that cannot be read
//      leaves the keys as they were, is logged and counted.
//   6. A check allocates nothing and takes no lock, but in the one a second that looks and in the
//      one that follows a change.
// What fails: Keys::Open, for a file that is not valid at the start.
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/ingress/access/key_table.h"

namespace millrace {

class Keys {
 public:
  // An empty path: no key file.
  static absl::StatusOr<std::shared_ptr<Keys>> Open(const std::string& path,
                                                    bool allow_anonymous = false);

  bool required() const { return !path_.empty(); }
  bool allow_anonymous() const { return allow_anonymous_; }
  // Files that were refused after the first.
  uint64_t faults() const;

 private:
  friend class Gate;
  Keys(std::string path, bool allow_anonymous)
      : path_(std::move(path)), allow_anonymous_(allow_anonymous) {}

  void LookAtMostOnceASecond(int64_t now_ns);
  absl::Status Read();
  uint64_t version() const;
  std::shared_ptr<const KeyTable> table() const;

  const std::string path_;
  const bool allow_anonymous_;
  std::atomic<int64_t> next_look_ns_{0};
  std::atomic<uint64_t> version_{0};
  std::atomic<uint64_t> faults_{0};
  mutable std::mutex mutex_;  // guards the two below
  std::shared_ptr<const KeyTable> table_;
  struct stat seen_ = {};  // of the file that was read last
};

// From where a listening socket can be reached.
enum class Reach { kUnixSocket, kThisMachine, kNetwork };

// A socket that cannot be asked is the network's.
Reach ReachOf(int listening_fd);

struct Verdict {
  absl::StatusCode code = absl::StatusCode::kOk;
  const char* sentence = "";
  int64_t retry_after_ns = 0;  // of RESOURCE_EXHAUSTED
  // Of an OK verdict by a key: whose it is, until the gate is asked again.
  std::string_view owner = {};

  bool ok() const { return code == absl::StatusCode::kOk; }
  absl::Status status() const { return absl::Status(code, sentence); }
};

// What a client showed; a key comes first. Empty: none.
struct Shown {
  Shown() = default;
  Shown(const char* api_key) : key(api_key) {}       // NOLINT: a key alone
  Shown(std::string_view api_key) : key(api_key) {}  // NOLINT: a key alone
  Shown(std::string_view api_key, std::string_view common_name)
      : key(api_key), certificate(common_name) {}

  std::string_view key;
  std::string_view certificate;  // its subject's common name, after TLS has verified it
};

// Who was let in, for a stream whose requests are asked one by one.
struct Permit {
  Scope scope = kScopeNone;
  bool keyed = false;
  KeyDigest digest{};
};

class Gate {
 public:
  // Null keys: no key file.
  Gate(std::shared_ptr<Keys> keys, Reach reach);
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // Whether a key matters to the verdict; where it does not, nobody need look for one.
  bool AsksForKey(Scope scope) const;

  // One request.
  Verdict Check(Scope scope, const Shown& shown, int64_t now_ns);

  // The two halves of Check. Admit counts nothing. Use asks again, so that a key that was taken
  // away, or lost the scope, ends what was admitted by it.
  Verdict Admit(Scope scope, const Shown& shown, int64_t now_ns, Permit* permit);
  Verdict Use(const Permit& permit, int64_t now_ns);

 private:
  Verdict CheckAnonymous(Scope scope) const;
  const KeyEntry* Find(const KeyDigest& digest, int64_t now_ns);

  const std::shared_ptr<Keys> keys_;
  const Reach reach_;
  std::shared_ptr<const KeyTable> table_;
  uint64_t version_ = 0;
};

// The key in the value of an Authorization field ("Bearer KEY"); empty: there is none.
std::string_view BearerKey(std::string_view authorization);

}  // namespace millrace
