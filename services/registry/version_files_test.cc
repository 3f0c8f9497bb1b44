// What is checked is what is used, whatever happens to the files meanwhile.
#include "services/registry/version_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "services/registry/manifest/sha256.h"
#include "services/registry/testing/signed_versions.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class VersionFilesTest : public SignedVersions {
 protected:
  static std::string All(int fd) {
    std::string text(1 << 16, '\0');
    text.resize(pread(fd, text.data(), text.size(), 0));
    return text;
  }
};

TEST_F(VersionFilesTest, AFileThatIsSwappedAfterTheLookIsNotUsed) {
  AddVersion(1);
  const std::string checked = Read("m/1/model.json");
  absl::StatusOr<Repository> repository = Repository::Open(temp_.root());
  const ModelLoader loader(*repository, options_);
  const absl::StatusOr<ModelDefinition> definition = loader.ReadDefinition("m");
  VersionFiles files(*repository, *definition, 1);
  std::vector<ConfigFault> faults;
  files.Open(options_.manifest, 1 << 20, &faults);
  ASSERT_THAT(FormatFaults("", faults), IsEmpty());
  temp_.Write("m/1/model.json", "something else");
  temp_.Write("m/1/manifest.yaml", "something else");
  const absl::StatusOr<Fd> file = files.ModelFile();
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(All(file->get()), checked);
  EXPECT_NE(write(file->get(), "x", 1), 1);  // sealed
}

// Of labels, views and golden.json as well.
TEST_F(VersionFilesTest, ATextThatIsSwappedAfterTheLookIsNotUsed) {
  temp_.Write("m/labels.txt", "no\nyes\n");
  temp_.Write("m/config.pbtxt",
              "platform: \"xgboost\" max_batch_size: 8\noutput { name: \"prediction\" }\n"
              "output { name: \"label\" label_filename: \"labels.txt\" }\n");
  AddVersion(1);
  absl::StatusOr<Repository> repository = Repository::Open(temp_.root());
  const ModelLoader loader(*repository, options_);
  const absl::StatusOr<ModelDefinition> definition = loader.ReadDefinition("m");
  VersionFiles files(*repository, *definition, 1);
  std::vector<ConfigFault> faults;
  files.Open(options_.manifest, 1 << 20, &faults);
  ASSERT_THAT(FormatFaults("", faults), IsEmpty());
  temp_.Write("m/labels.txt", "yes\nno\n");
  const absl::StatusOr<std::string> text = files.Text("labels.txt", 7);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "no\nyes\n");
  EXPECT_THAT(std::string(files.Text("labels.txt", 6).status().message()),
              HasSubstr("is larger than 6 bytes"));
}

TEST_F(VersionFilesTest, TheModelsFileMustBeListed) {
  AddVersion(1);
  temp_.Write("m/1/notes.txt", "notes");
  temp_.Write("m/1/manifest.yaml",
              "manifest: 1\nmodel: m\nversion: 1\nowner: o\ntrained_at: 2026-01-01T00:00:00Z\n"
              "signature:\n  inputs: [{name: input, datatype: FP32, shape: [-1, 3]}]\n"
              "  outputs: [{name: prediction, datatype: FP32, shape: [-1, 1], kind: prediction}]\n"
              "files: [{name: notes.txt, sha256: '" +
                  Sha256Of("notes") + "'}]\n...\n");
  EXPECT_THAT(Served(Build()), IsEmpty());
  EXPECT_THAT(Reasons(Build()), HasSubstr("files: must list model.json or model.ubj"));
}

