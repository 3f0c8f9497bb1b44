// The part of LightGBM's C interface that the bench calls.
//
// Purpose: the calls, as the library of the wheel has them; a call returns 0, or else LastError()
//   says what is wrong. Who may call: one thread. Fails: NotFound where the library lacks one.
#pragma once

#include <stdint.h>

#include <string>

#include "absl/status/statusor.h"
#include "tools/bench/trees_bench/shared_library.h"

namespace millrace::bench {

struct LightgbmApi {
  using Handle = void*;
  static constexpr int kFloat32 = 0;
  static constexpr int kRawScore = 1;

  const char* (*LastError)();
  int (*LoadModel)(const char* file, int* iterations, Handle* out);
  int (*FreeBooster)(Handle booster);
  // What a row needs is set up once, and kept in `out`.
  int (*InitRow)(Handle booster, int predict_type, int first_iteration, int iterations,
                 int data_type, int32_t columns, const char* parameters, Handle* out);
  int (*PredictRow)(Handle config, const void* row, int64_t* length, double* result);
  int (*FreeRow)(Handle config);
  int (*PredictMatrix)(Handle booster, const void* rows, int data_type, int32_t count,
                       int32_t columns, int row_major, int predict_type, int first_iteration,
                       int iterations, const char* parameters, int64_t* length, double* result);

  static absl::StatusOr<LightgbmApi> Load(const std::string& path) {
    auto library = SharedLibrary::Open(path);
    if (!library.ok()) return library.status();
    LightgbmApi api;
    MR_BENCH_RETURN_IF_ERROR(library->Find("LGBM_GetLastError", &api.LastError));
    MR_BENCH_RETURN_IF_ERROR(library->Find("LGBM_BoosterCreateFromModelfile", &api.LoadModel));
    MR_BENCH_RETURN_IF_ERROR(library->Find("LGBM_BoosterFree", &api.FreeBooster));
    MR_BENCH_RETURN_IF_ERROR(
        library->Find("LGBM_BoosterPredictForMatSingleRowFastInit", &api.InitRow));
    MR_BENCH_RETURN_IF_ERROR(
        library->Find("LGBM_BoosterPredictForMatSingleRowFast", &api.PredictRow));
    MR_BENCH_RETURN_IF_ERROR(library->Find("LGBM_FastConfigFree", &api.FreeRow));
    MR_BENCH_RETURN_IF_ERROR(library->Find("LGBM_BoosterPredictForMat", &api.PredictMatrix));
    return api;
  }
};

}  // namespace millrace::bench
