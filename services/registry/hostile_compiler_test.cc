// A compiler that was taken over by a model file, in its sandbox, under the registry: whatever it
// tries, the model is refused with a sentence, in time, and nothing of it is left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "common/clock.h"
#include "services/registry/child_process.h"
#include "services/registry/compile.h"
#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr char kHostile[] = "kernels/compile/hostile_compiler";

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

class HostileCompiler : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kInstrumented) GTEST_SKIP() << "no filter under a sanitizer";
    options_ = {kHostile, /*max_memory_mb=*/64, /*timeout_ms=*/20'000};
  }
  absl::StatusOr<CompiledPlan> Try(const std::string& attack) {
    temp_.Write("file", attack);
    const Fd file(open((temp_.root() + "/file").c_str(), O_RDONLY | O_CLOEXEC));
    return RunCompiler(file.get(), "auto", options_);
  }
  std::string Refusal(const std::string& attack) {
    const absl::StatusOr<CompiledPlan> compiled = Try(attack);
    EXPECT_FALSE(compiled.ok()) << attack << " was taken for a model";
    return std::string(compiled.status().message());
  }
  static size_t OpenFiles() {
    const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
    return std::distance(std::filesystem::begin(entries), std::filesystem::end(entries));
  }
  static std::vector<std::string> Names() {
    ChildRequest request;
    request.program = kHostile;
    request.arguments = {"--list"};
    request.timeout_ns = 20 * kNanosPerSecond;
    const absl::StatusOr<ChildResult> listed = RunChild(request);
    EXPECT_TRUE(listed.ok());
    std::istringstream lines(listed->output);
    std::vector<std::string> names;
    for (std::string line; std::getline(lines, line);) names.push_back(line);
    return names;
  }

  TempRepository temp_;
  CompileOptions options_;
};

// Without it the rest would prove nothing.
TEST_F(HostileCompiler, WithoutAnAttackItsPlanIsTaken) {
  const absl::StatusOr<CompiledPlan> compiled = Try("nothing");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_EQ(compiled->report.plan_bytes, 4u);
}

TEST_F(HostileCompiler, EveryAttackIsRefusedAndLeavesNothing) {
  const std::vector<std::string> names = Names();
  ASSERT_GT(names.size(), 140u);
  const size_t open_files = OpenFiles();
  for (const std::string& name : names) {
    const bool waits = name == "sleep" || name == "flood" || name.rfind("burn", 0) == 0;
    options_.timeout_ms = waits ? 300 : 20'000;
    const std::string said = Refusal(name);
    if (waits) {
      EXPECT_THAT(said, HasSubstr("compiling took longer than 300 ms")) << name;
    } else if (name == "lie") {
      EXPECT_THAT(said, HasSubstr("reported a plan of 4 bytes and wrote 0"));
    } else if (name.rfind("fill", 0) == 0 || name == "mute" || name.rfind("a plan", 0) == 0) {
      EXPECT_THAT(said, HasSubstr("and without a report")) << name;
    } else {
      EXPECT_THAT(said, HasSubstr("ended by signal 31")) << name;  // SIGSYS
    }
    EXPECT_EQ(OpenFiles(), open_files) << name;
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << name << " left a process";
    EXPECT_EQ(errno, ECHILD);
  }
}

// The registry may be killed while a child that was taken over waits for ever.
TEST_F(HostileCompiler, NoChildOutlivesTheRegistry) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t registry = fork();
  if (registry == 0) {
    (void)Try("sleep").ok();
    _exit(0);
  }
  // Its child sleeps under the filter.
  pid_t child = 0;
  while (child == 0) {
    usleep(1000);
    const std::string task = std::to_string(registry);
    FILE* const list = fopen(("/proc/" + task + "/task/" + task + "/children").c_str(), "r");
    int pid = 0;
    const bool one = list != nullptr && fscanf(list, "%d", &pid) == 1;
    if (list != nullptr) fclose(list);
    FILE* const status =
        one ? fopen(("/proc/" + std::to_string(pid) + "/status").c_str(), "r") : nullptr;
    char line[256];
    bool filtered = false, sleeps = false;
    while (status != nullptr && fgets(line, sizeof line, status) != nullptr) {
      filtered = filtered || std::string(line) == "Seccomp:\t2\n";
      sleeps = sleeps || std::string(line).rfind("State:\tS", 0) == 0;
    }
    if (status != nullptr) fclose(status);
    if (filtered && sleeps) child = pid;
  }
  ASSERT_EQ(kill(registry, SIGKILL), 0);
  ASSERT_EQ(waitpid(registry, nullptr, 0), registry);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);  // without a death signal it never ends
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

}  // namespace
}  // namespace millrace