// Not only each of them.
TEST_F(VersionFilesTest, AllCopiesTogetherHaveALimit) {
  const std::string label(2'499, 'l');
  temp_.Write("m/labels.txt", label + "\n" + label + "\n");
  temp_.Write("m/config.pbtxt",
              "platform: \"xgboost\" max_batch_size: 8\noutput { name: \"prediction\" }\n"
              "output { name: \"label\" label_filename: \"labels.txt\" }\n");
  AddVersion(1);
  const size_t model_bytes = Read("m/1/model.json").size();
  ASSERT_LT(model_bytes, 5'000u);
  {
    absl::StatusOr<Repository> together = Repository::Open(temp_.root());
    const ModelLoader its_loader(*together, options_);
    const absl::StatusOr<ModelDefinition> its_definition = its_loader.ReadDefinition("m");
    for (const size_t most : {model_bytes + 5'000, model_bytes + 4'999}) {
      VersionFiles both(*together, *its_definition, 1);
      std::vector<ConfigFault> faults;
      both.Open(options_.manifest, most, &faults);
      EXPECT_EQ(faults.empty(), most == model_bytes + 5'000) << most;
    }
  }
  absl::StatusOr<Repository> repository = Repository::Open(temp_.root());
  const ModelLoader loader(*repository, options_);
  const absl::StatusOr<ModelDefinition> definition = loader.ReadDefinition("m");
  VersionFiles files(*repository, *definition, 1);
  std::vector<ConfigFault> faults;
  files.Open(options_.manifest, 100, &faults);
  EXPECT_THAT(FormatFaults("m", faults), ::testing::Each(HasSubstr("at most 100 are taken")));
  EXPECT_EQ(faults.size(), 2u);
  EXPECT_FALSE(files.model_file_is_good());
  EXPECT_FALSE(files.ModelFile().ok());
}

TEST_F(VersionFilesTest, WithoutAManifestFilesAreReadAsTheyAre) {
  AddVersion(1);
  temp_.Remove("m/1/manifest.yaml");
  EXPECT_THAT(Served(Build()), ElementsAre("m/1"));
  EXPECT_FALSE(Build().catalog.models(0).has_provenance());
  options_.manifest.mode = ManifestOptions::Mode::kRequire;
  Restart();
  EXPECT_THAT(Served(Build()), IsEmpty());
  EXPECT_THAT(Reasons(Build()), HasSubstr("is missing, and registry.manifest asks for it"));
}

TEST_F(VersionFilesTest, SwitchedOffABadManifestIsNotLookedAt) {
  AddVersion(1);
  temp_.Write("m/1/manifest.yaml", "nonsense");
  EXPECT_THAT(Served(Build()), IsEmpty());
  options_.manifest.mode = ManifestOptions::Mode::kOff;
  Restart();
  EXPECT_THAT(Served(Build()), ElementsAre("m/1"));
}

// Somebody renames one file over the other all the time. What is served is always the file that the
// manifest names; the other one is only ever refused.
TEST_F(VersionFilesTest, AFileThatIsSwappedUnderTheReader) {
  AddVersion(1, "0.5");
  const std::string good = Read("m/1/model.json");
  const std::string evil = Replaced(good, "[0.5,0.5,0.75]", "[0.5,3.5,0.75]");
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    for (int i = 0; !stop; ++i) {
      temp_.Write("m/1/.next", i % 2 == 0 ? evil : good);
      fs::rename(Path("m/1/.next"), Path("m/1/model.json"));
    }
  });
  int served = 0, refused = 0;
  // Until each was seen some times, however the threads run.
  for (int i = 0; i < 2'000 && (served < 5 || refused < 5); ++i) {
    Restart();  // nothing from before may stand in
    const BuiltCatalog& built = Build();
    if (built.catalog.models_size() == 0) {
      ++refused;
      EXPECT_THAT(Reasons(built), ::testing::AnyOf(HasSubstr("is not that of model.json"),
                                                   HasSubstr("the file changed while it was read"),
                                                   HasSubstr("was replaced while it was opened")));
      continue;
    }
    ++served;
    float prediction;
    memcpy(&prediction, built.catalog.models(0).golden(0).outputs(0).data().data(),
           sizeof prediction);
    EXPECT_NEAR(prediction, 1 / (1 + exp(-0.5)), 1e-6);
  }
  stop = true;
  swapper.join();
  EXPECT_GE(served, 5);
  EXPECT_GE(refused, 5);
}

TEST_F(VersionFilesTest, LabelsAndViewsAreHashedToo) {
  const std::string config =
      "platform: \"xgboost\" max_batch_size: 8\noutput { name: \"prediction\" }\n"
      "output { name: \"label\" label_filename: \"labels.txt\" }\n";
  temp_.Write("m/config.pbtxt", config);
  temp_.Write("m/labels.txt", "no\nyes\n");
  temp_.Write("m/features.yaml", "view: v\nfeatures: [{column: a}, {column: b}, {column: c}]\n");
  AddVersion(1);
  EXPECT_THAT(Served(Build()), ElementsAre("m/1")) << Reasons(Build());
  EXPECT_EQ(Build().catalog.models(0).provenance().fields(), 3u);
  temp_.Write("m/labels.txt", "yes\nno\n");
  EXPECT_THAT(Reasons(Build()), HasSubstr("shared[0].sha256: is not that of labels.txt"));
  temp_.Write("m/labels.txt", "no\nyes\n");
  temp_.Write("m/features.yaml", "view: v\nfeatures: [{column: b}, {column: a}, {column: c}]\n");
  EXPECT_THAT(Reasons(Build()), HasSubstr("view.sha256: is not that of features.yaml"));
  Edit(1, "view: {name: 'v'", "#view: {name: 'v'");
  EXPECT_THAT(Reasons(Build()), HasSubstr("features.yaml is there and not listed in the manifest"));
}

TEST_F(VersionFilesTest, AnEnsemblesManifestHoldsItsConfig) {
  AddVersion(1);
  temp_.Write("l/config.pbtxt",
              "platform: \"lightgbm\" max_batch_size: 8 default_model_filename: \"model.txt\"\n");
  temp_.Write("l/1/model.txt", kLightgbmModel);
  const std::string config =
      "platform: \"millrace_ensemble\" max_batch_size: 8\n"
      "parameters { key: \"members\" value { string_value: \"m,l\" } }\n"
      "parameters { key: \"method\" value { string_value: \"weighted_mean\" } }\n";
  temp_.Write("e/config.pbtxt", config);
  const std::string manifest =
      "manifest: 1\nmodel: e\nversion: 1\nowner: o\ntrained_at: 2026-01-01T00:00:00Z\n"
      "signature:\n  inputs: [{name: input, datatype: FP32, shape: [-1, 3]}]\n"
      "  outputs: [{name: prediction, datatype: FP64, shape: [-1, 1], kind: prediction}]\n"
      "files: []\n";
  temp_.Write("e/1/manifest.yaml", manifest + "...\n");
  EXPECT_THAT(Reasons(Build()), HasSubstr("shared: must list config.pbtxt of an ensemble"));
  temp_.Write("e/1/manifest.yaml", manifest + "shared: [{name: config.pbtxt, sha256: '" +
                                       Sha256Of(config) + "'}]\n...\n");
  EXPECT_THAT(Reasons(Build()), IsEmpty());
  EXPECT_EQ(Build().catalog.models_size(), 3);
  temp_.Write("e/config.pbtxt", config + "# another weight, say\n");
  EXPECT_THAT(Reasons(Build()), HasSubstr("shared[0].sha256: is not that of config.pbtxt"));
}

}  // namespace
}  // namespace millrace
