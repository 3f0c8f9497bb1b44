// The part of XGBoost's C interface that the bench calls.
//
// Purpose: the calls, as the library of the wheel has them; a call returns 0, or else LastError()
//   says what is wrong. Who may call: one thread. Fails: NotFound where the library lacks one.
#pragma once

#include <stdint.h>

#include <string>

#include "absl/status/statusor.h"
#include "tools/bench/trees_bench/shared_library.h"

namespace millrace::bench {

struct XgboostApi {
  using Handle = void*;

  const char* (*LastError)();
  int (*CreateBooster)(const Handle* matrices, uint64_t count, Handle* out);
  int (*FreeBooster)(Handle booster);
  int (*LoadModel)(Handle booster, const char* file);
  int (*SetParam)(Handle booster, const char* name, const char* value);
  int (*CreateProxy)(Handle* out);
  int (*CreateMatrix)(const char* array, const char* config, Handle* out);
  int (*FreeMatrix)(Handle matrix);
  // `array` is a JSON text that says where the rows are; the result stays the booster's.
  int (*PredictFromDense)(Handle booster, const char* array, const char* config, Handle proxy,
                          const uint64_t** shape, uint64_t* dimensions, const float** result);
  int (*PredictFromMatrix)(Handle booster, Handle matrix, const char* config,
                           const uint64_t** shape, uint64_t* dimensions, const float** result);

  static absl::StatusOr<XgboostApi> Load(const std::string& path) {
    auto library = SharedLibrary::Open(path);
    if (!library.ok()) return library.status();
    XgboostApi api;
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGBGetLastError", &api.LastError));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGBoosterCreate", &api.CreateBooster));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGBoosterFree", &api.FreeBooster));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGBoosterLoadModel", &api.LoadModel));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGBoosterSetParam", &api.SetParam));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGProxyDMatrixCreate", &api.CreateProxy));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGDMatrixCreateFromDense", &api.CreateMatrix));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGDMatrixFree", &api.FreeMatrix));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGBoosterPredictFromDense", &api.PredictFromDense));
    MR_BENCH_RETURN_IF_ERROR(library->Find("XGBoosterPredictFromDMatrix", &api.PredictFromMatrix));
    return api;
  }
};

}  // namespace millrace::bench
