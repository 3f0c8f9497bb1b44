// One of those that are measured.
//
// Purpose: rows to margins, through one library, one call after the other. Who may call: one
// thread. Ownership: a subject keeps its model open; the case and its rows outlive it. Invariants:
//   1. Prepare() does everything that a careful user does once; Call() is what he does for each
//   batch.
//   2. Call(chunk) asks for rows [chunk * batch, (chunk + 1) * batch) of the case.
//   3. Margins are raw scores, row-major, [batch, groups] of margin_type().
// Fails: Prepare() with a sentence; Call() gives false, and then fault() says why.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/datatype.h"
#include "tools/bench/trees_bench/cases.h"

namespace millrace::bench {

class Subject {
 public:
  virtual ~Subject() = default;
  virtual std::string name() const = 0;
  virtual DataType margin_type() const = 0;
  // Whether it must give the trainer's bits. ONNX Runtime does not claim to.
  virtual bool exact() const { return true; }
  // Whether margins(chunk) stays what it is when other chunks are asked for.
  virtual bool keeps_margins() const { return true; }
  virtual absl::Status Prepare(size_t batch) = 0;
  virtual bool Call(size_t chunk) = 0;
  virtual std::string fault() const = 0;
  // What the last Call(chunk) gave.
  virtual const std::byte* margins(size_t chunk) const = 0;
  // Overwrites all margins that are kept, so that none of an earlier call can be taken for a
  // later's.
  virtual void Poison() = 0;
};

// Margins kept for all rows, each chunk in its place.
class MarginStore {
 public:
  MarginStore(const Rows& rows, DataType type)
      : row_bytes_(rows.groups * DataTypeSize(type)), bytes_(rows.rows * row_bytes_) {}
  void SetBatch(size_t batch) { batch_ = batch; }
  std::byte* Chunk(size_t chunk) const { return bytes_.data() + chunk * batch_ * row_bytes_; }
  void Poison() { std::memset(bytes_.data(), 0xA5, bytes_.size()); }

 private:
  size_t row_bytes_;
  size_t batch_ = 0;
  AlignedBytes bytes_;
};

using SubjectOr = absl::StatusOr<std::unique_ptr<Subject>>;

SubjectOr MakeMillrace(const Case& test_case);
// The name of the backend that runs its plans.
std::string MillraceBackend();
SubjectOr MakeXgboost(const Case& test_case, const PeerLibrary& library);
SubjectOr MakeLightgbm(const Case& test_case, const PeerLibrary& library);
// LightGBM's call for one row, as often as there are rows: set up once, where the call for a matrix
// reads its parameters anew each time.
inline constexpr char kRowsSuffix[] = "_rows";
SubjectOr MakeLightgbmRows(const Case& test_case, const PeerLibrary& library);
SubjectOr MakeOnnxRuntime(const Case& test_case, const PeerLibrary& library);

// The trainer's own margins of all rows of a case: XGBoost's through a DMatrix, LightGBM's in one
// call.
absl::StatusOr<AlignedBytes> XgboostTruth(const Case& test_case, const PeerLibrary& library);
absl::StatusOr<AlignedBytes> LightgbmTruth(const Case& test_case, const PeerLibrary& library);

}  // namespace millrace::bench
