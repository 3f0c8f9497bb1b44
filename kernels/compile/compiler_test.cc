// millrace-compile as the registry runs it: descriptors in, a plan and one line out.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/golden_row.h"
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr char kCompiler[] = "kernels/compile/compiler";
constexpr char kGolden[] = "kernels/testdata/";

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

int SealedModel(const std::string& bytes) {
  const int fd = memfd_create("model", MFD_ALLOW_SEALING);
  EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  return fd;
}

struct Outcome {
  int status = -1;  // as waitpid gives it
  std::string line;
  std::vector<std::byte> plan;
};

Outcome Compile(const std::string& model, const std::vector<std::string>& flags = {}) {
  const int model_fd = SealedModel(model);
  const int plan_fd = memfd_create("plan", MFD_ALLOW_SEALING);
  int out[2];
  EXPECT_EQ(pipe(out), 0);
  std::vector<std::string> words = {kCompiler, "--model_fd=" + std::to_string(model_fd),
                                    "--plan_fd=" + std::to_string(plan_fd)};
  words.insert(words.end(), flags.begin(), flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], STDOUT_FILENO);
    execv(kCompiler, argv.data());
    _exit(127);
  }
  close(out[1]);
  Outcome run;
  char buffer[4096];
  for (ssize_t n; (n = read(out[0], buffer, sizeof buffer)) > 0;) run.line.append(buffer, n);
  EXPECT_EQ(waitpid(pid, &run.status, 0), pid);
  run.plan.resize(lseek(plan_fd, 0, SEEK_END));
  EXPECT_EQ(pread(plan_fd, run.plan.data(), run.plan.size(), 0),
            static_cast<ssize_t>(run.plan.size()));
  close(out[0]);
  close(model_fd);
  close(plan_fd);
  return run;
}

// The other mode: rows through a plan. What it printed, and the numbers behind the rows.
Outcome Evaluate(const std::vector<std::byte>& plan, const std::string& rows,
                 const std::string& dtype, std::vector<double>* numbers) {
  const int plan_fd = SealedModel({reinterpret_cast<const char*>(plan.data()), plan.size()});
  const int rows_fd = memfd_create("rows", MFD_ALLOW_SEALING);
  EXPECT_EQ(write(rows_fd, rows.data(), rows.size()), static_cast<ssize_t>(rows.size()));
  int out[2];
  EXPECT_EQ(pipe(out), 0);
  const std::string words[] = {kCompiler, "--plan_fd=" + std::to_string(plan_fd),
                               "--rows_fd=" + std::to_string(rows_fd), "--rows_dtype=" + dtype};
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], STDOUT_FILENO);
    execl(kCompiler, words[0].c_str(), words[1].c_str(), words[2].c_str(), words[3].c_str(),
          nullptr);
    _exit(127);
  }
  close(out[1]);
  Outcome run;
  char buffer[4096];
  for (ssize_t n; (n = read(out[0], buffer, sizeof buffer)) > 0;) run.line.append(buffer, n);
  EXPECT_EQ(waitpid(pid, &run.status, 0), pid);
  const size_t size = lseek(rows_fd, 0, SEEK_END);
  numbers->resize((size - rows.size()) / sizeof(double));
  EXPECT_EQ(pread(rows_fd, numbers->data(), size - rows.size(), rows.size()),
            static_cast<ssize_t>(size - rows.size()));
  for (const int fd : {out[0], plan_fd, rows_fd}) close(fd);
  return run;
}

int ExitCode(const Outcome& run) { return WIFEXITED(run.status) ? WEXITSTATUS(run.status) : -1; }

// Bit for bit what compiling reported for the golden row, however many rows there are.
TEST(CompilerTest, RunsRowsThroughAPlan) {
  for (const char* file : {"xgb34_softprob/model.json", "lgb47_multiclass/model.txt"}) {
    const Outcome compiled = Compile(ReadFile(std::string(kGolden) + file));
    ASSERT_EQ(ExitCode(compiled), 0) << compiled.line;
    const auto report = nlohmann::json::parse(compiled.line);
    std::string rows;
    for (size_t r = 0; r < 3; ++r) {
      for (size_t c = 0; c < report["features"]; ++c) {
        const float value = GoldenRowValue(c);
        rows.append(reinterpret_cast<const char*>(&value), sizeof value);
      }
    }
    std::vector<double> numbers, expected;
    const Outcome run = Evaluate(compiled.plan, rows, "FP32", &numbers);
    ASSERT_EQ(ExitCode(run), 0) << run.line;
    for (size_t r = 0; r < 3; ++r) {
      for (const char* list : {"golden_margins", "golden_predictions"}) {
        for (const auto& number : report[list]) expected.push_back(number);
      }
    }
    EXPECT_EQ(numbers, expected);
    EXPECT_EQ(run.line, "{\"numbers\":" + std::to_string(expected.size()) + ",\"ok\":true}\n");
  }
}

