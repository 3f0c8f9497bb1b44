#include "services/registry/model_tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <sstream>

#include "services/registry/sample_table.h"
#include "services/registry/testing/signed_versions.h"
#include "services/registry/write_file.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class ModelToolTest : public SignedVersions {
 protected:
  int Run(std::vector<std::string> words) {
    out_.str("");
    err_.str("");
    if (words[0] == "init" || words[0] == "check") {
      words.push_back("--compiler=kernels/compile/compiler");
    }
    return RunModelTool(words, out_, err_);
  }
  std::string Out() const { return out_.str(); }
  std::string Err() const { return err_.str(); }
  void AddModelOnly() { temp_.Write("m/1/model.json", kXgboostModel); }

  std::ostringstream out_, err_;
};

TEST_F(ModelToolTest, InitCheckKeygenSignServe) {
  AddModelOnly();
  EXPECT_EQ(Run({"check", Path("m/1")}), 1);
  EXPECT_THAT(Out(), HasSubstr("m/1/manifest.yaml: is missing"));
  ASSERT_EQ(Run({"init", Path("m/1")}), 0) << Err();
  EXPECT_EQ(Run({"check", Path("m/1")}), 0) << Out();
  EXPECT_EQ(Out(), "m: no fault\n");
  ASSERT_EQ(Run({"keygen", Path("key")}), 0) << Err();
  const std::string known = Out().substr(0, 64);
  struct stat info;
  ASSERT_EQ(stat(Path("key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(Run({"sign", Path("m/1"), "--key=" + Path("key"), "--until=2099-01-01T00:00:00Z"}), 0)
      << Err();
  temp_.Write("server.yaml", "registry: {trusted_keys: " + known + ", allow_unsigned: false}\n");
  EXPECT_EQ(Run({"check", Path("m"), "--config=" + Path("server.yaml")}), 0) << Out();
  temp_.Write("server.yaml",
              "registry: {trusted_keys: " + std::string(64, 'a') + ", allow_unsigned: false}\n");
  EXPECT_EQ(Run({"check", Path("m"), "--config=" + Path("server.yaml")}), 1);
  EXPECT_THAT(Out(), HasSubstr("signed.key: is none of registry.trusted_keys"));
  EXPECT_THAT(Served(Build()), ElementsAre("m/1"));
}

TEST_F(ModelToolTest, CheckSaysEverythingAtOnce) {
  AddVersion(1);
  Edit(1, "version: 1", "version: 7");
  Edit(1, "datatype: FP32", "datatype: FP64");
  Edit(1, "owner: nobody yet", "owner:");
  const size_t answer = Read("m/1/manifest.yaml").find("    outputs: [");
  const size_t data = Read("m/1/manifest.yaml").find("data: [", answer);
  std::string text = Read("m/1/manifest.yaml");
  temp_.Write("m/1/manifest.yaml", text.insert(data + 7, "-"));
  EXPECT_EQ(Run({"check", Path("m/1"), "--strict"}), 1);
  EXPECT_THAT(Out(),
              AllOf(HasSubstr("m/1/manifest.yaml:5: owner: has no value"),
                    HasSubstr("version: is 7, and the folder is 1"),
                    HasSubstr("lineage: is missing"), HasSubstr("policy: is missing"),
                    HasSubstr("signature.inputs[0].datatype: is FP64, and the model has FP32"),
                    HasSubstr("golden[0].outputs[0]: element 0 is -")));
}

TEST_F(ModelToolTest, InitTakesBinsRangesAndGoldenRowsFromASample) {
  AddModelOnly();
  std::string csv = "a,b,c\n";
  for (int i = 0; i < 1000; ++i) csv += std::to_string(i) + ",0.5," + (i % 2 ? "" : "7") + "\n";
  temp_.Write("sample.csv", csv);
  ASSERT_EQ(Run({"init", Path("m/1"), "--sample=" + Path("sample.csv")}), 0) << Err();
  const ManifestResult read = ReadManifest(Read("m/1/manifest.yaml"));
  ASSERT_THAT(FormatFaults("m", read.faults), IsEmpty());
  const Manifest& manifest = read.manifest;
  ASSERT_EQ(manifest.reference.size(), 3u);
  EXPECT_EQ(manifest.reference[0].edges.size(), 63u);
  for (const double share : manifest.reference[0].shares) EXPECT_NEAR(share, 1.0 / 64, 0.001);
  EXPECT_THAT(manifest.reference[1].edges, IsEmpty());  // one value
  EXPECT_NEAR(manifest.reference[2].missing, 0.5, 1e-6);
  ASSERT_EQ(manifest.inputs[0].ranges.size(), 3u);
  EXPECT_EQ(manifest.inputs[0].ranges[0].high, 999);
  EXPECT_EQ(manifest.golden.size(), 3u);
  EXPECT_EQ(Run({"check", Path("m/1")}), 0) << Out();
}

TEST_F(ModelToolTest, InitTakesASampleOfRawColumns) {
  AddModelOnly();
  temp_.Write("m/features.yaml",
              "view: v\nfeatures:\n  - {column: age}\n  - {column: income}\n"
              "  - {column: plan, type: string, transforms: [{vocabulary: {values: [x, y]}}]}\n");
  temp_.Write("sample.csv", "income,age,plan\n1,20,x\n2,30,y\n3,40,x\n4,,\"y\"\n");
  ASSERT_EQ(Run({"init", Path("m/1"), "--sample=" + Path("sample.csv")}), 0) << Err();
  const ManifestResult read = ReadManifest(Read("m/1/manifest.yaml"));
  ASSERT_THAT(FormatFaults("m", read.faults), IsEmpty());
  ASSERT_EQ(read.manifest.reference.size(), 3u);
  EXPECT_EQ(read.manifest.reference[1].field, "age");
  EXPECT_NEAR(read.manifest.reference[1].missing, 0.25, 1e-6);
  EXPECT_THAT(read.manifest.reference[2].values, ElementsAre("x", "y"));
  EXPECT_EQ(read.manifest.view->name, "v");
  EXPECT_EQ(Run({"check", Path("m/1")}), 0) << Out();
}

TEST_F(ModelToolTest, ASampleThatDoesNotFitIsSaidSo) {
  AddModelOnly();
  const std::pair<const char*, const char*> rows[] = {
      {"1,2\n", "has 2 columns, and the model's tensor has 3"},
      {"1,2,3\n1,2\n", "line 2: has 2 cells"},
      {"a,b,c\n", "holds no row"},
      {"1,2,x\n1,2,y\n", "column x holds what is no number"},
      {"\"1,2,3\n", "line 1: quotes are amiss"}};
  for (const auto& [csv, sentence] : rows) {
    temp_.Write("sample.csv", csv);
    EXPECT_EQ(Run({"init", Path("m/1"), "--sample=" + Path("sample.csv")}), 2) << csv;
    EXPECT_THAT(Err(), HasSubstr(sentence)) << csv;
    EXPECT_FALSE(fs::exists(Path("m/1/manifest.yaml")));
  }
}

TEST_F(ModelToolTest, NothingIsOverwrittenUnasked) {
  AddVersion(1);
  const std::string before = Read("m/1/manifest.yaml");
  EXPECT_EQ(Run({"init", Path("m/1")}), 2);
  EXPECT_THAT(Err(), HasSubstr("manifest.yaml is there already"));
  EXPECT_EQ(Read("m/1/manifest.yaml"), before);
  EXPECT_EQ(Run({"init", Path("m/1"), "--force"}), 0);
  temp_.Write("key", "something dear\n");
  EXPECT_EQ(Run({"keygen", Path("key")}), 2);
  EXPECT_EQ(Read("key"), "something dear\n");
}

TEST_F(ModelToolTest, ADiskThatIsFullLeavesNothingBehind) {
  AddVersion(1);
  const std::string before = Read("m/1/manifest.yaml");
  ASSERT_EQ(Run({"keygen", Path("key")}), 0);
  signal(SIGXFSZ, SIG_IGN);
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  rlimit small = old;
  small.rlim_cur = 16;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const int sign = Run({"sign", Path("m/1"), "--key=" + Path("key")});
  const std::string said = Err();
  const int keygen = Run({"keygen", Path("other_key")});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(sign, 2);
  EXPECT_THAT(said, HasSubstr("manifest.yaml cannot be written: File too large"));
  EXPECT_EQ(keygen, 2);
  EXPECT_EQ(Read("m/1/manifest.yaml"), before);
  EXPECT_FALSE(fs::exists(Path("other_key")));
  for (const auto& entry : fs::recursive_directory_iterator(temp_.root())) {
    EXPECT_THAT(entry.path().filename().string(), Not(StartsWith(".")));
  }
}

TEST_F(ModelToolTest, AKeyThatOthersCanReadIsNotUsed) {
  AddVersion(1);
  ASSERT_EQ(Run({"keygen", Path("key")}), 0);
  ASSERT_EQ(chmod(Path("key").c_str(), 0640), 0);
  EXPECT_EQ(Run({"sign", Path("m/1"), "--key=" + Path("key")}), 2);
  EXPECT_THAT(Err(), HasSubstr("can be read by others"));
}

TEST_F(ModelToolTest, WhatHasFaultsIsNotSigned) {
  AddVersion(1);
  Edit(1, "manifest: 1", "manifest: 2");
  ASSERT_EQ(Run({"keygen", Path("key")}), 0);
  EXPECT_EQ(Run({"sign", Path("m/1"), "--key=" + Path("key")}), 1);
  EXPECT_THAT(Out(), HasSubstr("manifest: must be 1, and is 2"));
}

TEST_F(ModelToolTest, CommandLinesThatMakeNoSense) {
  AddVersion(1);
  EXPECT_EQ(Run({"sign", Path("m/1")}), 64);
  EXPECT_EQ(Run({"keygen"}), 64);
  EXPECT_EQ(Run({"init", Path("m")}), 64);
  EXPECT_EQ(RunModelTool({"check", Path("m/1")}, out_, err_), 64);
  EXPECT_EQ(Run({"check", Path("nowhere")}), 2);
  EXPECT_EQ(Run({"check", temp_.root()}), 2);
  EXPECT_EQ(Run({"sign", Path("m/1"), "--key=" + Path("key"), "--until=tomorrow"}), 64);
  EXPECT_TRUE(IsModelTool("check"));
  EXPECT_FALSE(IsModelTool("--control_fd=3"));
}

TEST(ParseSample, ReadsNumbersTextsAndQuotes) {
  const absl::StatusOr<SampleTable> table =
      ParseSample("a,\"b \"\"x\"\", c\",d\r\n1,\"y,z\",\n\n2.5,,nan\n");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->rows, 2u);
  EXPECT_EQ(table->columns[1].name, "b \"x\", c");
  EXPECT_EQ(table->columns[1].cells[0], "y,z");
  EXPECT_THAT(table->columns[0].numbers, ElementsAre(1, 2.5));
  EXPECT_THAT(table->columns[1].numbers, IsEmpty());
  EXPECT_THAT(table->columns[2].numbers, ElementsAre(std::nullopt, std::nullopt));
}

}  // namespace
}  // namespace millrace
