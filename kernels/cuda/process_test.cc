// Whole processes: the check that runs on a device, with the shim's plug-in and its kinds of
// machine.
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <string>

namespace millrace {
namespace {

struct Ended {
  int code;
  std::string said;
};

Ended RunCheck(const std::string& faults, const std::string& arguments) {
  setenv("MILLRACE_SIMT_FAULTS", faults.c_str(), 1);
  const std::string command = "kernels/cuda/gpu_check " + arguments + " 2>&1";
  FILE* const pipe = popen(command.c_str(), "r");
  Ended ended = {-1, ""};
  if (pipe == nullptr) return ended;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof buffer, pipe)) ended.said.append(buffer, n);
  const int status = pclose(pipe);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ended;
}

const std::string kPlugin = "kernels/cuda/libmillrace_cuda_simt.so";

TEST(Process, TheCheckPasses) {
  const Ended ended = RunCheck("", kPlugin + " --small");
  EXPECT_EQ(ended.code, 0) << ended.said;
  EXPECT_NE(ended.said.find(" passed, 0 failed"), std::string::npos) << ended.said;
}

TEST(Process, TheCheckSaysWhereThereIsNoDevice) {
  for (const char* machine : {"driver=0", "driver=12000", "devices=0"}) {
    const Ended ended = RunCheck(machine, kPlugin + " --small");
    EXPECT_EQ(ended.code, 3) << ended.said;
    EXPECT_NE(ended.said.find("no device to check on: "), std::string::npos) << ended.said;
  }
}

TEST(Process, TheCheckFailsWhereAKernelDoes) {
  const Ended ended = RunCheck("kernel#40=719", kPlugin + " --small");
  EXPECT_EQ(ended.code, 1) << ended.said;
  EXPECT_NE(ended.said.find("719"), std::string::npos) << ended.said;
}

TEST(Process, WhatIsNoPluginIsNamed) {
  EXPECT_EQ(RunCheck("", "no_such_file.so").code, 2);
  EXPECT_EQ(RunCheck("", "libc.so.6").code, 2);
}

}  // namespace
}  // namespace millrace
