#include "services/registry/manifest/signing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/registry/manifest/sha256.h"
#include "services/registry/manifest/testing/sample.h"
#include "services/registry/manifest/utc.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kAt[] = "2026-11-20T10:00:00Z", kUntil[] = "2026-12-20T10:00:00Z";

class SigningTest : public ::testing::Test {
 protected:
  std::vector<std::string> Faults(const std::string& file) const {
    return FormatFaults("m.yaml", CheckTrust(file, ReadManifest(file).manifest, policy_, now_s_));
  }
  std::string Signed(const std::string& file) const {
    return *SignManifest(file, key_, kAt, kUntil);
  }

  const SigningKey key_ = *ParseSigningKey("millrace-ed25519-secret:" + std::string(64, '7'));
  TrustPolicy policy_ = {{key_.public_key}, /*allow_unsigned=*/false, /*strict=*/true};
  int64_t now_s_ = *ParseUtc("2026-11-25T00:00:00Z");
};

// The test vector of RFC 8032, 7.1, test 1: the same key from the same seed.
TEST(SigningKey, IsTheStandardsEd25519) {
  const auto key = ParseSigningKey(
      "millrace-ed25519-secret:"
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n");
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(key->public_key, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_EQ(ParseSigningKey(FormatSigningKey(*key))->public_key, key->public_key);
}

TEST(SigningKey, OtherFilesAreNone) {
  for (const char* text : {"", "millrace-ed25519-secret:", "9d61", "millrace-ed25519-secret:zz"}) {
    EXPECT_FALSE(ParseSigningKey(text).ok()) << text;
  }
  EXPECT_NE(MakeSigningKey().public_key, MakeSigningKey().public_key);
}

TEST(Sha256, IsTheStandards) {
  EXPECT_EQ(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(SigningTest, ASignedManifestIsTrusted) {
  const std::string file = Signed(SampleManifest());
  EXPECT_THAT(FormatFaults("m.yaml", ReadManifest(file).faults), IsEmpty());
  EXPECT_THAT(Faults(file), IsEmpty());
  EXPECT_EQ(ReadManifest(file).manifest.signature_block->until, kUntil);
}

TEST_F(SigningTest, TheSignedBytesAreTheDomainAndEverythingBeforeTheLastLine) {
  const std::string file = Signed(SampleManifest());
  EXPECT_EQ(file.rfind("\n  ed25519: "), file.size() - 12 - 128 - 1);
  const std::string before = SampleManifest().substr(0, SampleManifest().size() - 4);
  EXPECT_EQ(file.substr(0, before.size()), before);
}

// One bit of any byte: the reader or the signature finds it.
TEST_F(SigningTest, NoBitCanChange) {
  const std::string file = Signed(SampleManifest());
  for (size_t i = 0; i < file.size(); ++i) {
    std::string changed = file;
    changed[i] ^= 1 << (i % 7);
    const ManifestResult read = ReadManifest(changed);
    EXPECT_FALSE(read.faults.empty() && CheckTrust(changed, read.manifest, policy_, now_s_).empty())
        << i;
  }
}

TEST_F(SigningTest, NothingCanBeAddedOrTakenAway) {
  const std::string file = Signed(SampleManifest());
  for (const std::string& changed :
       {file + "\n", file + "# a comment\n", "# a comment\n" + file,
        file.substr(0, file.size() - 1), Replaced(file, "  ed25519: ", "  ed25519:  "),
        Replaced(file, "\nsigned:", "\n\nsigned:"),
        Replaced(file, "  until: " + std::string(kUntil) + "\n", "")}) {
    const ManifestResult read = ReadManifest(changed);
    EXPECT_FALSE(read.faults.empty() && CheckTrust(changed, read.manifest, policy_, now_s_).empty())
        << changed;
  }
}

TEST_F(SigningTest, TheDomainIsSigned) {
  // A signature over the same bytes without the domain must not do: made with another tool.
  const std::string file = Signed(SampleManifest());
  EXPECT_THAT(Faults(Replaced(file, "version: 3", "version: 4")),
              ElementsAre(HasSubstr("signed.ed25519: does not fit the file")));
}

TEST_F(SigningTest, AnExpiredOneIsRefused) {
  const std::string file = Signed(SampleManifest());
  now_s_ = *ParseUtc(kUntil);
  EXPECT_THAT(Faults(file), IsEmpty());
  ++now_s_;
  EXPECT_THAT(Faults(file), ElementsAre(HasSubstr("signed.until: is over")));
}

TEST_F(SigningTest, AnotherKeyIsRefused) {
  const std::string file = *SignManifest(SampleManifest(), MakeSigningKey(), kAt, "");
  EXPECT_THAT(Faults(file), ElementsAre(HasSubstr("signed.key: is none of registry.trusted_keys")));
  policy_.allow_unsigned = true;  // does not help a file that claims to be signed
  EXPECT_THAT(Faults(file), ElementsAre(HasSubstr("signed.key")));
  // Their key's name with our signature.
  const std::string ours = Signed(SampleManifest());
  const SigningKey other = MakeSigningKey();
  policy_.trusted_keys = {other.public_key};
  EXPECT_THAT(Faults(Replaced(ours, key_.public_key, other.public_key)),
              ElementsAre(HasSubstr("does not fit the file")));
}

TEST_F(SigningTest, WithoutTrustedKeysNothingIsTrusted) {
  const std::string file = Signed(SampleManifest());
  policy_.trusted_keys.clear();
  EXPECT_THAT(Faults(file), ElementsAre(HasSubstr("signed.key")));
  policy_.allow_unsigned = true;
  EXPECT_THAT(Faults(file), IsEmpty());
}

TEST_F(SigningTest, AnUnsignedOneIsTakenWhereThatIsAllowed) {
  EXPECT_THAT(Faults(SampleManifest()),
              ElementsAre("m.yaml: signed: is missing, and registry.allow_unsigned is false"));
  policy_.allow_unsigned = true;
  EXPECT_THAT(Faults(SampleManifest()), IsEmpty());
}

TEST_F(SigningTest, StrictModeAsksForLineageAndPolicy) {
  const size_t lineage = SampleManifest().find("lineage:");
  const std::string bare = SampleManifest().substr(0, lineage);
  EXPECT_THAT(Faults(Signed(bare)),
              ElementsAre(HasSubstr("lineage: is missing"), HasSubstr("policy: is missing")));
  policy_.strict = false;
  EXPECT_THAT(Faults(Signed(bare)), IsEmpty());
}

TEST_F(SigningTest, SigningAgainTakesThePlaceOfTheOldBlock) {
  const std::string once = Signed(SampleManifest());
  EXPECT_EQ(Signed(once), once);
  const std::string again = *SignManifest(once, MakeSigningKey(), kAt, "");
  EXPECT_EQ(again.find("signed:"), again.rfind("signed:"));
  EXPECT_THAT(again, Not(HasSubstr(key_.public_key)));
}

TEST_F(SigningTest, ABlockThatIsNotLastIsAFault) {
  std::string file = Signed(SampleManifest()) + "policy2: x\n";
  EXPECT_FALSE(ReadManifest(file).faults.empty());
  const size_t block = SampleManifest().find("policy: CP-7\n");
  const std::string inside = Signed(SampleManifest().substr(0, block)) + "policy: CP-7\n";
  EXPECT_THAT(FormatFaults("m.yaml", ReadManifest(inside).faults),
              ElementsAre(HasSubstr("signed: must be the last of the file")));
}

TEST_F(SigningTest, WhatHasFaultsIsNotSigned) {
  EXPECT_FALSE(SignManifest("manifest: 1\n", key_, kAt, "").ok());
  EXPECT_FALSE(SignManifest(SampleManifest(), key_, "now", "").ok());
}

}  // namespace
}  // namespace millrace
