#include "services/registry/testing/temp_repository.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace millrace {

namespace fs = std::filesystem;

TempRepository::TempRepository() {
  const char* base = getenv("TEST_TMPDIR");
  std::string path = absl::StrCat(base != nullptr ? base : "/tmp", "/repository_XXXXXX");
  MR_CHECK(mkdtemp(path.data()) != nullptr, "a test has a folder of its own");
  root_ = path;
}

TempRepository::~TempRepository() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

void TempRepository::Write(const std::string& path, const std::string& content) const {
  const fs::path full = fs::path(root_) / path;
  fs::create_directories(full.parent_path());
  std::ofstream(full, std::ios::binary) << content;
}

void TempRepository::MakeFolder(const std::string& path) const {
  fs::create_directories(fs::path(root_) / path);
}

void TempRepository::MakeLink(const std::string& path, const std::string& target) const {
  fs::create_directories((fs::path(root_) / path).parent_path());
  fs::create_symlink(target, fs::path(root_) / path);
}

void TempRepository::Remove(const std::string& path) const {
  fs::remove_all(fs::path(root_) / path);
}

void TempRepository::AddModel(const std::string& name, const std::string& config,
                              const std::string& report) const {
  Write(name + "/config.pbtxt", config);
  Write(name + "/1/model.json", report + "\n");
}

std::string FakeReport::Line() const {
  return absl::StrCat(R"({"ok":true,"format":")", format, R"(","features":)", features,
                      R"(,"groups":)", groups, R"(,"margin_dtype":")", type,
                      R"(","prediction_dtype":")", type, R"(","prediction_columns":)", columns,
                      R"(,"objective":")", objective,
                      R"(","trees":3,"nodes":9,"plan_bytes":5,"private_bytes":)", private_bytes,
                      R"(,"feature_names":[]})");
}

LoaderOptions FakeOptions() {
  LoaderOptions options;
  options.compile = {kFakeCompiler, /*max_memory_mb=*/64, /*timeout_ms=*/10'000};
  options.limits = {/*max_batch_rows=*/4096, /*max_request_bytes=*/1 << 20};
  return options;
}

}  // namespace millrace
