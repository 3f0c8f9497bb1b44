// The execution process: see README.md beside this file.
#include "kernels/cpu/cpu_kernel.h"
#include "services/execution/execution_stage.h"

int main(int argc, char** argv) {
  millrace::ExecutionStage stage(&millrace::CpuBackend());
  return millrace::RunWorker(argc, argv, millrace::Stage::kExecution, &stage);
}
