// SHA-256, as it goes over the bytes of a file.
//
// Purpose: files are hashed while they are copied to where nobody can change them (sealed_file.h).
// Who may call: one thread an object. Nothing fails.
// Invariants: Finish is called once, at the end.
#pragma once

#include <sodium/crypto_hash_sha256.h>
#include <stddef.h>

#include <string>
#include <string_view>

namespace millrace {

class Sha256 {
 public:
  Sha256();
  void Update(const void* bytes, size_t size);
  // 64 lower-case hexadecimal digits.
  std::string Finish();

 private:
  crypto_hash_sha256_state state_;
};

std::string Sha256Of(std::string_view bytes);

}  // namespace millrace
