// The aggregation process: see README.md beside this file.
#include "services/aggregation/aggregation_stage.h"

int main(int argc, char** argv) {
  millrace::AggregationStage stage;
  return millrace::RunWorker(argc, argv, millrace::Stage::kAggregation, &stage);
}
