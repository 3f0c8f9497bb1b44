// XGBoost's C library: in place, from the rows as they lie, margins, one thread.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/bench/trees_bench/subject.h"
#include "tools/bench/trees_bench/xgboost_api.h"

namespace millrace::bench {
namespace {

// "type":1 is the margin; all trees.
constexpr char kPredict[] =
    R"({"type":1,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false,)"
    R"("missing":NaN,"cache_id":0})";
constexpr char kMatrix[] = R"({"missing":NaN,"nthread":1})";

std::string ArrayText(const float* data, size_t rows, size_t columns) {
  return absl::StrFormat(R"({"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3})",
                         reinterpret_cast<uintptr_t>(data), rows, columns);
}

class Booster {
 public:
  explicit Booster(const XgboostApi& api) : api_(api) {}
  ~Booster() {
    if (handle_ != nullptr) api_.FreeBooster(handle_);
  }
  Booster(const Booster&) = delete;
  Booster& operator=(const Booster&) = delete;

  absl::Status Open(const std::string& model) {
    MR_BENCH_RETURN_IF_ERROR(Ok(api_.CreateBooster(nullptr, 0, &handle_)));
    MR_BENCH_RETURN_IF_ERROR(Ok(api_.SetParam(handle_, "nthread", "1")));
    MR_BENCH_RETURN_IF_ERROR(Ok(api_.LoadModel(handle_, model.c_str())));
    // Loading may bring the thread count of the file.
    return Ok(api_.SetParam(handle_, "nthread", "1"));
  }

  absl::Status Ok(int result) const {
    if (result == 0) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("XGBoost: ", api_.LastError()));
  }
  XgboostApi::Handle handle() const { return handle_; }
  const XgboostApi& api() const { return api_; }

 private:
  const XgboostApi api_;
  XgboostApi::Handle handle_ = nullptr;
};

class XgboostSubject : public Subject {
 public:
  XgboostSubject(std::string name, const XgboostApi& api, const Rows& rows)
      : name_(std::move(name)), booster_(api), rows_(rows) {}
  ~XgboostSubject() override {
    if (proxy_ != nullptr) booster_.api().FreeMatrix(proxy_);
  }

  absl::Status Open(const std::string& model) {
    MR_BENCH_RETURN_IF_ERROR(booster_.Open(model));
    // Without a proxy of the caller's, XGBoost makes one anew for each call.
    return booster_.Ok(booster_.api().CreateProxy(&proxy_));
  }

  std::string name() const override { return name_; }
  DataType margin_type() const override { return DataType::kFp32; }
  bool keeps_margins() const override { return false; }

  absl::Status Prepare(size_t batch) override {
    arrays_.clear();
    for (size_t chunk = 0; chunk < rows_.rows / batch; ++chunk) {
      arrays_.push_back(ArrayText(rows_.Chunk(chunk, batch), batch, rows_.features));
    }
    elements_ = batch * rows_.groups;
    return absl::OkStatus();
  }

  bool Call(size_t chunk) override {
    const uint64_t* shape = nullptr;
    uint64_t dimensions = 0;
    if (booster_.api().PredictFromDense(booster_.handle(), arrays_[chunk].c_str(), kPredict, proxy_,
                                        &shape, &dimensions, &result_) != 0) {
      return false;
    }
    uint64_t elements = 1;
    for (uint64_t i = 0; i < dimensions; ++i) elements *= shape[i];
    return elements == elements_;
  }

  std::string fault() const override {
    return absl::StrCat("XGBoost failed or gave another number of margins: ",
                        booster_.api().LastError());
  }
  const std::byte* margins(size_t) const override {
    return reinterpret_cast<const std::byte*>(result_);
  }
  void Poison() override { result_ = nullptr; }

 private:
  const std::string name_;
  Booster booster_;
  const Rows rows_;
  XgboostApi::Handle proxy_ = nullptr;
  std::vector<std::string> arrays_;
  uint64_t elements_ = 0;
  const float* result_ = nullptr;
};

}  // namespace

SubjectOr MakeXgboost(const Case& test_case, const PeerLibrary& library) {
  auto api = XgboostApi::Load(library.path);
  if (!api.ok()) return api.status();
  auto subject = std::make_unique<XgboostSubject>(library.subject, *api, test_case.view());
  MR_BENCH_RETURN_IF_ERROR(subject->Open(test_case.model));
  return SubjectOr(std::move(subject));
}

absl::StatusOr<AlignedBytes> XgboostTruth(const Case& test_case, const PeerLibrary& library) {
  auto api = XgboostApi::Load(library.path);
  if (!api.ok()) return api.status();
  Booster booster(*api);
  MR_BENCH_RETURN_IF_ERROR(booster.Open(test_case.model));
  const Rows rows = test_case.view();
  XgboostApi::Handle matrix = nullptr;
  MR_BENCH_RETURN_IF_ERROR(booster.Ok(
      api->CreateMatrix(ArrayText(rows.data, rows.rows, rows.features).c_str(), kMatrix, &matrix)));
  const uint64_t* shape = nullptr;
  uint64_t dimensions = 0;
  const float* result = nullptr;
  const absl::Status status = booster.Ok(
      api->PredictFromMatrix(booster.handle(), matrix, kPredict, &shape, &dimensions, &result));
  AlignedBytes truth(rows.rows * rows.groups * sizeof(float));
  if (status.ok()) std::memcpy(truth.data(), result, truth.size());
  api->FreeMatrix(matrix);
  if (!status.ok()) return status;
  return truth;
}

}  // namespace millrace::bench
