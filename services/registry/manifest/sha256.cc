#include "services/registry/manifest/sha256.h"

#include "services/registry/manifest/hex.h"

namespace millrace {

Sha256::Sha256() { crypto_hash_sha256_init(&state_); }

void Sha256::Update(const void* bytes, size_t size) {
  crypto_hash_sha256_update(&state_, static_cast<const unsigned char*>(bytes), size);
}

std::string Sha256::Finish() {
  unsigned char hash[crypto_hash_sha256_BYTES];
  crypto_hash_sha256_final(&state_, hash);
  return ToHex({reinterpret_cast<const char*>(hash), sizeof hash});
}

std::string Sha256Of(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes.data(), bytes.size());
  return hash.Finish();
}

}  // namespace millrace
