#include "services/registry/manifest/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <math.h>

#include "services/registry/manifest/signing.h"
#include "services/registry/manifest/testing/sample.h"
#include "services/registry/manifest/utc.h"

namespace millrace {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<std::string> Faults(std::string_view yaml) {
  return FormatFaults("m.yaml", ReadManifest(yaml).faults);
}
std::vector<std::string> With(std::string_view from, std::string_view to) {
  return Faults(Replaced(SampleManifest(), from, to));
}

TEST(ReadManifest, TakesOutWhatStandsThere) {
  const ManifestResult result = ReadManifest(SampleManifest());
  ASSERT_THAT(FormatFaults("m.yaml", result.faults), IsEmpty());
  const Manifest& manifest = result.manifest;
  EXPECT_EQ(manifest.model, "churn");
  EXPECT_EQ(manifest.version, 3);
  EXPECT_EQ(manifest.owner, "Risk team, Example Bank");
  EXPECT_EQ(manifest.trained_at, "2026-11-20T10:00:00Z");
  ASSERT_THAT(manifest.inputs, SizeIs(1));
  EXPECT_EQ(manifest.inputs[0].datatype, DataType::kFp32);
  EXPECT_EQ(manifest.inputs[0].columns, 2);
  EXPECT_EQ(manifest.inputs[0].line, 8);
  ASSERT_THAT(manifest.inputs[0].ranges, SizeIs(2));
  EXPECT_EQ(manifest.inputs[0].ranges[0].high, 120);
  EXPECT_TRUE(isinf(manifest.inputs[0].ranges[1].low));
  EXPECT_EQ(manifest.inputs[0].ranges[1].high, 1500);
  EXPECT_EQ(manifest.outputs[0].kind, "prediction");
  EXPECT_EQ(manifest.files[0].name, "model.json");
  EXPECT_EQ(manifest.files[0].bytes, 12);
  EXPECT_EQ(manifest.shared[0].bytes, -1);
  ASSERT_THAT(manifest.golden, SizeIs(1));
  EXPECT_EQ(manifest.golden[0].json,
            R"({"inputs":[{"data":[1,null],"datatype":"FP32","name":"input","shape":[1,2]}],)"
            R"("outputs":[{"data":[0.25],"datatype":"FP32","name":"prediction","shape":[1,1]}],)"
            R"("tolerance":0.001})");
  EXPECT_EQ(manifest.lineage->parent, 2);
  EXPECT_EQ(manifest.policy, "CP-7");
  EXPECT_EQ(manifest.data_protection[0].field, "input[0]");
  EXPECT_EQ(manifest.data_protection[0].retention_days, 90);
  EXPECT_EQ(manifest.view->name, "churn_v3");
  EXPECT_THAT(manifest.reference[0].edges, ElementsAre(1, 2));
  EXPECT_THAT(manifest.reference[1].values, ElementsAre("a"));
  EXPECT_FALSE(manifest.signature_block.has_value());
}

TEST(ReadManifest, SaysEveryFaultAtOnceWithLineAndField) {
  std::string text = Replaced(SampleManifest(), "manifest: 1", "manifest: 2");
  text = Replaced(text, "owner: Risk team, Example Bank", "owner:");
  text = Replaced(text, "trained_at: 2026-11-20T10:00:00Z", "trained_at: yesterday");
  text = Replaced(text, "datatype: FP32", "datatype: FP31");
  text = Replaced(text, "name: model.json", "name: ../model.json");
  text = Replaced(text, "policy: CP-7", "polizy: CP-7");
  EXPECT_THAT(
      Faults(text),
      ElementsAre("m.yaml:1: manifest: must be 1, and is 2", "m.yaml:4: owner: has no value",
                  HasSubstr("m.yaml:5: trained_at: is 'yesterday', and must match"),
                  HasSubstr("m.yaml:8: signature.inputs[0].datatype: is 'FP31'"),
                  HasSubstr("m.yaml:12: files[0].name: is '../model.json', and must match"),
                  "m.yaml:20: polizy: is not a field of a manifest"));
}

TEST(ReadManifest, WhatIsMissingIsNamed) {
  EXPECT_THAT(Faults("manifest: 1\n...\n"),
              ElementsAre("m.yaml:1: model: is missing", "m.yaml:1: version: is missing",
                          "m.yaml:1: owner: is missing", "m.yaml:1: trained_at: is missing",
                          "m.yaml:1: signature: is missing", "m.yaml:1: files: is missing"));
  EXPECT_THAT(With("kind: prediction, ", ""),
              ElementsAre("m.yaml:10: signature.outputs[0].kind: is missing"));
}

TEST(ReadManifest, WhatIsNoManifestAtAll) {
  EXPECT_THAT(Faults(""), ElementsAre(HasSubstr("must be a map")));
  EXPECT_THAT(Faults("- a\n"), ElementsAre(HasSubstr("must be a map")));
  EXPECT_THAT(Faults("manifest: 1\n---\nmanifest: 1\n"), ElementsAre(HasSubstr("more than one")));
  EXPECT_THAT(Faults("manifest: [1\n"), SizeIs(1));
  EXPECT_THAT(Faults("model: \xff\xfe\n"), ElementsAre(HasSubstr("not UTF-8")));
  EXPECT_THAT(Faults(std::string((1 << 20) + 1, ' ')), ElementsAre(HasSubstr("larger than")));
  EXPECT_FALSE(Faults(std::string(100'000, '[')).empty());
}

// A half-written file: no cut makes a manifest that is taken for whole, signed or not.
TEST(ReadManifest, ACutFileIsRefused) {
  const SigningKey key = *ParseSigningKey("millrace-ed25519-secret:" + std::string(64, '7'));
  const std::string text = SampleManifest();
  for (const std::string& whole :
       {text, *SignManifest(text, key, "2026-11-20T10:00:00Z", "2027-11-20T10:00:00Z")}) {
    EXPECT_THAT(Faults(whole), IsEmpty());
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(Faults(whole.substr(0, size)).empty()) << size;
    }
  }
}

TEST(ReadManifest, NamesOfFilesCannotLeadAway) {
  for (const char* name : {"../m", "/etc/passwd", "a/b", ".hidden", "..", ".", "'a\\b'", "'a b'",
                           "\"a\\0b\"", "''", "'a\xc3\xa9'", "manifest.yaml"}) {
    EXPECT_THAT(With("name: model.json", std::string("name: ") + name),
                ElementsAre(HasSubstr("m.yaml:12: files[0].name: ")))
        << name;
  }
}

TEST(ReadManifest, HoldsFieldsAgainstEachOther) {
  EXPECT_THAT(With("shape: [-1, 2]", "shape: [2, 2]"),
              Contains(HasSubstr("must be [-1, columns]")));
  EXPECT_THAT(With("shape: [-1, 2]", "shape: [-1, 3]"),
              ElementsAre("m.yaml:8: signature.inputs[0].ranges: has 2 ranges for 3 columns"));
  EXPECT_THAT(With("[0, 120]", "[121, 120]"), ElementsAre(HasSubstr("low end above its high")));
  EXPECT_THAT(With("ranges: [", "range: [0, 1], ranges: ["),
              ElementsAre(HasSubstr("is given beside range")));
  EXPECT_THAT(With("parent: 2", "parent: 3"),
              ElementsAre("m.yaml:19: lineage.parent: is the version itself"));
  EXPECT_THAT(With("tolerance: 0.001", "tolerance: 1"),
              ElementsAre("m.yaml:18: golden[0].tolerance: must be from 0 and below 1"));
  EXPECT_THAT(With("edges: [1, 2]", "edges: [2, 2]"), ElementsAre(HasSubstr("must ascend")));
  EXPECT_THAT(With("edges: [1, 2]", "edges: [1]"), ElementsAre(HasSubstr("3 shares for 2 bins")));
  EXPECT_THAT(With("values: [a], ", ""), ElementsAre(HasSubstr("edges or values")));
  EXPECT_THAT(With("shares: [0.5, 0.5]", "shares: [0.5, 0.6]"),
              ElementsAre(HasSubstr("must be 1 together")));
  EXPECT_THAT(With("shares: [0.5, 0.5]", "shares: [-0.5, 1.5]"),
              ElementsAre(HasSubstr("must each be from 0 to 1")));
  EXPECT_THAT(With("field: 'input[1]', values", "field: 'input[0]', values"),
              ElementsAre(HasSubstr("reference[1].field: stands twice")));
  EXPECT_THAT(
      With("shared:\n", "  - {name: model.json, sha256: " + std::string(64, 'c') + "}\nshared:\n"),
      ElementsAre("m.yaml:13: files[1].name: stands twice"));
  EXPECT_THAT(With("policy: CP-7\n", "policy: CP-7\npolicy: CP-8\n"),
              ElementsAre("m.yaml:21: policy: stands twice"));
  EXPECT_THAT(With("2026-11-20", "2026-11-31"), ElementsAre("m.yaml:5: trained_at: is no date"));
}

TEST(ReadManifest, TextsAreTexts) {
  EXPECT_THAT(With("policy: CP-7", "policy: 7"),
              ElementsAre("m.yaml:20: policy: must be a text: put it in quotes"));
  EXPECT_THAT(With("policy: CP-7", "policy: true"), SizeIs(1));
  EXPECT_THAT(With("policy: CP-7", "policy: '7'"), IsEmpty());
}

TEST(ReadManifest, NumbersAreNumbers) {
  for (const char* bad : {"'3'", "3.5", "0x3", "03", "three", "[3]", "+3", "1e400", ".inf"}) {
    EXPECT_THAT(With("version: 3", std::string("version: ") + bad), SizeIs(1)) << bad;
  }
  for (const char* bad : {".nan", "'1'", "1.", ".5", "1e", "-", "1e999"}) {
    EXPECT_THAT(With("tolerance: 0.001", std::string("tolerance: ") + bad), SizeIs(1)) << bad;
  }
}

// Aliases make a small text stand for a large tree.
TEST(ReadManifest, ATextThatUnfoldsWithoutEndIsRefused) {
  std::string text = Replaced(SampleManifest(), "data: [1, null]", "data: &d [1, null]");
  std::string data = "data: &d [";
  for (int i = 0; i < 20'000; ++i) data += "1,";
  text = Replaced(text, "data: &d [1, null]", data + "1]");
  std::string inputs;
  for (int i = 0; i < 100; ++i) {
    inputs += ", {name: i" + std::to_string(i) + ", datatype: FP32, shape: [1, 2], data: *d}";
  }
  text = Replaced(text, "1]}]\n    outputs", "1]}" + inputs + "]\n    outputs");
  EXPECT_THAT(Faults(text), Contains(HasSubstr("the manifest holds too much")));
}

TEST(ReadManifest, TellsAtMostSoManyFaults) {
  std::string text = "manifest: 1\n";
  for (int i = 0; i < 1000; ++i) text += "field" + std::to_string(i) + ": 1\n";
  const std::vector<std::string> faults = Faults(text + "...\n");
  EXPECT_THAT(faults, SizeIs(201));
  EXPECT_THAT(faults.back(), HasSubstr("more faults than are told"));
}

TEST(Utc, IsReadAndWritten) {
  EXPECT_EQ(ParseUtc("1970-01-02T00:00:01Z"), 86'401);
  EXPECT_EQ(FormatUtc(86'401), "1970-01-02T00:00:01Z");
  for (const char* bad : {"2026-02-29T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01", "",
                          "2026-01-01T00:00:00Zx", "2026-1-01T00:00:00Z"}) {
    EXPECT_FALSE(ParseUtc(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace millrace
