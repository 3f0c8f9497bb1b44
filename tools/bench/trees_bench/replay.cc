// A shared library with the calls of XGBoost and LightGBM that the bench makes, for its test: it
// answers rows that it knows with the margins that belong to them.
//
// REPLAY_ROWS and REPLAY_MARGINS name the files, REPLAY_FEATURES and REPLAY_GROUPS the columns.
// REPLAY_WRONG_ROW has its last margin's lowest bit flipped: where REPLAY_WRONG is "in_place" in
// the calls that are timed, where it is "all" in every call.
#include <stdint.h>
#include <stdlib.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using Handle = void*;

std::string FileOf(const char* variable) {
  std::ifstream in(getenv(variable), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Replay {
  const size_t features = strtoul(getenv("REPLAY_FEATURES"), nullptr, 10);
  const size_t groups = strtoul(getenv("REPLAY_GROUPS"), nullptr, 10);
  const std::string rows = FileOf("REPLAY_ROWS"), margins = FileOf("REPLAY_MARGINS");
  const std::string wrong = getenv("REPLAY_WRONG") != nullptr ? getenv("REPLAY_WRONG") : "";
  const size_t wrong_row =
      getenv("REPLAY_WRONG_ROW") != nullptr ? strtoul(getenv("REPLAY_WRONG_ROW"), nullptr, 10) : 0;

  // The margins of `count` rows; false for a row that is not known.
  bool Answer(const char* asked, size_t count, bool in_place, char* out) const {
    const size_t row_bytes = features * sizeof(float);
    const size_t known = rows.size() / row_bytes, margin_bytes = margins.size() / known;
    for (size_t i = 0; i < count; ++i) {
      size_t row = 0;
      while (row < known &&
             std::memcmp(rows.data() + row * row_bytes, asked + i * row_bytes, row_bytes) != 0) {
        ++row;
      }
      if (row == known) return false;
      char* margin = out + i * margin_bytes;
      std::memcpy(margin, margins.data() + row * margin_bytes, margin_bytes);
      if (row == wrong_row && (wrong == "all" || (wrong == "in_place" && in_place))) {
        margin[margin_bytes - margin_bytes / groups] ^= 1;  // little-endian
      }
    }
    return true;
  }
};

const Replay& The() {
  static const Replay* const replay = new Replay();
  return *replay;
}

struct Matrix {
  const char* data = nullptr;
  size_t rows = 0;
};

Matrix Parse(const char* array) {
  unsigned long long address = 0;
  size_t rows = 0;
  if (std::sscanf(array, "{\"data\":[%llu,true],\"shape\":[%zu,", &address, &rows) != 2) return {};
  return {reinterpret_cast<const char*>(static_cast<uintptr_t>(address)), rows};
}

int Predict(const Matrix& matrix, bool in_place, const uint64_t** shape, uint64_t* dimensions,
            const float** result) {
  static auto* const margins = new std::vector<float>();
  static uint64_t shapes[2];
  margins->resize(matrix.rows * The().groups);
  shapes[0] = matrix.rows;
  shapes[1] = The().groups;
  *shape = shapes;
  *dimensions = 2;
  *result = margins->data();
  return matrix.data != nullptr && The().Answer(matrix.data, matrix.rows, in_place,
                                                reinterpret_cast<char*>(margins->data()))
             ? 0
             : -1;
}

int nothing;

}  // namespace

extern "C" {

const char* XGBGetLastError() { return "replay knows no such row"; }
int XGBoosterCreate(const Handle*, uint64_t, Handle* out) {
  *out = &nothing;
  return 0;
}
int XGBoosterFree(Handle) { return 0; }
int XGBoosterLoadModel(Handle, const char*) { return 0; }
int XGBoosterSetParam(Handle, const char*, const char*) { return 0; }
int XGProxyDMatrixCreate(Handle* out) {
  *out = new Matrix();
  return 0;
}
int XGDMatrixCreateFromDense(const char* array, const char*, Handle* out) {
  *out = new Matrix(Parse(array));
  return 0;
}
int XGDMatrixFree(Handle matrix) {
  delete static_cast<Matrix*>(matrix);
  return 0;
}
int XGBoosterPredictFromDense(Handle, const char* array, const char*, Handle,
                              const uint64_t** shape, uint64_t* dimensions, const float** result) {
  return Predict(Parse(array), true, shape, dimensions, result);
}
int XGBoosterPredictFromDMatrix(Handle, Handle matrix, const char*, const uint64_t** shape,
                                uint64_t* dimensions, const float** result) {
  return Predict(*static_cast<Matrix*>(matrix), false, shape, dimensions, result);
}

const char* LGBM_GetLastError() { return "replay knows no such row"; }
int LGBM_BoosterCreateFromModelfile(const char*, int* iterations, Handle* out) {
  *iterations = 1;
  *out = &nothing;
  return 0;
}
int LGBM_BoosterFree(Handle) { return 0; }
int LGBM_FastConfigFree(Handle) { return 0; }
int LGBM_BoosterPredictForMatSingleRowFastInit(Handle, int, int, int, int, int32_t, const char*,
                                               Handle* out) {
  *out = &nothing;
  return 0;
}
int LGBM_BoosterPredictForMatSingleRowFast(Handle, const void* row, int64_t* length,
                                           double* result) {
  *length = static_cast<int64_t>(The().groups);
  return The().Answer(static_cast<const char*>(row), 1, true, reinterpret_cast<char*>(result)) ? 0
                                                                                               : -1;
}
int LGBM_BoosterPredictForMat(Handle, const void* rows, int, int32_t count, int32_t, int, int, int,
                              int, const char*, int64_t* length, double* result) {
  *length = static_cast<int64_t>(The().groups) * count;
  const auto asked = static_cast<size_t>(count);
  return The().Answer(static_cast<const char*>(rows), asked, false, reinterpret_cast<char*>(result))
             ? 0
             : -1;
}

}  // extern "C"
