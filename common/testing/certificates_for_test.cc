#include "common/testing/certificates_for_test.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "common/check.h"

namespace millrace {
namespace {

void AddExtension(X509* certificate, int kind, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
  MR_CHECK(extension != nullptr, "a well-formed extension");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by `signer`, whose name is `issuer`'s; null: by itself.
X509* Make(const std::string& name, EVP_PKEY* key, EVP_PKEY* signer, X509* issuer) {
  static std::atomic<int> next_serial = 1;
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), next_serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, issuer == nullptr ? subject : X509_get_subject_name(issuer));
  AddExtension(certificate, NID_basic_constraints,
               issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  AddExtension(certificate, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  MR_CHECK(X509_sign(certificate, signer, EVP_sha256()) > 0, "a key signs");
  return certificate;
}

template <typename Write>
std::string Pem(Write write) {
  BIO* memory = BIO_new(BIO_s_mem());
  MR_CHECK(write(memory) == 1, "PEM fits in memory");
  char* text = nullptr;
  const long bytes = BIO_get_mem_data(memory, &text);  // NOLINT: OpenSSL's type
  std::string pem(text, static_cast<size_t>(bytes));
  BIO_free(memory);
  return pem;
}

std::string CertificatePem(X509* certificate) {
  return Pem([&](BIO* memory) { return PEM_write_bio_X509(memory, certificate); });
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name)
    : key_(EVP_EC_gen("P-256")), certificate_(Make(name, key_, key_, nullptr)) {}

TestAuthority::~TestAuthority() {
  X509_free(certificate_);
  EVP_PKEY_free(key_);
}

TestIdentity TestAuthority::Issue(const std::string& name) const {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = Make(name, key, key_, certificate_);
  TestIdentity identity = {CertificatePem(certificate), Pem([&](BIO* memory) {
                             return PEM_write_bio_PrivateKey(memory, key, nullptr, nullptr, 0,
                                                             nullptr, nullptr);
                           })};
  X509_free(certificate);
  EVP_PKEY_free(key);
  return identity;
}

std::string TestAuthority::certificate() const { return CertificatePem(certificate_); }

std::string WriteTestFile(const std::string& name, const std::string& text) {
  const char* folder = getenv("TEST_TMPDIR");
  const std::string path = std::string(folder != nullptr ? folder : ".") + "/" + name;
  // As a rotation is done: no reader sees half a file.
  std::ofstream(path + ".new") << text;
  MR_CHECK(rename((path + ".new").c_str(), path.c_str()) == 0, "the test's folder is writable");
  return path;
}

}  // namespace millrace
