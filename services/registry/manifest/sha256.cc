#include "services/registry/manifest/sha256.h"

#include "common/check.h"
#include "services/registry/manifest/hex.h"

namespace millrace {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  MR_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
           "OpenSSL has SHA-256");
}

void Sha256::Update(const void* bytes, size_t size) {
  MR_CHECK(EVP_DigestUpdate(context_.get(), bytes, size) == 1, "a hash takes all bytes");
}

std::string Sha256::Finish() {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  MR_CHECK(EVP_DigestFinal_ex(context_.get(), hash, &size) == 1, "a hash is finished once");
  return ToHex({reinterpret_cast<const char*>(hash), size});
}

std::string Sha256Of(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes.data(), bytes.size());
  return hash.Finish();
}

}  // namespace millrace
