// A model's file to a plan, by a child process.
//
// Purpose: the file is untrusted and its formats are large, so it is parsed where a fault costs
//   nothing: in a child with a memory limit, a time limit and three descriptors.
// Who may call: one thread at a time in a process (child_process.h). Ownership: `file` stays the
//   caller's; the plan is a memfd of its reader's.
// Invariants: 1. The child sees a sealed copy of the file, not the file. 2. A plan that is returned
//   has the size its report says, is backed by memory to its end, and is sealed against every
//   change: a child that still held it writable makes the sealing fail.
// What fails: the child's own sentence; a child that crashes, hangs or says nonsense is an
//   INVALID_ARGUMENT about the file; NOT_FOUND and RESOURCE_EXHAUSTED are about this machine.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/fd.h"
#include "services/registry/compile_report.h"

namespace millrace {

struct CompileOptions {
  std::string compiler;       // path of the program
  int64_t max_memory_mb = 0;  // of the child; a file larger than this is not tried
  int64_t timeout_ms = 0;
  std::vector<int> cpus = {};  // that the child may use; empty: all
  bool background = false;     // others are served meanwhile: it gives way to them
};

struct CompiledPlan {
  CompileReport report;
  Fd plan;
};

// `format`: "auto", "xgboost_json", "xgboost_ubj" or "lightgbm_text".
absl::StatusOr<CompiledPlan> RunCompiler(int file, const std::string& format,
                                         const CompileOptions& options);

// What the scalar reference makes of rows of that type, in the child, from the plan that is to be
// served: of each row its margins, then its predictions. Fails as RunCompiler does.
absl::StatusOr<std::vector<double>> EvaluatePlan(int plan, DataType input, const std::string& rows,
                                                 const CompileOptions& options);

}  // namespace millrace
