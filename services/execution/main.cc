// The execution process: see README.md beside this file.
#include "services/execution/cpu_backend.h"
#include "services/execution/execution_stage.h"

int main(int argc, char** argv) {
  millrace::ExecutionStage stage(&millrace::ServingBackend());
  return millrace::RunWorker(argc, argv, millrace::Stage::kExecution, &stage);
}
