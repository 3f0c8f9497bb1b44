// A repository of one model with manifests, and its builder: for tests only.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.h"
#include "services/registry/catalog_builder.h"
#include "services/registry/first_version.h"
#include "services/registry/manifest/signing.h"
#include "services/registry/testing/small_models.h"
#include "services/registry/testing/temp_repository.h"

namespace millrace {

inline int64_t TestNow() { return 1'795'000'000; }  // November 2026

inline std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  MR_CHECK(at != std::string::npos, "what a test replaces is there");
  return text.replace(at, from.size(), to);
}

class SignedVersions : public ::testing::Test {
 protected:
  SignedVersions() {
    temp_.Write("m/config.pbtxt", "platform: \"xgboost\" max_batch_size: 8\n");
    options_.compile = {"kernels/compile/compiler", /*max_memory_mb=*/512, /*timeout_ms=*/30'000};
    options_.limits = {/*max_batch_rows=*/4096, /*max_request_bytes=*/1 << 20};
    options_.manifest.now_s = &TestNow;
  }

  // Trusts the test's key and nobody else, from the next build on.
  void TrustOnlyTheKey() {
    options_.manifest.trust = {{key_.public_key}, /*allow_unsigned=*/false, /*strict=*/false};
    Restart();
  }
  void Restart() { builder_ = std::make_unique<CatalogBuilder>(options_, 1, 1); }

  std::string Path(const std::string& below) const { return temp_.root() + "/" + below; }
  std::string Read(const std::string& below) const {
    std::ifstream file(Path(below), std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  // A version that has no fault; its leaf tells it from others.
  void AddVersion(int64_t version, const std::string& leaf = "-0.25") {
    const std::string folder = "m/" + std::to_string(version);
    temp_.Write(folder + "/model.json", Replaced(kXgboostModel, "-0.25", leaf));
    const absl::StatusOr<std::string> text =
        DescribeVersion(temp_.root(), "m", version, options_, "");
    ASSERT_TRUE(text.ok()) << text.status();
    temp_.Write(folder + "/manifest.yaml", *text);
  }
  void Edit(int64_t version, std::string_view from, std::string_view to) {
    const std::string path = "m/" + std::to_string(version) + "/manifest.yaml";
    temp_.Write(path, Replaced(Read(path), from, to));
  }
  void Sign(int64_t version, const SigningKey& key, const std::string& until = "") {
    const std::string path = "m/" + std::to_string(version) + "/manifest.yaml";
    const absl::StatusOr<std::string> text =
        SignManifest(Read(path), key, "2026-11-01T00:00:00Z", until);
    ASSERT_TRUE(text.ok()) << text.status();
    temp_.Write(path, *text);
  }

  const BuiltCatalog& Build() {
    if (builder_ == nullptr) Restart();
    const absl::StatusOr<const BuiltCatalog*> built = builder_->Build(temp_.root());
    MR_CHECK(built.ok(), "the repository is there");
    return **built;
  }
  // "m/1" and so on.
  static std::vector<std::string> Served(const BuiltCatalog& built) {
    std::vector<std::string> names;
    for (const Model& m : built.catalog.models()) names.push_back(m.name() + "/" + m.version());
    return names;
  }
  static std::string Reasons(const BuiltCatalog& built) {
    std::string reasons;
    for (const FailedModel& f : built.catalog.failed()) {
      reasons += f.name() + "/" + f.version() + ": " + f.reason() + "\n";
    }
    return reasons;
  }

  TempRepository temp_;
  LoaderOptions options_ = FakeOptions();
  const SigningKey key_ = *ParseSigningKey("millrace-ed25519-secret:" + std::string(64, '7'));
  std::unique_ptr<CatalogBuilder> builder_;
};

}  // namespace millrace
