// What a server says of itself over TLS: certificate, key and the clients' authority, from files.
//
// Purpose: one place that turns PEM files into an OpenSSL context and follows their changes, so
//   that certificates are rotated without a restart.
// Who may call: one thread, the lane's.
// Ownership: owns the current context; a connection that was made of it keeps what it needs.
// Invariants:
//   1. current() is always whole: certificate and key belong together. A change that cannot be
//      used (half written, not PEM) keeps the former; it is logged, counted and tried again when a
//      file changes again.
//   2. Files are looked at once in kLookNanos at most.
//   3. TLS 1.2 and up, no renegotiation, no resumption: each connection's certificates are checked
//      against the files of its time. No key with a passphrase (nobody is there to be asked).
// What fails: Load, with a sentence that names the file.
#pragma once

#include <stdint.h>

#include <array>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "services/ingress/http/tls_paths.h"

namespace millrace {

class TlsFiles {
 public:
  static constexpr int64_t kLookNanos = 1'000'000'000;

  // `paths.on()`.
  static absl::StatusOr<std::unique_ptr<TlsFiles>> Load(const TlsPaths& paths, int64_t now_ns);

  // Reads the files again where they have changed.
  void Look(int64_t now_ns);

  boost::asio::ssl::context& current() { return *context_; }
  uint64_t rotations() const { return rotations_; }
  uint64_t faults() const { return faults_; }  // changes that could not be used

 private:
  // Of one file, what differs after a change; all zero where there is none.
  struct Mark {
    uint64_t inode = 0;
    int64_t bytes = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    bool operator==(const Mark&) const = default;
  };
  using Marks = std::array<Mark, 3>;

  TlsFiles(const TlsPaths& paths, int64_t now_ns);
  Marks ReadMarks() const;

  const TlsPaths paths_;
  Marks marks_;
  int64_t next_look_ns_;
  std::unique_ptr<boost::asio::ssl::context> context_;
  uint64_t rotations_ = 0;
  uint64_t faults_ = 0;
};

}  // namespace millrace
