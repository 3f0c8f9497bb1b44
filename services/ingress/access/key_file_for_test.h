// A key file of one test.
//
// Purpose: keys by name, so that tests of both protocols show the same ones. Who may call: tests.
#pragma once

#include <openssl/sha.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "common/check.h"
#include "services/ingress/access/access.h"

namespace millrace {

// "- {name: NAME, sha256: ..., REST}", a line of a key file.
inline std::string KeyLine(std::string_view name, std::string_view key, std::string_view rest) {
  unsigned char digest[32];
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest);
  std::string hex;
  for (unsigned char byte : digest) {
    hex.push_back("0123456789abcdef"[byte >> 4]);
    hex.push_back("0123456789abcdef"[byte & 15]);
  }
  return "- {name: " + std::string(name) + ", sha256: " + hex + ", " + std::string(rest) + "}\n";
}

// Keys that are called as their scope, a certificate that may infer ("press"), one that may do all
// ("all"), and one that may do all, once in a while ("once").
inline std::shared_ptr<Keys> KeysForTest() {
  std::string text = "keys:\n";
  for (const char* scope : {"infer", "admin", "metrics"}) {
    text += KeyLine(scope, scope, "scopes: [" + std::string(scope) + "]");
  }
  text += KeyLine("all", "all", "scopes: [infer, admin, metrics]");
  text += "- {name: press, certificate: press, scopes: [infer]}\n";
  text += KeyLine("once", "once", "scopes: [infer, admin, metrics], quota: 1, period_s: 31000000");
  char path[] = "/tmp/millrace_keys_XXXXXX";
  close(mkstemp(path));
  std::ofstream(path) << text;
  auto keys = Keys::Open(path);
  MR_CHECK(keys.ok(), "the test's key file is good");
  // A file that is gone is a fault that leaves the keys as they are.
  unlink(path);
  return *keys;
}

}  // namespace millrace
