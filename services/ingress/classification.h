// The protocol's classification extension: an output's numbers as its k highest,
// "score:index:label".
//
// Purpose: both protocols turn an answer's outputs here, in the process that also encodes them; the
//   pipeline computes what it always does.
// Who may call: the frontend's thread. Ownership: a Classification belongs to one request and keeps
//   the catalog whose labels it uses; a Classifier's scratch serves all requests in turn, and what
//   Apply returns lives until its next call and no longer than the answer.
// What is written: BYTES [rows, min(k, elements of a row)]; each element "score:index", and
// ":label"
//   where there is one; a whole number as it is, others as printf's %f. Highest first, equal ones
//   by index, NaN last.
// Labels: those of the output; else, for a prediction or margin, those of the model's label or
// top-k
//   output where there is one for each column.
// Invariants: 1. each number of an answer is read once. 2. What is written is at most kMaxBytes.
// What fails: Bind with INVALID_ARGUMENT for an output that holds no numbers; Apply's answer with
//   RESOURCE_EXHAUSTED above kMaxBytes, INTERNAL where an output does not agree with its shape.
//   Their sentences leave the output's name to the caller.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "services/ingress/frontend.h"

namespace millrace {

class Classification {
 public:
  // `output`: its position among those asked for. `k`: 1 or more.
  void Add(size_t output, uint64_t k) { wishes_.push_back({output, k, nullptr}); }
  bool empty() const { return wishes_.empty(); }
  void Clear();

  // Looks up datatypes and labels, before the request is handed in. A model or output that is not
  // there is left to the frontend to refuse. On a fault `*output` is its position.
  absl::Status Bind(std::shared_ptr<const Catalog> catalog, const InferRequest& request,
                    size_t* output);

 private:
  friend class Classifier;

  struct Wish {
    size_t output;
    uint64_t k;
    const OutputSpec* labelled;  // in catalog_; null: no labels
  };
  std::vector<Wish> wishes_;
  std::shared_ptr<const Catalog> catalog_;
};

class Classifier {
 public:
  static constexpr size_t kMaxBytes = 8 << 20;  // of one answer's classes

  // The answer with its classified outputs; with the fault as its status.
  InferAnswer Apply(const InferAnswer& answer, const Classification& wanted);

 private:
  struct Made {
    int64_t shape[2];
    std::string raw;
  };
  absl::Status Make(const TensorView& view, const Classification::Wish& wish, Made* out);
  template <typename T>
  absl::Status MakeOf(const TensorView& view, const Classification::Wish& wish, Made* out);

  std::vector<TensorView> outputs_;
  std::deque<Made> made_;
  size_t bytes_ = 0;
};

}  // namespace millrace
