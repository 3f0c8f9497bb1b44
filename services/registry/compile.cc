#include "services/registry/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "ipc/memfd.h"
#include "services/registry/child_process.h"
#include "services/registry/sealed_file.h"

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

}  // namespace

absl::StatusOr<CompiledPlan> RunCompiler(int file, const std::string& format,
                                         const CompileOptions& options) {
  MR_CHECK(options.max_memory_mb > 0 && options.timeout_ms > 0, "a compile has its limits");
  absl::StatusOr<Fd> model = CopySealed(file, static_cast<size_t>(options.max_memory_mb) << 20);
  if (!model.ok()) return model.status();
  CompiledPlan compiled;
  compiled.plan = Fd(memfd_create("plan", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!compiled.plan.valid()) {
    return absl::ResourceExhaustedError(absl::StrCat("memfd_create: ", strerror(errno)));
  }
  ChildRequest request;
  request.program = options.compiler;
  request.fds = {model->get(), compiled.plan.get()};
  request.timeout_ns = options.timeout_ms * kNanosPerMilli;
  request.arguments = {absl::StrCat("--format=", format), "--model_fd=3", "--plan_fd=4",
                       absl::StrCat("--max_memory_mb=", options.max_memory_mb),
                       absl::StrCat("--max_cpu_s=", options.timeout_ms / 1000 + 1)};
  absl::StatusOr<ChildResult> child = RunChild(request);
  if (!child.ok()) {
    return absl::Status(child.status().code(),
                        absl::StrCat("the compiler: ", child.status().message()));
  }
  absl::StatusOr<CompileReport> report = ReadResult(*child, options.timeout_ms);
  if (!report.ok()) return report.status();
  compiled.report = std::move(*report);
  if (absl::Status s = FinishPlan(compiled.plan.get(), compiled.report.plan_bytes); !s.ok()) {
    return s;
  }
  return compiled;
}

}  // namespace millrace
