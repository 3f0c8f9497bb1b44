#include "services/registry/manifest/signing.h"

#include <sodium.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "services/registry/manifest/hex.h"
#include "services/registry/manifest/utc.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr std::string_view kLastLine = "  ed25519: ";
constexpr std::string_view kBlock = "\nsigned:";
constexpr std::string_view kSecret = "millrace-ed25519-secret:";

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string Message(std::string_view before_last_line) {
  return std::string(kSignedDomain) + std::string(before_last_line);
}

// "": the signature is that key's.
std::string SignatureFault(std::string_view file, const ManifestSignature& signature) {
  const std::string last = std::string(kLastLine) + signature.ed25519 + "\n";
  const bool is_last = file.size() > last.size() &&
                       file.substr(file.size() - last.size()) == last &&
                       file[file.size() - last.size() - 1] == '\n';
  if (!is_last) return "must be the last line of the file, as `millrace model sign` writes it";
  const auto key = FromHex(signature.key), bytes = FromHex(signature.ed25519);
  if (!key.has_value() || !bytes.has_value() || key->size() != crypto_sign_PUBLICKEYBYTES ||
      bytes->size() != crypto_sign_BYTES) {
    return "is malformed";
  }
  const std::string message = Message(file.substr(0, file.size() - last.size()));
  const bool good =
      crypto_sign_verify_detached(Bytes(*bytes), Bytes(message), message.size(), Bytes(*key)) == 0;
  return good ? "" : "does not fit the file: it was changed after it was signed";
}

}  // namespace

std::vector<ConfigFault> CheckTrust(std::string_view file, const Manifest& manifest,
                                    const TrustPolicy& policy, int64_t now_s) {
  std::vector<ConfigFault> faults;
  if (policy.strict && !manifest.lineage.has_value()) {
    faults.push_back({0, "lineage", "is missing, and registry.strict asks for it"});
  }
  if (policy.strict && manifest.policy.empty()) {
    faults.push_back({0, "policy", "is missing, and registry.strict asks for it"});
  }
  if (!manifest.signature_block.has_value()) {
    if (!policy.allow_unsigned) {
      faults.push_back({0, "signed", "is missing, and registry.allow_unsigned is false"});
    }
    return faults;
  }
  if (policy.trusted_keys.empty() && policy.allow_unsigned) return faults;
  const ManifestSignature& signature = *manifest.signature_block;
  const int line = signature.line;
  if (std::find(policy.trusted_keys.begin(), policy.trusted_keys.end(), signature.key) ==
      policy.trusted_keys.end()) {
    faults.push_back({line, "signed.key", "is none of registry.trusted_keys"});
    return faults;
  }
  if (const std::string fault = SignatureFault(file, signature); !fault.empty()) {
    faults.push_back({line, "signed.ed25519", fault});
    return faults;
  }
  const std::optional<int64_t> until = ParseUtc(signature.until);
  if (until.has_value() && *until < now_s) {
    faults.push_back({line, "signed.until", "is over: the signature has expired"});
  }
  return faults;
}

SigningKey MakeSigningKey() {
  MR_CHECK(sodium_init() >= 0, "libsodium has a source of random bytes");
  SigningKey key;
  key.seed.resize(crypto_sign_SEEDBYTES);
  randombytes_buf(key.seed.data(), key.seed.size());
  return *ParseSigningKey(FormatSigningKey(key));
}

std::string FormatSigningKey(const SigningKey& key) {
  return std::string(kSecret) + ToHex(key.seed) + "\n";
}

absl::StatusOr<SigningKey> ParseSigningKey(std::string_view text) {
  if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  SigningKey key;
  const bool named = text.substr(0, kSecret.size()) == kSecret;
  if (named) key.seed = FromHex(text.substr(kSecret.size())).value_or("");
  if (key.seed.size() != crypto_sign_SEEDBYTES) {
    return absl::InvalidArgumentError("is not a key of `millrace model keygen`");
  }
  unsigned char secret[crypto_sign_SECRETKEYBYTES];
  unsigned char known[crypto_sign_PUBLICKEYBYTES];
  crypto_sign_seed_keypair(known, secret, Bytes(key.seed));
  sodium_memzero(secret, sizeof secret);
  key.public_key = ToHex({reinterpret_cast<const char*>(known), sizeof known});
  return key;
}

absl::StatusOr<std::string> SignManifest(std::string_view file, const SigningKey& key,
                                         const std::string& at, const std::string& until) {
  const ManifestResult before = ReadManifest(file);
  std::string text(file);
  if (before.manifest.signature_block.has_value()) {
    const size_t block = text.rfind(kBlock);
    if (block == std::string::npos) {
      return absl::InvalidArgumentError("signed: its block cannot be found; take it out by hand");
    }
    text.resize(block);
  } else if (absl::EndsWith(text, ToAbsl(kManifestEnd))) {
    text.resize(text.size() - kManifestEnd.size());
  }
  if (text.empty() || text.back() != '\n') text += '\n';
  absl::StrAppend(&text, "signed:\n  key: ", key.public_key, "\n  at: ", at, "\n");
  if (!until.empty()) absl::StrAppend(&text, "  until: ", until, "\n");
  unsigned char known[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
  unsigned char signature[crypto_sign_BYTES];
  crypto_sign_seed_keypair(known, secret, Bytes(key.seed));
  const std::string message = Message(text);
  crypto_sign_detached(signature, nullptr, Bytes(message), message.size(), secret);
  sodium_memzero(secret, sizeof secret);
  absl::StrAppend(&text, ToAbsl(kLastLine),
                  ToHex({reinterpret_cast<const char*>(signature), sizeof signature}), "\n");
  const ManifestResult after = ReadManifest(text);
  if (!after.faults.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("signed: ", after.faults[0].field, ": ", after.faults[0].message));
  }
  return text;
}

}  // namespace millrace
