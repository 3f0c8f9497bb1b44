// A model repository in a temporary folder, and the stand-in for the compiler: for tests only.
#pragma once

#include <stdint.h>

#include <string>

#include "services/registry/catalog_builder.h"

namespace millrace {

inline constexpr char kFakeCompiler[] = "services/registry/testing/fake_compiler.sh";

class TempRepository {
 public:
  TempRepository();
  ~TempRepository();
  TempRepository(const TempRepository&) = delete;

  const std::string& root() const { return root_; }
  // Makes the folders on the way; `path` is below the root.
  void Write(const std::string& path, const std::string& content) const;
  void MakeFolder(const std::string& path) const;
  void MakeLink(const std::string& path, const std::string& target) const;
  void Remove(const std::string& path) const;

  // A model that the fake compiler accepts: config.pbtxt with `config`, version 1.
  void AddModel(const std::string& name, const std::string& config,
                const std::string& report) const;

 private:
  std::string root_;
};

// The report that a fake model holds.
struct FakeReport {
  std::string format = "xgboost_json";
  std::string objective = "reg:squarederror";
  uint32_t features = 2;
  uint32_t groups = 1;
  uint32_t columns = 1;
  std::string type = "FP32";
  uint64_t private_bytes = 0;

  std::string Line() const;
};

// Options with the fake compiler.
LoaderOptions FakeOptions();

}  // namespace millrace
