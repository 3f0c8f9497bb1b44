// LightGBM's C API: raw scores of float32 rows, one thread. A single row goes through the call that
// is set up once; a batch through the call for a matrix, and as another subject row by row.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tools/bench/trees_bench/lightgbm_api.h"
#include "tools/bench/trees_bench/subject.h"

namespace millrace::bench {
namespace {

constexpr char kParameters[] = "num_threads=1";
constexpr int kAllIterations = -1;

class Booster {
 public:
  explicit Booster(const LightgbmApi& api) : api_(api) {}
  ~Booster() {
    if (row_ != nullptr) api_.FreeRow(row_);
    if (handle_ != nullptr) api_.FreeBooster(handle_);
  }
  Booster(const Booster&) = delete;
  Booster& operator=(const Booster&) = delete;

  absl::Status Open(const std::string& model, size_t features) {
    features_ = static_cast<int32_t>(features);
    int iterations = 0;
    if (api_.LoadModel(model.c_str(), &iterations, &handle_) != 0 ||
        api_.InitRow(handle_, LightgbmApi::kRawScore, 0, kAllIterations, LightgbmApi::kFloat32,
                     features_, kParameters, &row_) != 0) {
      return absl::InternalError(fault());
    }
    return absl::OkStatus();
  }

  bool PredictRow(const float* row, int64_t* length, double* margins) const {
    return api_.PredictRow(row_, row, length, margins) == 0;
  }
  bool PredictMatrix(const float* rows, size_t count, int64_t* length, double* margins) const {
    return api_.PredictMatrix(handle_, rows, LightgbmApi::kFloat32, static_cast<int32_t>(count),
                              features_, 1, LightgbmApi::kRawScore, 0, kAllIterations, kParameters,
                              length, margins) == 0;
  }
  std::string fault() const {
    return absl::StrCat("LightGBM failed or gave another number of margins: ", api_.LastError());
  }

 private:
  const LightgbmApi api_;
  LightgbmApi::Handle handle_ = nullptr, row_ = nullptr;
  int32_t features_ = 0;
};

class LightgbmSubject : public Subject {
 public:
  LightgbmSubject(std::string name, const LightgbmApi& api, const Rows& rows, bool always_rows)
      : name_(std::move(name)),
        booster_(api),
        rows_(rows),
        always_rows_(always_rows),
        store_(rows, DataType::kFp64) {}

  absl::Status Open(const std::string& model) { return booster_.Open(model, rows_.features); }

  std::string name() const override { return name_; }
  DataType margin_type() const override { return DataType::kFp64; }

  absl::Status Prepare(size_t batch) override {
    batch_ = batch;
    by_rows_ = always_rows_ || batch == 1;
    store_.SetBatch(batch);
    return absl::OkStatus();
  }

  bool Call(size_t chunk) override {
    const float* rows = rows_.Chunk(chunk, batch_);
    auto* margins = reinterpret_cast<double*>(store_.Chunk(chunk));
    int64_t length = 0;
    const auto groups = static_cast<int64_t>(rows_.groups);
    if (!by_rows_) {
      return booster_.PredictMatrix(rows, batch_, &length, margins) &&
             length == groups * static_cast<int64_t>(batch_);
    }
    for (size_t row = 0; row < batch_; ++row) {
      if (!booster_.PredictRow(rows + row * rows_.features, &length,
                               margins + row * rows_.groups) ||
          length != groups) {
        return false;
      }
    }
    return true;
  }

  std::string fault() const override { return booster_.fault(); }
  const std::byte* margins(size_t chunk) const override { return store_.Chunk(chunk); }
  void Poison() override { store_.Poison(); }

 private:
  const std::string name_;
  Booster booster_;
  const Rows rows_;
  const bool always_rows_;
  MarginStore store_;
  size_t batch_ = 0;
  bool by_rows_ = false;
};

SubjectOr Make(const Case& test_case, const PeerLibrary& library, bool always_rows) {
  auto api = LightgbmApi::Load(library.path);
  if (!api.ok()) return api.status();
  auto subject = std::make_unique<LightgbmSubject>(
      library.subject + (always_rows ? kRowsSuffix : ""), *api, test_case.view(), always_rows);
  MR_BENCH_RETURN_IF_ERROR(subject->Open(test_case.model));
  return SubjectOr(std::move(subject));
}

}  // namespace

SubjectOr MakeLightgbm(const Case& test_case, const PeerLibrary& library) {
  return Make(test_case, library, false);
}

SubjectOr MakeLightgbmRows(const Case& test_case, const PeerLibrary& library) {
  return Make(test_case, library, true);
}

absl::StatusOr<AlignedBytes> LightgbmTruth(const Case& test_case, const PeerLibrary& library) {
  auto api = LightgbmApi::Load(library.path);
  if (!api.ok()) return api.status();
  Booster booster(*api);
  MR_BENCH_RETURN_IF_ERROR(booster.Open(test_case.model, test_case.features));
  const Rows rows = test_case.view();
  AlignedBytes truth(rows.rows * rows.groups * sizeof(double));
  int64_t length = 0;
  if (!booster.PredictMatrix(rows.data, rows.rows, &length,
                             reinterpret_cast<double*>(truth.data())) ||
      length != static_cast<int64_t>(rows.rows * rows.groups)) {
    return absl::InternalError(booster.fault());
  }
  return truth;
}

}  // namespace millrace::bench