TEST(CompilerTest, RefusesRowsAndPlansThatDoNotFit) {
  const Outcome compiled = Compile(ReadFile(std::string(kGolden) + "xgb34_softprob/model.json"));
  std::vector<double> numbers;
  Outcome run = Evaluate(compiled.plan, "12345", "FP32", &numbers);
  EXPECT_EQ(ExitCode(run), 1);
  EXPECT_THAT(run.line, HasSubstr("5 were given"));
  run = Evaluate(compiled.plan, "", "FP32", &numbers);
  EXPECT_EQ(ExitCode(run), 1);
  run = Evaluate(compiled.plan, std::string(8, 'x'), "FP64", &numbers);
  EXPECT_THAT(run.line, HasSubstr("does not take rows of that type"));
  std::vector<std::byte> damaged = compiled.plan;
  damaged.resize(damaged.size() / 2);
  run = Evaluate(damaged, std::string(8, 'x'), "FP32", &numbers);
  EXPECT_EQ(ExitCode(run), 1) << run.line;
  EXPECT_EQ(numbers.size(), 0u);
}

TEST(CompilerTest, CompilesEachFormatAndReports) {
  const struct {
    const char* file;
    const char* format;
    const char* margin;
  } models[] = {{"xgb34_softprob/model.json", "xgboost_json", "FP32"},
                {"xgb34_softprob_ubj/model.ubj", "xgboost_ubj", "FP32"},
                {"lgb47_multiclass/model.txt", "lightgbm_text", "FP64"}};
  for (const auto& model : models) {
    const Outcome run = Compile(ReadFile(std::string(kGolden) + model.file));
    ASSERT_EQ(ExitCode(run), 0) << run.line;
    ASSERT_EQ(run.line.find('\n'), run.line.size() - 1) << "one line";
    const auto report = nlohmann::json::parse(run.line);
    const auto plan = TreePlan::Open(run.plan);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(report["ok"], true);
    EXPECT_EQ(report["format"], model.format);
    EXPECT_EQ(report["margin_dtype"], model.margin);
    EXPECT_EQ(report["prediction_dtype"], model.margin);
    EXPECT_EQ(report["features"], plan->features());
    EXPECT_EQ(report["groups"], plan->groups());
    EXPECT_EQ(report["prediction_columns"], plan->prediction_columns());
    EXPECT_EQ(report["trees"], plan->trees().size());
    EXPECT_EQ(report["nodes"], plan->node_count() + plan->leaf_count());
    EXPECT_EQ(report["plan_bytes"], run.plan.size());
    EXPECT_EQ(report["private_bytes"], CpuPrivateBytes(*TreePlan::Open(run.plan)));
    EXPECT_EQ(report["accepts_fp64"], plan->AcceptsInput(DataType::kFp64));
  }
}

TEST(CompilerTest, ReportsCategories) {
  const Outcome run = Compile(ReadFile(std::string(kGolden) + "lgb47_categorical/model.txt"));
  ASSERT_EQ(ExitCode(run), 0) << run.line;
  EXPECT_GT(nlohmann::json::parse(run.line)["max_categories"], 1);
}

TEST(CompilerTest, RefusesWithASentence) {
  for (const std::string& bad :
       {std::string(), std::string("hello"), std::string("{\"learner\":{}}"),
        std::string("tree\nversion=v9\n"), std::string(1 << 20, '['), std::string(1 << 20, '{')}) {
    const Outcome run = Compile(bad);
    EXPECT_EQ(ExitCode(run), 1) << run.line;
    const auto report = nlohmann::json::parse(run.line);
    EXPECT_EQ(report["ok"], false);
    EXPECT_FALSE(report["error"].get<std::string>().empty());
    EXPECT_TRUE(run.plan.empty());
  }
}

TEST(CompilerTest, RefusesTheWrongFormatAndUnknownFlags) {
  const std::string model = ReadFile(std::string(kGolden) + "lgb47_multiclass/model.txt");
  EXPECT_EQ(ExitCode(Compile(model, {"--format=xgboost_json"})), 1);
  EXPECT_EQ(ExitCode(Compile(model, {"--format=onnx"})), 1);
  EXPECT_EQ(ExitCode(Compile(model, {"--formal=auto"})), 2);
  EXPECT_EQ(ExitCode(Compile(model, {"--help"})), 0);
}

TEST(CompilerTest, MemoryIsLimited) {
  if (kInstrumented) GTEST_SKIP() << "a sanitizer needs its own address space";
  std::string bomb = "[";
  for (int i = 0; i < 4'000'000; ++i) bomb += "[],";
  bomb += "0]";
  // Memory runs out while reading, while parsing, or in between, by the limit.
  for (const int limit_mb : {64, 80, 100, 128, 192, 256}) {
    const Outcome run =
        Compile(bomb, {"--max_memory_mb=" + std::to_string(limit_mb), "--format=xgboost_json"});
    EXPECT_EQ(ExitCode(run), 1) << limit_mb << ": " << run.status;
    EXPECT_EQ(nlohmann::json::parse(run.line)["ok"], false);
    if (limit_mb < 128) {
      EXPECT_THAT(run.line, HasSubstr("memory limit"));
    }
  }
}

}  // namespace
}  // namespace millrace
