// The keys of a key file: who they belong to, what they may, how much.
//
// Purpose: text to an immutable table, and a presented key to its entry.
// Who may call: any thread; a table never changes (what an entry has used does).
// Invariants:
//   1. Keys are not kept: only SHA-256 of each. Keys are 256 random bits, so there is nothing to
//      guess that a slow hash would protect; `millrace key new` makes no others.
//   2. The comparison that decides takes the same time for every digest. How the search gets near
//      the entry depends on the digest, from which nobody can tell, or approach, the key.
//   3. A name and a digest stand in one entry each.
//   4. Find allocates nothing.
//   5. A client's certificate, by its subject's common name, has a digest of its own kind (SHA-384,
//      cut), so that no key can be made that passes for a certificate.
// What fails: ParseKeyTable, with every fault of the file.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"
#include "services/ingress/access/scope.h"
#include "services/ingress/access/usage.h"

namespace millrace {

using KeyDigest = std::array<unsigned char, 32>;

struct KeyEntry {
  std::string name;
  KeyDigest digest{};
  uint8_t scopes = 0;
  UsageLimits limits;
  std::shared_ptr<Usage> usage;
};

// What an entry `certificate: NAME` is found by.
KeyDigest CertificateDigest(std::string_view common_name);

class KeyTable {
 public:
  explicit KeyTable(std::vector<KeyEntry> entries);

  // Null where nobody has it.
  const KeyEntry* FindKey(const KeyDigest& digest) const;

  const std::vector<KeyEntry>& entries() const { return entries_; }

 private:
  std::vector<KeyEntry> entries_;  // by digest
};

// `before`: the table that this one follows; an entry of the same name goes on with its usage.
// Null: see `faults`.
std::shared_ptr<const KeyTable> ParseKeyTable(std::string_view yaml, const KeyTable* before,
                                              std::vector<ConfigFault>* faults);

}  // namespace millrace
