// The digest functions that allocate nothing are of OpenSSL 1.1's interface.
#define OPENSSL_API_COMPAT 0x10101000L

#include "services/ingress/access/key_table.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/numbers.h"
#include "common/check.h"
#include "common/config_yaml.h"

namespace millrace {
namespace {

constexpr int64_t kMostRate = 1'000'000;
constexpr int64_t kMostQuota = 1'000'000'000;
constexpr int64_t kMostPeriod = 366 * 86'400;
constexpr size_t kMostKeys = 10'000;

int Hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool ReadDigest(std::string_view text, KeyDigest* digest) {
  if (text.size() != 2 * digest->size()) return false;
  for (size_t i = 0; i < digest->size(); ++i) {
    const int high = Hex(text[2 * i]), low = Hex(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    (*digest)[i] = static_cast<unsigned char>(high << 4 | low);
  }
  return true;
}

uint8_t ScopeOf(std::string_view name) {
  if (name == "infer") return kScopeInfer;
  if (name == "admin") return kScopeAdmin;
  if (name == "metrics") return kScopeMetrics;
  return kScopeNone;
}

class Reader {
 public:
  Reader(const KeyTable* before, std::vector<ConfigFault>* faults) : faults_(faults) {
    if (before == nullptr) return;
    for (const KeyEntry& entry : before->entries()) usage_before_[entry.name] = entry.usage;
  }

  void Add(const YAML::Node& node) {
    KeyEntry entry;
    digests_ = 0;
    const bool map = YamlMap(node, "keys", faults_,
                             [&](const std::string& key, const YAML::Node& at,
                                 const YAML::Node& value) { Field(key, at, value, &entry); });
    if (!map) return;
    if (entry.name.empty()) AddFault(node, "keys.name", "is missing", faults_);
    if (digests_ == 0) AddFault(node, "keys.sha256", "is missing", faults_);
    if (digests_ > 1) AddFault(node, "keys.certificate", "stands beside sha256", faults_);
    if (entry.scopes == 0) AddFault(node, "keys.scopes", "is missing", faults_);
    Once(node, "keys.name", entry.name);
    Once(node, "keys.sha256", std::string(entry.digest.begin(), entry.digest.end()));
    entry.usage = UsageOf(entry.name);
    entries_.push_back(std::move(entry));
  }

  std::vector<KeyEntry>& entries() { return entries_; }

 private:
  void Field(const std::string& key, const YAML::Node& at, const YAML::Node& value,
             KeyEntry* entry) {
    const std::string field = "keys." + key;
    if (key == "scopes") return Scopes(at, value, entry);
    if (!value.IsScalar()) return AddFault(at, field, "must be one value", faults_);
    const std::string& text = value.Scalar();
    if (key == "name") {
      entry->name = text;
    } else if (key == "sha256") {
      ++digests_;
      if (!ReadDigest(text, &entry->digest)) {
        AddFault(at, field, "must be 64 lower-case hex digits", faults_);
      }
    } else if (key == "certificate") {
      ++digests_;
      if (text.empty()) AddFault(at, field, "must be the common name of a subject", faults_);
      entry->digest = CertificateDigest(text);
    } else if (key == "rate_per_s") {
      Number(at, field, text, kMostRate, &entry->limits.rate_per_s);
    } else if (key == "burst") {
      Number(at, field, text, kMostRate, &entry->limits.burst);
    } else if (key == "quota") {
      Number(at, field, text, kMostQuota, &entry->limits.quota);
    } else if (key == "period_s") {
      Number(at, field, text, kMostPeriod, &entry->limits.period_s);
    } else {
      AddFault(at, field, "is not a field of a key", faults_);
    }
  }

  void Number(const YAML::Node& at, const std::string& field, const std::string& text, int64_t most,
              int64_t* out) {
    int64_t number = 0;
    if (absl::SimpleAtoi(text, &number) && number >= 1 && number <= most) {
      *out = number;
      return;
    }
    AddFault(at, field, "must be a number from 1 to " + std::to_string(most), faults_);
  }

  void Scopes(const YAML::Node& at, const YAML::Node& value, KeyEntry* entry) {
    if (!value.IsSequence()) {
      return AddFault(at, "keys.scopes", "must be a list of infer, admin, metrics", faults_);
    }
    for (const YAML::Node& scope : value) {
      const uint8_t bit = scope.IsScalar() ? ScopeOf(scope.Scalar()) : 0;
      if (bit == 0) AddFault(at, "keys.scopes", "may hold infer, admin and metrics", faults_);
      entry->scopes |= bit;
    }
  }

  void Once(const YAML::Node& at, const std::string& field, const std::string& value) {
    if (!seen_.insert(field + '=' + value).second) {
      AddFault(at, field, "stands in two entries", faults_);
    }
  }

  std::shared_ptr<Usage> UsageOf(const std::string& name) const {
    const auto at = usage_before_.find(name);
    return at != usage_before_.end() ? at->second : std::make_shared<Usage>();
  }

  std::map<std::string, std::shared_ptr<Usage>> usage_before_;
  std::vector<ConfigFault>* const faults_;
  int digests_ = 0;  // of the entry that is being read
  std::set<std::string> seen_;
  std::vector<KeyEntry> entries_;
};

}  // namespace

KeyDigest CertificateDigest(std::string_view common_name) {
  unsigned char all[SHA384_DIGEST_LENGTH];
  SHA512_CTX context;
  MR_CHECK(SHA384_Init(&context) == 1 &&
               SHA384_Update(&context, common_name.data(), common_name.size()) == 1 &&
               SHA384_Final(all, &context) == 1,
           "SHA-384 of bytes in memory does not fail");
  KeyDigest digest;
  std::copy_n(all, digest.size(), digest.begin());
  return digest;
}

KeyTable::KeyTable(std::vector<KeyEntry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [](const KeyEntry& a, const KeyEntry& b) { return a.digest < b.digest; });
}

const KeyEntry* KeyTable::FindKey(const KeyDigest& digest) const {
  const auto at =
      std::partition_point(entries_.begin(), entries_.end(),
                           [&](const KeyEntry& entry) { return entry.digest < digest; });
  if (at == entries_.end()) return nullptr;
  const bool same = CRYPTO_memcmp(at->digest.data(), digest.data(), digest.size()) == 0;
  return same ? &*at : nullptr;
}

std::shared_ptr<const KeyTable> ParseKeyTable(std::string_view yaml, const KeyTable* before,
                                              std::vector<ConfigFault>* faults) {
  const size_t faults_before = faults->size();
  const std::optional<YAML::Node> root = LoadYaml(yaml, faults);
  if (!root.has_value()) return nullptr;
  Reader reader(before, faults);
  bool found = false;
  YamlMap(*root, "", faults,
          [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
            if (key != "keys") return AddFault(at, key, "is not a field of a key file", faults);
            found = true;
            if (!value.IsSequence() || value.size() > kMostKeys) {
              return AddFault(at, "keys", "must be a list of at most 10000 entries", faults);
            }
            for (const YAML::Node& entry : value) reader.Add(entry);
          });
  if (!found) AddFault(*root, "keys", "is missing", faults);
  if (faults->size() != faults_before) return nullptr;
  return std::make_shared<const KeyTable>(std::move(reader.entries()));
}

}  // namespace millrace
