// The features process: see README.md beside this file.
#include "services/features/features_stage.h"

int main(int argc, char** argv) {
  millrace::FeaturesStage stage;
  return millrace::RunWorker(argc, argv, millrace::Stage::kFeatures, &stage);
}
