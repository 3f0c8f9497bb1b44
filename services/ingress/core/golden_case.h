// One golden request of a model: what is sent, what must come back, and what came.
//
// Purpose: the judgement over one answer, and the record of the last ones. It knows no clock and
//   sends nothing (golden_probe.h does).
// Who may call: the lane's thread. Ownership: keeps the catalog that its bytes stand in.
// Invariants:
//   1. An output with an expectation from the catalog must equal it, within its tolerance. Any
//   other
//      output is learned: the first answer that a second run gave again is what it must be from
//      then on.
//   2. An answer that only says that the server is busy, late or stopping is no verdict.
//   3. Once everything is learned, a judgement allocates nothing unless it is bad.
// Nothing fails.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "services/ingress/core/model_table.h"
#include "services/ingress/frontend.h"

namespace millrace {

class GoldenCase {
 public:
  enum class Verdict {
    kNone,      // nothing is shown, neither way
    kLearning,  // an answer, to be confirmed by one more
    kGood,
    kWrong,  // another answer than expected
    kError,  // an error that is the model's or the server's own
  };

  // `golden` and `served` stand in `table`'s catalog. `tolerance`: at least so much.
  GoldenCase(std::shared_ptr<const ModelTable> table, const ServedModel* served,
             const Golden* golden, double tolerance);

  // The request; valid as long as the case.
  const InferRequest& request() const { return request_; }
  const ServedModel& served() const { return *served_; }
  const ModelTable* table() const { return table_.get(); }
  bool raw_columns() const { return raw_columns_; }

  Verdict Judge(const InferAnswer& answer);
  // Of the last bad verdict.
  const std::string& why() const { return why_; }

  // Whether `other` sends the same and expects the same of the same version.
  bool SameAs(const GoldenCase& other) const;
  // Goes on with what another case of the same version has learned; the catalog is this one's.
  void LearnFrom(GoldenCase& other);

 private:
  struct Learned {
    std::string name;
    std::string first;  // learned
    bool confirmed = false;
  };

  Verdict JudgeError(const absl::Status& status);
  Verdict JudgeOutput(size_t at, const TensorView& output);
  Verdict Learn(Learned* known, const TensorView& output);
  const GoldenTensor* ExpectationOf(std::string_view name) const;
  // The first element that differs too much; -1: none does.
  int64_t Difference(DataType type, std::string_view raw, std::string_view expected) const;

  std::shared_ptr<const ModelTable> table_;
  const ServedModel* served_;
  const Golden* golden_;
  double tolerance_;
  bool raw_columns_ = false;
  std::vector<TensorView> inputs_;
  InferRequest request_;
  std::vector<Learned> outputs_;  // as the model declares them
  std::string refusal_;           // learned: how a view refuses inputs that were made up
  std::string why_;
};

}  // namespace millrace
