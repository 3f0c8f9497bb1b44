#include "services/registry/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "ipc/memfd.h"
#include "services/registry/child_process.h"
#include "services/registry/sealed_file.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

absl::Status AboutTheFile(const std::string& what) { return absl::InvalidArgumentError(what); }

// What the child left behind, checked and made immutable.
absl::Status FinishPlan(int plan, uint64_t reported_bytes) {
  struct stat info;
  if (fstat(plan, &info) != 0) return absl::InternalError("the plan's size cannot be read");
  if (static_cast<uint64_t>(info.st_size) != reported_bytes) {
    return AboutTheFile(absl::StrCat("the compiler reported a plan of ", reported_bytes,
                                     " bytes and wrote ", info.st_size));
  }
  // A hole would be filled when execution first reads it, which can fail then; here it can fail
  // now.
  if (const int error = posix_fallocate(plan, 0, info.st_size)) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for the plan: ", strerror(error)));
  }
  if (absl::Status s = SealImmutable(plan); !s.ok()) {
    return AboutTheFile("the plan is still held writable by somebody");
  }
  return absl::OkStatus();
}

absl::StatusOr<CompileReport> ReadResult(const ChildResult& child, int64_t timeout_ms) {
  if (!child.errors.empty()) Log(LogLevel::kWarning, "compiler_said", {{"text", child.errors}});
  if (child.timed_out) {
    return AboutTheFile(absl::StrCat("compiling took longer than ", timeout_ms, " ms"));
  }
  // A refusal ends with another code than 0 and still says why.
  if (child.signal == 0 && !child.output.empty()) {
    absl::StatusOr<CompileReport> report = ParseCompileReport(child.output);
    if (!report.ok() || child.exit_code == 0) return report;
  }
  if (child.signal != 0) {
    return AboutTheFile(absl::StrCat("the compiler was ended by signal ", child.signal, " (",
                                     strsignal(child.signal), ")"));
  }
  return AboutTheFile(
      absl::StrCat("the compiler ended with code ", child.exit_code, " and without a report"));
}

// A limited child with these descriptors as 3 and 4.
absl::StatusOr<ChildResult> StartCompiler(const CompileOptions& options, std::vector<int> fds,
                                          std::vector<std::string> arguments) {
  MR_CHECK(options.max_memory_mb > 0 && options.timeout_ms > 0, "a compile has its limits");
  ChildRequest request;
  request.program = options.compiler;
  request.fds = std::move(fds);
  request.timeout_ns = options.timeout_ms * kNanosPerMilli;
  request.cpus = options.cpus;
  request.background = options.background;
  request.arguments = std::move(arguments);
  request.arguments.push_back(absl::StrCat("--max_memory_mb=", options.max_memory_mb));
  request.arguments.push_back(absl::StrCat("--max_cpu_s=", options.timeout_ms / 1000 + 1));
  if (options.background) {
    // As long as it is of the lowest rank (child_process.h).
    request.arguments.push_back(absl::StrCat("--yields_ms=", options.timeout_ms / 2));
  }
  absl::StatusOr<ChildResult> child = RunChild(request);
  if (child.ok()) return child;
  return absl::Status(child.status().code(),
                      absl::StrCat("the compiler: ", child.status().message()));
}

absl::StatusOr<std::vector<double>> ReadNumbers(int fd, size_t from) {
  struct stat info;
  if (fstat(fd, &info) != 0) return absl::InternalError("the results cannot be read");
  const size_t size = static_cast<size_t>(info.st_size);
  if (size < from || (size - from) % sizeof(double) != 0) {
    return AboutTheFile("the compiler wrote something else than results");
  }
  std::vector<double> numbers((size - from) / sizeof(double));
  for (size_t done = 0; done < size - from;) {
    const ssize_t n = pread(fd, reinterpret_cast<char*>(numbers.data()) + done, size - from - done,
                            static_cast<off_t>(from + done));
    if (n <= 0) return absl::InternalError("the results cannot be read");
    done += n;
  }
  return numbers;
}

}  // namespace

absl::StatusOr<std::vector<double>> EvaluatePlan(int plan, DataType input, const std::string& rows,
                                                 const CompileOptions& options) {
  const Fd memory(memfd_create("rows", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid() ||
      write(memory.get(), rows.data(), rows.size()) != static_cast<ssize_t>(rows.size())) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for rows: ", strerror(errno)));
  }
  const absl::StatusOr<ChildResult> child = StartCompiler(
      options, {plan, memory.get()},
      {"--plan_fd=3", "--rows_fd=4", absl::StrCat("--rows_dtype=", ToAbsl(DataTypeName(input)))});
  if (!child.ok()) return child.status();
  if (child->timed_out || child->signal != 0 || child->exit_code != 0) {
    const absl::Status said = ReadResult(*child, options.timeout_ms).status();
    return said.ok() ? AboutTheFile("the compiler did not run the rows") : said;
  }
  return ReadNumbers(memory.get(), rows.size());
}

absl::StatusOr<CompiledPlan> RunCompiler(int file, const std::string& format,
                                         const CompileOptions& options) {
  absl::StatusOr<Fd> model = CopySealed(file, static_cast<size_t>(options.max_memory_mb) << 20);
  if (!model.ok()) return model.status();
  CompiledPlan compiled;
  compiled.plan = Fd(memfd_create("plan", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!compiled.plan.valid()) {
    return absl::ResourceExhaustedError(absl::StrCat("memfd_create: ", strerror(errno)));
  }
  const absl::StatusOr<ChildResult> child =
      StartCompiler(options, {model->get(), compiled.plan.get()},
                    {absl::StrCat("--format=", format), "--model_fd=3", "--plan_fd=4"});
  if (!child.ok()) return child.status();
  absl::StatusOr<CompileReport> report = ReadResult(*child, options.timeout_ms);
  if (!report.ok()) return report.status();
  compiled.report = std::move(*report);
  if (absl::Status s = FinishPlan(compiled.plan.get(), compiled.report.plan_bytes); !s.ok()) {
    return s;
  }
  return compiled;
}

}  // namespace millrace
