// Certificates for tests of TLS, made on the spot.
//
// Purpose: an authority and what it signs, valid for a day, so that no file in the tree runs out.
// Who may call: tests, any thread. Invariants: 1. each carries its name as the subject's CN, and
//   `localhost` and 127.0.0.1 as alternative names. What fails: nothing; a fault ends the test.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace millrace {

// PEM texts.
struct TestIdentity {
  std::string certificate;
  std::string key;
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  TestIdentity Issue(const std::string& name) const;
  std::string certificate() const;  // its own

 private:
  EVP_PKEY* key_;
  X509* certificate_;
};

// In the test's folder, under a name of its own; returns the path.
std::string WriteTestFile(const std::string& name, const std::string& text);

}  // namespace millrace
