#include "tools/millrace/api_key.h"

#include <openssl/sha.h>
#include <sys/random.h>

#include <algorithm>
#include <set>

#include "common/check.h"

namespace millrace {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kMaxName = 64;

std::string Hex(const unsigned char* bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text.push_back("0123456789abcdef"[bytes[i] >> 4]);
    text.push_back("0123456789abcdef"[bytes[i] & 15]);
  }
  return text;
}

// What YAML takes as it stands, and a log can show.
bool IsName(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !name.empty() && name.size() <= kMaxName && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
         });
}

}  // namespace

std::string NewApiKey() {
  unsigned char bytes[kKeyBytes];
  MR_CHECK(getrandom(bytes, sizeof bytes, 0) == sizeof bytes,
           "the kernel gives up to 256 random bytes at once");
  return "mr_" + Hex(bytes, sizeof bytes);
}

absl::StatusOr<std::string> ApiKeyEntry(std::string_view name, std::string_view scopes,
                                        std::string_view key) {
  if (!IsName(name)) {
    return absl::InvalidArgumentError(
        "the name: must be up to 64 letters, digits, _, - and ., a letter first");
  }
  std::string list;
  std::set<std::string_view> seen;
  for (bool more = true; more;) {
    const size_t comma = scopes.find(',');
    const std::string_view scope = scopes.substr(0, comma);
    if (scope != "infer" && scope != "admin" && scope != "metrics") {
      return absl::InvalidArgumentError(
          "--scopes: must be of infer, admin and metrics, with commas between them");
    }
    if (seen.insert(scope).second) list += (list.empty() ? "" : ", ") + std::string(scope);
    more = comma != std::string_view::npos;
    if (more) scopes.remove_prefix(comma + 1);
  }
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest);
  return "- name: " + std::string(name) + "\n  sha256: " + Hex(digest, sizeof digest) +
         "\n  scopes: [" + list + "]\n";
}

}  // namespace millrace
