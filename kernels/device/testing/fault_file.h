// The faults of the fake plug-in (fake_plugin.cc), as a test writes them.
//
// Purpose: one file a test, named in the environment. Who may call: one thread of a test.
// Invariants: 1. the variable is set before the first call. What fails: nothing.
#pragma once

#include <stdlib.h>

#include <fstream>
#include <string>

namespace millrace {

inline constexpr char kFakePlugin[] = "kernels/device/testing/libfake_plugin.so";

class FaultFile {
 public:
  explicit FaultFile(const std::string& name)
      : path_(std::string(getenv("TEST_TMPDIR")) + "/" + name) {
    setenv("MILLRACE_FAKE_DEVICE", path_.c_str(), 1);
    Set("");
    std::ofstream(path_ + ".log");
  }
  // "run 6 2 1\nopen 5"
  void Set(const std::string& faults) { std::ofstream(path_) << faults << "\n"; }
  // What was called, each call with the process that called it.
  std::string Log() const {
    std::ifstream file(path_ + ".log");
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }

 private:
  std::string path_;
};

}  // namespace millrace
