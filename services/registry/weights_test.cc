// What the age of weights goes by: the manifest, else the file; and what pins a version.
#include "services/registry/weights.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "services/registry/manifest/utc.h"
#include "services/registry/testing/signed_versions.h"

namespace millrace {
namespace {

using Weights = SignedVersions;

TEST_F(Weights, HaveTheAgeOfTheManifestElseOfTheFile) {
  AddVersion(1);
  AddVersion(2, "0.5");
  Edit(2, "\ntrained_at: ", "\ntrained_at: 2026-01-02T03:04:05Z  # ");
  const BuiltCatalog& built = Build();
  ASSERT_EQ(built.catalog.weights_size(), 1);
  EXPECT_EQ(built.catalog.weights(0).model(), "m");
  EXPECT_EQ(built.catalog.weights(0).version(), "2");
  EXPECT_EQ(built.catalog.weights(0).made_s(), *ParseUtc("2026-01-02T03:04:05Z"));
  EXPECT_FALSE(built.catalog.weights(0).of_file());
  EXPECT_FALSE(built.catalog.weights(0).pinned());
  options_.manifest = {};
  options_.manifest.mode = ManifestOptions::Mode::kOff;
  Restart();
  temp_.Write("m/config.pbtxt",
              Read("m/config.pbtxt") + "version_policy { specific { versions: [ 1 ] } }\n");
  const timespec times[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, Path("m/1/model.json").c_str(), times, 0), 0);
  const ModelWeights& weights = Build().catalog.weights(0);
  EXPECT_EQ(weights.made_s(), 1'700'000'000);
  EXPECT_TRUE(weights.of_file());
  EXPECT_TRUE(weights.pinned());
}

}  // namespace
}  // namespace millrace
