// A manifest as anybody might write it: it is read or refused, and what is read can be signed and
// is trusted then.
#include <stddef.h>
#include <stdint.h>

#include "common/check.h"
#include "services/registry/manifest/manifest.h"
#include "services/registry/manifest/signing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using millrace::CheckTrust;
  using millrace::ReadManifest;
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  static const millrace::SigningKey key = millrace::MakeSigningKey();
  const millrace::TrustPolicy policy = {{key.public_key}, false, false};
  const millrace::ManifestResult read = ReadManifest(text);
  MR_CHECK(read.faults.size() <= 400, "faults are told up to a limit");
  if (!read.faults.empty()) return 0;
  // Whoever signed it, it was not this key.
  MR_CHECK(!CheckTrust(text, read.manifest, policy, 0).empty(), "nobody else's text is trusted");
  const auto signed_text =
      millrace::SignManifest(text, key, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
  if (!signed_text.ok()) return 0;  // it has grown over the limit, or holds a block in its midst
  const millrace::ManifestResult again = ReadManifest(*signed_text);
  MR_CHECK(again.faults.empty() && CheckTrust(*signed_text, again.manifest, policy, 0).empty(),
           "what was signed is trusted");
  return 0;
}
