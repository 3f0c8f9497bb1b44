// millrace-compile: one model file in, one plan out, then gone. README.md beside this file has its
// page: flags, report, exit codes.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <cmath>
#include <exception>
#include <iostream>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "common/golden_row.h"
#include "kernels/compile/compile.h"
#include "kernels/compile/evaluate_rows.h"
#include "kernels/compile/pace.h"
#include "kernels/compile/sandbox.h"
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"

namespace millrace {
namespace {

constexpr int kDone = 0;
constexpr int kRefused = 1;
constexpr int kUsage = 2;
// More are not told: the line that they would stand in is limited.
constexpr size_t kMostGoldenNumbers = 1024;

struct Options {
  std::string format = "auto";
  int model_fd = -1;
  int plan_fd = -1;
  int rows_fd = -1;
  std::string rows_dtype = "FP32";
  uint64_t max_memory_mb = 4096;
  uint64_t max_cpu_s = 120;
  int64_t yields_ms = 0;
};

std::string Text(std::string_view text) { return std::string(text); }

void PrintLine(const nlohmann::json& report) {
  // A name in the model need not be UTF-8; the report always is.
  const std::string line =
      report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = write(STDOUT_FILENO, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody listens; the exit code still tells
    done += static_cast<size_t>(n);
  }
}

int Refuse(std::string_view why) {
  PrintLine({{"ok", false}, {"error", Text(why)}});
  return kRefused;
}

// The JSON library allocates in destructors, which must not throw: out of memory there ends here,
// and is a refusal like any other. Anything else is a broken invariant.
[[noreturn]] void OnTerminate() {
  try {
    if (const std::exception_ptr exception = std::current_exception()) {
      std::rethrow_exception(exception);
    }
  } catch (const std::bad_alloc&) {
    constexpr std::string_view kLine =
        "{\"error\":\"the model does not fit the compiler's memory limit\",\"ok\":false}\n";
    [[maybe_unused]] const ssize_t n = write(STDOUT_FILENO, kLine.data(), kLine.size());
    _exit(kRefused);
  } catch (...) {
  }
  abort();
}

absl::StatusOr<std::string> ReadFile(int fd) {
  constexpr size_t kStep = 128 << 10;  // some 100 us, which nobody can interrupt
  std::string file;
  for (size_t done = 0;;) {
    file.resize(done + kStep);
    const ssize_t n = pread(fd, file.data() + done, kStep, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::InternalError(std::string("cannot read the file: ") + strerror(errno));
    done += static_cast<size_t>(n);
    if (n == 0) {
      file.resize(done);
      return file;
    }
  }
}

absl::Status WriteAt(int fd, size_t offset, const void* bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = pwrite(fd, static_cast<const char*>(bytes) + done, size - done,
                             static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return absl::InternalError(std::string("cannot write the result: ") + strerror(errno));
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

// The greatest category of any split, plus one; 0 where no split is categorical.
uint64_t MaxCategories(const TreePlan& plan) {
  uint64_t most = 0;
  for (const PlanFeature& feature : plan.used_features()) {
    if (feature.row_count == 0) continue;
    const PlanWordRow& last = plan.word_rows()[feature.first_row + feature.row_count - 1];
    for (const uint32_t word : plan.words().subspan(last.first_word, last.count)) {
      most = std::max<uint64_t>(most, uint64_t{feature.row_count} * 32 - std::countl_zero(word));
    }
  }
  return most;
}

// `type` numbers; empty where one of them is no number that JSON can hold.
nlohmann::json Numbers(const std::vector<double>& bytes, DataType type, size_t count) {
  nlohmann::json numbers = nlohmann::json::array();
  for (size_t i = 0; i < count; ++i) {
    const double value =
        type == DataType::kFp64 ? bytes[i] : reinterpret_cast<const float*>(bytes.data())[i];
    if (!std::isfinite(value)) return nlohmann::json::array();
    numbers.push_back(value);
  }
  return numbers;
}

// What the scalar reference makes of the golden row: later what serves is held against it.
void AddGolden(const TreePlan& plan, nlohmann::json* report) {
  const size_t groups = plan.groups(), columns = plan.prediction_columns();
  if (groups + columns > kMostGoldenNumbers) return;
  std::vector<float> row(plan.features());
  for (size_t c = 0; c < row.size(); ++c) row[c] = GoldenRowValue(c);
  std::vector<double> margins(groups), predictions(columns);  // room for floats, too
  reference::Margins(plan, DataType::kFp32, row.data(), 1, margins.data());
  reference::Predictions(plan, margins.data(), 1, predictions.data());
  (*report)["golden_margins"] = Numbers(margins, plan.margin_type(), groups);
  (*report)["golden_predictions"] = Numbers(predictions, plan.prediction_type(), columns);
}

nlohmann::json Report(const CompiledModel& model) {
  const absl::StatusOr<TreePlan> plan = TreePlan::Open(model.plan);
  MR_CHECK(plan.ok(), "the compiler opened this plan before");
  nlohmann::json names = nlohmann::json::array();
  for (uint32_t i = 0; plan->has_feature_names() && i < plan->features(); ++i) {
    names.push_back(Text(plan->feature_name(i)));
  }
  nlohmann::json report = {{"ok", true},
                           {"format", Text(ModelFormatName(model.format))},
                           {"producer", model.producer},
                           {"features", plan->features()},
                           {"groups", plan->groups()},
                           {"margin_dtype", Text(DataTypeName(plan->margin_type()))},
                           {"prediction_dtype", Text(DataTypeName(plan->prediction_type()))},
                           {"prediction_columns", plan->prediction_columns()},
                           {"accepts_fp64", plan->AcceptsInput(DataType::kFp64)},
                           {"objective", Text(plan->objective())},
                           {"trees", plan->trees().size()},
                           {"nodes", plan->node_count() + plan->leaf_count()},
                           {"max_categories", MaxCategories(*plan)},
                           {"plan_bytes", model.plan.size()},
                           {"private_bytes", CpuPrivateBytes(*plan)},
                           {"feature_names", std::move(names)}};
  AddGolden(*plan, &report);
  return report;
}

int CompileFds(const Options& options, ModelFormat format) {
  const absl::Status sandbox = EnterSandbox({.model_fd = options.model_fd,
                                             .plan_fd = options.plan_fd,
                                             .max_memory_bytes = options.max_memory_mb << 20,
                                             .max_cpu_s = options.max_cpu_s,
                                             .yields = options.yields_ms > 0});
  if (!sandbox.ok()) return Refuse({sandbox.message().data(), sandbox.message().size()});
  std::set_terminate(&OnTerminate);
  try {
    const absl::StatusOr<std::string> file = ReadFile(options.model_fd);
    if (!file.ok()) return Refuse(file.status().ToString());
    const absl::StatusOr<CompiledModel> model = CompileModel(*file, format);
    if (!model.ok()) {
      return Refuse({model.status().message().data(), model.status().message().size()});
    }
    const absl::Status written =
        WriteAt(options.plan_fd, 0, model->plan.data(), model->plan.size());
    if (!written.ok()) return Refuse({written.message().data(), written.message().size()});
    PrintLine(Report(*model));
    return kDone;
  } catch (const std::bad_alloc&) {
    return Refuse("the model does not fit the compiler's memory limit");
  }
}

// The other mode: rows through a plan. They are only copied before the sandbox is entered.
int EvaluateFds(const Options& options) {
  const absl::StatusOr<std::string> rows = ReadFile(options.rows_fd);
  if (!rows.ok()) return Refuse(rows.status().ToString());
  const absl::Status sandbox = EnterSandbox({.model_fd = options.plan_fd,
                                             .plan_fd = options.rows_fd,
                                             .max_memory_bytes = options.max_memory_mb << 20,
                                             .max_cpu_s = options.max_cpu_s,
                                             .yields = options.yields_ms > 0});
  if (!sandbox.ok()) return Refuse({sandbox.message().data(), sandbox.message().size()});
  std::set_terminate(&OnTerminate);
  try {
    const absl::StatusOr<std::string> plan = ReadFile(options.plan_fd);
    if (!plan.ok()) return Refuse(plan.status().ToString());
    const DataType input = ParseDataType(options.rows_dtype).value_or(DataType::kInvalid);
    const absl::StatusOr<std::vector<double>> results = EvaluateRows(*plan, input, *rows);
    if (!results.ok()) {
      return Refuse({results.status().message().data(), results.status().message().size()});
    }
    const absl::Status written =
        WriteAt(options.rows_fd, rows->size(), results->data(), results->size() * sizeof(double));
    if (!written.ok()) return Refuse({written.message().data(), written.message().size()});
    PrintLine({{"ok", true}, {"numbers", results->size()}});
    return kDone;
  } catch (const std::bad_alloc&) {
    return Refuse("the plan does not fit the compiler's memory limit");
  }
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app{"Compiles a model file into a plan, in a sandbox."};
  app.add_option("--format", options.format, "auto, xgboost_json, xgboost_ubj, lightgbm_text");
  auto* model = app.add_option("--model_fd", options.model_fd, "descriptor of the model file");
  app.add_option("--plan_fd", options.plan_fd, "descriptor the plan is written to")->required();
  app.add_option("--rows_fd", options.rows_fd,
                 "instead of compiling: descriptor of rows, behind which what the plan makes of "
                 "them is written")
      ->excludes(model);
  app.add_option("--rows_dtype", options.rows_dtype, "of these rows: FP32 or FP64");
  app.add_option("--max_memory_mb", options.max_memory_mb, "limit of address space")
      ->check(CLI::Range(64, 1 << 20))
      ->capture_default_str();
  app.add_option("--max_cpu_s", options.max_cpu_s, "limit of processor time")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  app.add_option("--yields_ms", options.yields_ms, "for so long it lets others run each 100 us")
      ->check(CLI::NonNegativeNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  if (options.yields_ms > 0) YieldOften(options.yields_ms * 1'000'000);
  if (options.rows_fd >= 0) return EvaluateFds(options);
  if (options.model_fd < 0) {
    std::cerr << "--model_fd or --rows_fd is required\n";
    return kUsage;
  }
  const absl::StatusOr<ModelFormat> format = ParseModelFormat(options.format);
  if (!format.ok())
    return Refuse({format.status().message().data(), format.status().message().size()});
  return CompileFds(options, *format);
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
