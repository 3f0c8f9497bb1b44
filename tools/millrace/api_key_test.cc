#include "tools/millrace/api_key.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace {
namespace {

TEST(ApiKey, IsLongAndNeverTheSame) {
  std::set<std::string> keys;
  for (int i = 0; i < 1000; ++i) {
    const std::string key = NewApiKey();
    EXPECT_EQ(key.size(), 3u + 64u);
    EXPECT_EQ(key.substr(0, 3), "mr_");
    EXPECT_EQ(key.find_first_not_of("0123456789abcdef", 3), std::string::npos);
    EXPECT_TRUE(keys.insert(key).second);
  }
}

TEST(ApiKey, TheEntryHoldsTheDigestAndNotTheKey) {
  // SHA-256 of "abc", from FIPS 180-2.
  EXPECT_EQ(*ApiKeyEntry("a.b-c_1", "infer,admin,infer", "abc"),
            "- name: a.b-c_1\n"
            "  sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"
            "  scopes: [infer, admin]\n");
}

TEST(ApiKey, WhatAKeyFileWouldNotTakeIsRefused) {
  for (const char* name : {"", "1", "a b", "a:b", "-a", "a\n", "a#"}) {
    EXPECT_FALSE(ApiKeyEntry(name, "infer", "k").ok()) << name;
  }
  EXPECT_FALSE(ApiKeyEntry(std::string(65, 'a'), "infer", "k").ok());
  for (const char* scopes : {"", ",", "infer,", "root", "infer admin", "Infer"}) {
    EXPECT_FALSE(ApiKeyEntry("a", scopes, "k").ok()) << scopes;
  }
}

}  // namespace
}  // namespace millrace
