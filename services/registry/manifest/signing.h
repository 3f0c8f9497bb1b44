// Ed25519 over a manifest.
//
// Purpose: who released a version, so that a file that somebody else put there is not served.
// Who may call: any thread; nothing is kept.
// What is signed (the canonical bytes): kSignedDomain, then every byte of the file before its last
//   line. The last line is exactly "  ed25519: " and 128 lower-case hexadecimal digits and "\n".
//   So nothing is re-written before it is signed or checked, and key, time and end of the signature
//   are signed themselves. The manifest holds the SHA-256 of the files, which covers these.
// Invariants: 1. CheckTrust reads no file and no clock. 2. A signature is looked at only where the
//   reader's (manifest.h) and the last line are the same digits.
// What fails: see each function; a sentence names the field.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/config.h"
#include "services/registry/manifest/manifest.h"

namespace millrace {

inline constexpr std::string_view kSignedDomain = "millrace manifest signature 1\n";

struct TrustPolicy {
  std::vector<std::string> trusted_keys;  // 64 hexadecimal digits each
  bool allow_unsigned = true;
  bool strict = false;  // lineage and policy must be there
};

// What is wrong with the signature, or the want of one, at that time. A signature by a key that is
// not trusted is a fault; where no key is and unsigned files are taken, a signature is not looked
// at.
std::vector<ConfigFault> CheckTrust(std::string_view file, const Manifest& manifest,
                                    const TrustPolicy& policy, int64_t now_s);

struct SigningKey {
  std::string seed;        // 32 bytes, secret
  std::string public_key;  // 64 hexadecimal digits
};

SigningKey MakeSigningKey();
// The text of a key's file, and back.
std::string FormatSigningKey(const SigningKey& key);
absl::StatusOr<SigningKey> ParseSigningKey(std::string_view text);

// The file with a signature block in place of the one it had. `until` may be empty.
absl::StatusOr<std::string> SignManifest(std::string_view file, const SigningKey& key,
                                         const std::string& at, const std::string& until);

}  // namespace millrace
